"""Bilevel: the policy minimises the validation loss of the classifier that it trains."""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.classifier import Weights, logits_with, losses_of, weights_of
from augrad.errors import UserError
from augrad.estimators.estimate import Scalar
from augrad.policy import Policy
from augrad.types import PolicySample, RelaxedSample

with warnings.catch_warnings():
    # PyTorch scripts some forward-mode formulas when it first needs them, and warns that scripting is deprecated:
    # its own affair.
    warnings.simplefilter("ignore", FutureWarning)
    import torch._decomp.decompositions_for_jvp


def directional_scores(
    model: nn.Module, u: Weights, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """s_i = <u, grad_w l_i(w)> by one forward-mode pass; differentiable with respect to the images.

    The model's buffers are untouched. With BatchNorm the statistics are those of the batch and move with w along u,
    so the mean of s_i is exactly the directional derivative of the batch's loss; how one image's s_i depends on the
    others through the statistics is not attributed to those others.
    """

    def losses(weights: Weights) -> Tensor:
        return losses_of(logits_with(model, weights, images), labels)

    return torch.func.jvp(losses, (weights_of(model),), (u,))[1]


@torch.no_grad()
def difference_scores(
    model: nn.Module, u: Weights, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"], radius: float = 0.01
) -> Float[Tensor, " B"]:
    """The same by a central difference over weights at distance `radius` along u (DARTS, eq. 8): the cross-check.

    Without gradients: good for s_i itself, but its derivative with respect to the images is useless, because
    the two passes' units switch at different places.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tangent) for tangent in u.values()]))
    step = radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    weights = weights_of(model)
    ahead, behind = (
        losses_of(logits_with(model, {name: w + sign * step * u[name] for name, w in weights.items()}, images), labels)
        for sign in (1.0, -1.0)
    )
    return (ahead - behind) / (2 * step)


@dataclass(frozen=True)
class Bilevel:
    """derivative: how s_i is computed, "jvp" (exact) or "finite_difference" (two plain passes, no image gradient)."""

    derivative: Literal["jvp", "finite_difference"] = "jvp"

    def __post_init__(self) -> None:
        if self.derivative not in ("jvp", "finite_difference"):
            raise UserError(f"expected derivative jvp or finite_difference, got {self.derivative!r}")

    def scalar(
        self, model: nn.Module, u: Weights, policy: Policy, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"]
    ) -> Scalar:
        """sample -> s_i [B], on the training batch `images`, `labels`, with the hypergradient method's vector u."""
        scores = directional_scores if self.derivative == "jvp" else difference_scores

        def scalar(sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
            augmented = policy(images, params=sample)
            if self.derivative == "finite_difference" and torch.is_grad_enabled() and augmented.requires_grad:
                raise UserError(
                    "objective.derivative=finite_difference has no gradient with respect to the images, which this "
                    "estimator asks for; use objective.derivative=jvp, or an estimator that does not differentiate"
                )
            return scores(model, u, augmented, labels)

        return scalar
