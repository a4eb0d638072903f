"""Bilevel: the policy minimises the validation loss of the classifier that it trains."""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.classifier import Weights, accuracy_of, gradients_of_weights, logits_with, losses_of, weights_of
from augrad.data.pixels import to_float
from augrad.data.standard import StandardDraw
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import Scalar
from augrad.hypergradients.hypergradient import Term, TwoLevels
from augrad.objectives.objective import Aim, Step, drawn_batch
from augrad.policy import Policy
from augrad.training import ModelBuilder, backward_on, bfloat16_autocast, build_classifier
from augrad.types import PolicySample, RelaxedSample
from augrad.update import pure_optimizer

with warnings.catch_warnings():
    # PyTorch scripts some forward-mode formulas when it first needs them, and warns that scripting is deprecated:
    # its own affair.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)  # in earlier releases
    import torch._decomp.decompositions_for_jvp


def directional_scores(
    model: nn.Module, weights: Weights, u: Weights, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """s_i = <u, grad_w l_i(w)> at `weights`, by one forward-mode pass; differentiable with respect to the images.

    The model's buffers are untouched. With BatchNorm the statistics are those of the batch and move with w along u,
    so the mean of s_i is exactly the directional derivative of the batch's loss; how one image's s_i depends on the
    others through the statistics is not attributed to those others.
    """

    def losses(weights: Weights) -> Tensor:
        return losses_of(logits_with(model, weights, images), labels)

    return torch.func.jvp(losses, (weights,), (u,))[1]


@torch.no_grad()
def difference_scores(
    model: nn.Module,
    weights: Weights,
    u: Weights,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    radius: float = 1e-3,
) -> Float[Tensor, " B"]:
    """The same by a central difference over weights at distance `radius` along u (DARTS, eq. 8): the cross-check.

    In single precision the scores of a wide residual network are off by two hundredths of their spread at most, least
    near the default radius (docs/search_cost.md). Without gradients: good for s_i itself, but its derivative with
    respect to the images is useless, because the two passes' units switch at different places.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tangent) for tangent in u.values()]))
    step = radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    ahead, behind = (
        losses_of(logits_with(model, {name: w + sign * step * u[name] for name, w in weights.items()}, images), labels)
        for sign in (1.0, -1.0)
    )
    return (ahead - behind) / (2 * step)


@dataclass(frozen=True)
class Bilevel:
    """derivative: how s_i is computed, "jvp" (exact) or "finite_difference" (two plain passes, no image gradient).

    The classifier's step on a fresh draw is both what the hypergradient starts from and what is taken.
    draws: how often each training image is drawn for and scored. Most of the noise of an estimate is that of its draws,
    less of it that of the batches of images: a second draw helps, for the time of another pass over the batch.
    Raises UserError for another derivative, or fewer than one draw.
    """

    derivative: Literal["jvp", "finite_difference"] = "jvp"
    draws: int = 1
    two_levels: ClassVar[bool] = True
    judges_policy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UserError(f"expected draws to be at least 1, got {self.draws}")
        if self.derivative not in ("jvp", "finite_difference"):
            raise UserError(f"expected derivative jvp or finite_difference, got {self.derivative!r}")

    def model(self, builder: ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
        """The classifier."""
        return build_classifier(builder, splits, seed, device)

    def companion(self, model: nn.Module) -> None:
        """None."""

    def __call__(self, step: Step) -> Aim:
        model = step.model
        batch, augmented = drawn_batch(step)
        trained = backward_on(model, augmented, batch.labels, step.autocast)

        def validate(weights: Weights) -> tuple[Tensor, Tensor]:
            with bfloat16_autocast(step.autocast, augmented.device):
                logits = logits_with(model, weights, to_float(step.validation.images))
            return losses_of(logits, step.validation.labels).mean(), logits

        levels = TwoLevels(
            weights_of(model),
            gradients_of_weights(model),
            batch,
            pure_optimizer(model, step.optimizer, step.clip_norm),
            validate,
            lambda ahead: drawn_batch(step, ahead)[0],
        )
        link = step.hypergradient(levels, step.memory)
        metrics = {
            "train_loss": trained.loss,
            "val_loss": link.validation_loss,
            "train_accuracy": trained.accuracy,
            "val_accuracy": accuracy_of(link.validation_logits, step.validation.labels),
            **link.metrics,
        }
        draws = self.draws * draws_of(link.terms)
        after = tuple(step.standard.draw(self._repeated(term.batch.images), step.generator) for term in link.terms)
        return Aim(self.scalar(model, link.terms, step.policy, after), draws, metrics, link.memory)

    def _repeated(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "N C H W"]:
        return images.repeat(self.draws, 1, 1, 1)

    def scalar(
        self, model: nn.Module, terms: tuple[Term, ...], policy: Policy, after: tuple[StandardDraw, ...] | None = None
    ) -> Scalar:
        """sample -> s_i [B], for the images of all `terms` of the hypergradient method, one batch after another.

        Of each term first every image's first draw, then every image's second, and so on. B = draws *
        `draws_of(terms)`. Scaled so that the mean over all images is the sum of the terms' means.
        after: what each term's images undergo after the policy, alike in every call (None: nothing).
        """
        scores = directional_scores if self.derivative == "jvp" else difference_scores
        total = self.draws * draws_of(terms)
        after = tuple(StandardDraw() for _ in terms) if after is None else after

        def scores_of(term: Term, then: StandardDraw, sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
            images, labels = self._repeated(term.batch.images), term.batch.labels.repeat(self.draws)
            augmented = then(policy(images, params=sample))
            if self.derivative == "finite_difference" and torch.is_grad_enabled() and augmented.requires_grad:
                raise UserError(
                    "objective.derivative=finite_difference has no gradient with respect to the images, which this "
                    "estimator asks for; use objective.derivative=jvp, or an estimator that does not differentiate"
                )
            share = len(sample) / total
            return scores(model, term.weights, term.u, augmented, labels) / share

        def scalar(sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
            parts, start = [], 0
            for term, then in zip(terms, after, strict=True):
                chosen = slice(start, start := start + self.draws * len(term.batch.labels))
                parts.append(scores_of(term, then, sample.map(lambda tensor, chosen=chosen: tensor[chosen])))
            return torch.cat(parts)

        return scalar


def draws_of(terms: tuple[Term, ...]) -> int:
    """One for each image of each term."""
    return sum(len(term.batch.labels) for term in terms)
