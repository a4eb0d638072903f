"""Several networks trained at once, each with a policy and a seed of its own: one set of kernels for all of them.

A small network leaves a GPU idle: a step takes as long as the launching of its kernels. The weights of P networks, one
upon the other, are one network to it (`torch.func.stack_module_state`, `torch.vmap`), and P policies over the same
candidates are one policy, as every image has a draw of its own anyway.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from augrad.cuda_graphs import Graphs
from augrad.data.batches import EpochBatches
from augrad.data.pixels import to_float
from augrad.data.seeding import local_generator
from augrad.data.standard import StandardDraw
from augrad.data.types import Splits
from augrad.engines.choice import launches_alike
from augrad.errors import Stopped, UserError
from augrad.learning.capturable import can_be_captured
from augrad.learning.classifier import losses_of
from augrad.learning.step import bfloat16_autocast, build_classifier, build_optimizer, fitted, set_rates
from augrad.policy import Policy
from augrad.policy.distributions import HardNoise
from augrad.policy.draws import hard_draw
from augrad.settings import rate_at
from augrad.train.loop import Recipe, Tenths, late_share
from augrad.types import PolicyParams, TensorFields

_ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Optimisers whose step of a weight depends on that weight's own numbers alone, so that they do not see the stack."""


def can_be_stacked(recipe: Recipe, policies: Sequence[Policy | None]) -> bool:
    """Whether these trainings are the same in a stack: policies over the same candidates, a network that does the same
    at each call and draws nothing, an optimiser that knows nothing of a weight's place, none of ema, channels_last,
    compile and accumulation_steps."""
    settings, first = recipe.settings, policies[0]
    apart = settings.ema is not None or settings.channels_last or settings.compile or settings.accumulation_steps > 1
    if apart or first is None:
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
    recipe: Recipe,
    policies: Sequence[Policy],
    seeds: Sequence[int],
    stopping: Callable[[], bool] = lambda: False,
    splits: Sequence[Splits] | None = None,
) -> list[tuple[nn.Module, float] | None]:
    """A training with each policy, by the seed beside it, as `augrad.train.loop.trained` does it, all at once.

    The network and its `late` (see `augrad.train.loop.Fit`); None for a training that diverged, which does not touch
    the others. The numbers are those of single trainings but for rounding. stopping: asked before each epoch; raises
    Stopped then. splits: see `Stack`. For trainings that `can_be_stacked`.
    """
    stack = Stack(recipe, seeds, splits)
    tenths = Tenths(stack.steps)
    finite = stack.run(policies, 0, stack.steps, stopping, tenths)
    courses = torch.stack(tenths.means(), 1).tolist()
    ended = zip(stack.networks(), courses, finite.tolist(), strict=True)
    return [(network, late_share(*course)) if sound else None for network, course, sound in ended]


class Stack:
    """Networks that are trained as one, each by a seed of its own; a piece of the training at a time.

    recipe: see `can_be_stacked`. splits: the data of each network, with as many training images each, in the place of
    the recipe's.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int], splits: Sequence[Splits] | None = None) -> None:
        splits = [recipe.splits] * len(seeds) if splits is None else list(splits)
        self.recipe, self.seeds, self._splits = replace(recipe, splits=splits[0]), list(seeds), splits
        self.steps, batch_size, device = self.recipe.steps, self.recipe.batch_size, recipe.device
        self._networks = [
            build_classifier(recipe.model, own, seed, device) for own, seed in zip(splits, seeds, strict=True)
        ]
        self._shape = copy.deepcopy(self._networks[0])
        values, self._buffers = stack_module_state(self._networks)  # type: ignore[arg-type]
        self._weights = {name: nn.Parameter(value.detach(), value.requires_grad) for name, value in values.items()}
        self._optimizer = build_optimizer(recipe.optimizer, self._weights.values(), "train.optimizer")
        self._batches = [EpochBatches(len(splits[0].train), batch_size, seed, device) for seed in seeds]
        self._side_by_side = torch.vmap(self._losses)
        self._graphs = Graphs(recipe.settings.cuda_graphs is not False)

    def run(
        self,
        policies: Sequence[Policy],
        begin: int,
        end: int,
        stopping: Callable[[], bool] = lambda: False,
        tenths: Tenths | None = None,
    ) -> Bool[Tensor, " P"]:
        """The steps from `begin` up to `end` of the training, with these policies: whose losses stayed finite.

        tenths: sees the losses. stopping: asked before each epoch; raises Stopped then.
        """
        settings, total, per_epoch = self.recipe.settings, self.steps, self._batches[0].batches_per_epoch
        draws = _Draws(self.recipe, policies, self.seeds, begin, self._splits)
        sums: list[Tensor] = []
        for step in range(begin, end):
            if step % per_epoch == 0 and stopping():
                raise Stopped
            warmup = settings.warmup_epochs * per_epoch
            set_rates(self._optimizer, rate_at(step, total, settings.schedule, settings.final_rate, warmup))
            batches = [order.batch(own.train, step) for own, order in zip(self._splits, self._batches, strict=True)]
            labels = torch.stack([batch.labels for batch in batches])
            images = draws.augmented(to_float(torch.cat([batch.images for batch in batches])))
            loss, *found = self._graphs("training pass", self._pass, images.unflatten(0, labels.shape), labels)
            if settings.clip_norm is not None:
                found = _clipped(found, settings.clip_norm)
            for weight, gradient in zip(self._weights.values(), found, strict=True):
                weight.grad = gradient
            self._optimizer.step()
            loss = loss.clone()  # the next pass writes there
            if step % per_epoch == 0 or not sums:
                sums.append(loss)
            else:
                sums[-1] = sums[-1] + loss
            if tenths is not None:
                tenths.see(step, loss)
        return torch.stack(sums).isfinite().all(0)

    def _pass(self, images: Tensor, labels: Tensor) -> tuple[Tensor | None, ...]:
        """The loss of each network [P] with the labels as they are, and the gradients of what it minimises."""
        minimised, loss = self._side_by_side(self._weights, self._buffers, images, labels)
        found = torch.autograd.grad(minimised.sum(), list(self._weights.values()), allow_unused=True)
        return loss.detach(), *found

    def _losses(
        self, weights: dict[str, Any], buffers: dict[str, Tensor], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of one network: what it minimises, and its loss with the labels as they are."""
        settings = self.recipe.settings
        with bfloat16_autocast(settings.autocast, images.device):
            logits = functional_call(self._shape, (weights, buffers), (images,))
        loss = losses_of(logits, labels).mean()
        smoothing = settings.label_smoothing
        return losses_of(logits, labels, smoothing).mean() if smoothing else loss, loss

    def networks(self) -> list[nn.Module]:
        """Each by itself, as it is now."""
        for index, network in enumerate(self._networks):
            values = self._weights | self._buffers
            network.load_state_dict({name: tensor[index].detach() for name, tensor in values.items()})
        return self._networks

    def state(self) -> dict[str, Tensor]:
        """What `load` goes on from: copies of weights, buffers and what the optimiser remembers."""
        networks = {f"network.{name}": tensor for name, tensor in (self._weights | self._buffers).items()}
        remembered = {
            f"optimizer.{index}.{key}": torch.as_tensor(value)
            for index, own in self._optimizer.state_dict()["state"].items()
            for key, value in own.items()
            if value is not None
        }
        return {name: tensor.detach().clone() for name, tensor in (networks | remembered).items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises UserError for the state of other networks."""
        own = {f"network.{name}": tensor for name, tensor in (self._weights | self._buffers).items()}
        kept = {name: tensor for name, tensor in state.items() if name.startswith("network.")}
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in kept.items()}:
            raise UserError("stack: expected the state of as many of the same networks; start anew")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(kept[name])
        remembered: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            kind, _, place = name.partition(".")
            if kind == "optimizer":
                index, _, key = place.partition(".")
                # A count of steps is on the CPU, wherever the weights are.
                remembered.setdefault(int(index), {})[key] = tensor.to(
                    "cpu" if key == "step" else tensor.device, copy=True
                )
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": remembered})


class _Draws:
    """The draws of all policies and of the standard augmentation, each by the generators of its own training.

    The base draws are made on the CPU, where they cost no launches; what they make of the images is one graph, of all
    policies as of one with the sub-policies of all.
    begin: the step of the training that they begin at; its first piece has the draws of `augrad.train.loop.trained`.
    """

    def __init__(
        self,
        recipe: Recipe,
        policies: Sequence[Policy],
        seeds: Sequence[int],
        begin: int,
        splits: Sequence[Splits],
    ) -> None:
        self._count, self._policy = len(policies), copy.deepcopy(policies[0]).to("cpu")
        self._apply = copy.deepcopy(policies[0]).to(recipe.device)
        joined = PolicyParams(*map(torch.cat, zip(*[_values(one.params) for one in policies], strict=True)))
        self._params = joined.to(recipe.device)
        self._tables = self._apply.tables.map(lambda table: table.repeat(self._count, *[1] * (table.dim() - 1)))
        one = torch.empty(1, *recipe.splits.image_shape, device=recipe.device)
        alike = launches_alike(self._apply._application.plan, one)
        self._graphs = Graphs(alike and recipe.settings.cuda_graphs is not False, own_outputs=False)
        self._standard = [fitted(recipe.standard, own.train) for own in splits]
        self._generators = [local_generator(seed, "train policy draws", begin) for seed in seeds]
        self._beside = [local_generator(seed, "train standard draws", begin) for seed in seeds]

    @torch.no_grad()
    def augmented(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """images: those of the first network, then those of the second, and so on."""
        size = len(images) // self._count
        noise = [_values(self._policy.draw_noise(size, generator)) for generator in self._generators]
        joined = HardNoise(*map(torch.cat, zip(*noise, strict=True)))
        (images,) = self._graphs("policies", self._drawn_by, images, _moved(joined, images.device))
        like = torch.empty(()).expand(size, *images.shape[1:])
        beside = StandardDraw.concatenate(
            [one.draw(like, generator) for one, generator in zip(self._standard, self._beside, strict=True)]
        )
        return beside.to(images.device)(images)

    def _drawn_by(self, images: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor]:
        draw = hard_draw(self._params, self._tables, HardNoise(*noise), self._policy.layout, self._count)
        return (self._apply(images, draw),)


def _moved(noise: HardNoise, device: torch.device) -> list[Tensor]:
    """By one copy."""
    parts = list(vars(noise).values())
    moved = torch.cat([part.flatten() for part in parts]).to(device, non_blocking=True)
    return [one.view(part.shape) for one, part in zip(moved.split([p.numel() for p in parts]), parts, strict=True)]


def _values(fields: TensorFields) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().to("cpu") for tensor in vars(fields).values())


def _clipped(gradients: Sequence[Tensor | None], limit: float) -> tuple[Tensor | None, ...]:
    """Each network's gradients by themselves, as `torch.nn.utils.clip_grad_norm_` does it."""
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients if g is not None], 1)
    factor = (limit / (torch.linalg.vector_norm(norms, dim=1) + 1e-6)).clamp(max=1.0)
    return tuple(None if g is None else g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients)
