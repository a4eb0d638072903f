"""Several networks trained at once, each with a policy and a seed of its own: one set of kernels for all of them.

A small network leaves a GPU idle: a step takes as long as the launching of its kernels. The weights of P networks, one
upon the other, are one network to it (`torch.func.stack_module_state`, `torch.vmap`), and P policies over the same
candidates are one policy, as every image has a draw of its own anyway.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from augrad.data.batches import EpochBatches
from augrad.data.pixels import to_float
from augrad.data.seeding import local_generator
from augrad.errors import Stopped
from augrad.learning.classifier import losses_of
from augrad.learning.cuda_graphs import can_be_captured
from augrad.learning.step import bfloat16_autocast, build_classifier, build_optimizer, fitted, set_rates
from augrad.policy import Policy
from augrad.settings import rate_at
from augrad.train.loop import Recipe, Tenths, late_share
from augrad.types import PolicySample

_ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Optimisers whose step of a weight depends on that weight's own numbers alone, so that they do not see the stack."""


def can_be_stacked(recipe: Recipe, policies: Sequence[Policy | None]) -> bool:
    """Whether these trainings are the same in a stack: policies over the same candidates, a network that does the same
    at each call and draws nothing, an optimiser that knows nothing of a weight's place, none of ema, channels_last and
    compile."""
    settings, first = recipe.settings, policies[0]
    if settings.ema is not None or settings.channels_last or settings.compile or first is None:
        return False
    alike = all(
        policy is not None
        and (policy.layout, policy.fill, policy.interpolation) == (first.layout, first.fill, first.interpolation)
        for policy in policies
    )
    if not alike:
        return False
    model = build_classifier(recipe.model, recipe.splits, 0, recipe.device)
    optimizer = build_optimizer(recipe.optimizer, model.parameters(), "train.optimizer")
    learns = {parameter.requires_grad for parameter in model.parameters()}
    return can_be_captured(model) and len(learns) == 1 and isinstance(optimizer, _ELEMENTWISE)


def stacked_trainings(
    recipe: Recipe, policies: Sequence[Policy], seeds: Sequence[int], stopping: Callable[[], bool] = lambda: False
) -> list[tuple[nn.Module, float] | None]:
    """A training with each policy, by the seed beside it, as `augrad.train.loop.trained` does it, all at once.

    The network and its `late` (see `augrad.train.loop.Fit`); None for a training that diverged, which does not touch
    the others. The numbers are those of single trainings but for rounding. stopping: asked before each epoch; raises
    Stopped then. For trainings that `can_be_stacked`.
    """
    splits, settings, device = recipe.splits, recipe.settings, recipe.device
    models = [build_classifier(recipe.model, splits, seed, device) for seed in seeds]
    values, buffers = stack_module_state(models)  # type: ignore[arg-type]
    weights = {name: nn.Parameter(value.detach(), value.requires_grad) for name, value in values.items()}
    shape = copy.deepcopy(models[0])
    optimizer = build_optimizer(recipe.optimizer, weights.values(), "train.optimizer")
    batches = [EpochBatches(len(splits.train), settings.batch_size, seed, device) for seed in seeds]
    draws = _Draws(recipe, policies, seeds)

    def losses_with(
        weights: dict[str, Any], buffers: dict[str, Tensor], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        with bfloat16_autocast(settings.autocast, device):
            logits = functional_call(shape, (weights, buffers), (images,))
        minimised = losses_of(logits, labels, settings.label_smoothing).mean() if settings.label_smoothing else None
        loss = losses_of(logits, labels).mean()
        return loss if minimised is None else minimised, loss

    side_by_side = torch.vmap(losses_with)
    per_epoch, total = batches[0].batches_per_epoch, recipe.steps
    tenths, finite = Tenths(total), torch.ones(len(models), dtype=torch.bool, device=device)
    summed = torch.zeros(len(models), device=device)
    for step in range(total):
        if step % per_epoch == 0 and stopping():
            raise Stopped
        set_rates(
            optimizer,
            rate_at(step, total, settings.schedule, settings.final_rate, settings.warmup_epochs * per_epoch),
        )
        rows = torch.stack([one.indices(step) for one in batches])
        images = draws.augmented(to_float(splits.train.images[rows.flatten()])).unflatten(0, rows.shape)
        minimised, loss = side_by_side(weights, buffers, images, splits.train.labels[rows])
        found = torch.autograd.grad(minimised.sum(), list(weights.values()), allow_unused=True)
        if settings.clip_norm is not None:
            found = _clipped(found, settings.clip_norm)
        for weight, gradient in zip(weights.values(), found, strict=True):
            weight.grad = gradient
        optimizer.step()
        summed = loss.detach() if step % per_epoch == 0 else summed + loss.detach()
        tenths.see(step, loss.detach())
        if (step + 1) % per_epoch == 0 or step + 1 == total:
            finite &= summed.isfinite()
    courses = torch.stack(tenths.means(), 1).tolist()
    for index, model in enumerate(models):
        model.load_state_dict({name: tensor[index].detach() for name, tensor in (weights | buffers).items()})
    ended = zip(models, courses, finite.tolist(), strict=True)
    return [(model, late_share(*course)) if sound else None for model, course, sound in ended]


class _Draws:
    """The draws of all policies and of the standard augmentation, each by the generators of its own training.

    Policies draw on the CPU, where a draw costs no launches; one copy takes all of a step's draws to the device.
    """

    def __init__(self, recipe: Recipe, policies: Sequence[Policy], seeds: Sequence[int]) -> None:
        self._policies = [copy.deepcopy(policy).to("cpu") for policy in policies]
        self._apply = copy.deepcopy(policies[0]).to(recipe.device)
        self._standard = fitted(recipe.standard, recipe.splits.train)
        self._generators = [local_generator(seed, "train policy draws") for seed in seeds]
        self._beside = [local_generator(seed, "train standard draws") for seed in seeds]

    @torch.no_grad()
    def augmented(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """images: those of the first network, then those of the second, and so on."""
        count = len(images) // len(self._policies)
        samples = [
            policy.sample(count, generator) for policy, generator in zip(self._policies, self._generators, strict=True)
        ]
        images = self._apply(images, PolicySample.concatenate(samples))
        parts = zip(images.split(count), self._beside, strict=True)
        return torch.cat([self._standard.draw(part, generator)(part) for part, generator in parts])


def _clipped(gradients: Sequence[Tensor | None], limit: float) -> tuple[Tensor | None, ...]:
    """Each network's gradients by themselves, as `torch.nn.utils.clip_grad_norm_` does it."""
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients if g is not None], 1)
    factor = (limit / (torch.linalg.vector_norm(norms, dim=1) + 1e-6)).clamp(max=1.0)
    return tuple(None if g is None else g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients)
