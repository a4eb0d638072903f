"""What an estimator takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.policy import Policy
from augrad.types import PolicyParams, PolicySample, RelaxedSample

Scalar = Callable[[PolicySample | RelaxedSample], Float[Tensor, " B"]]
"""One number per image as a function of what was drawn for it; differentiable in relaxed draws and in magnitudes."""


@dataclass(frozen=True)
class Estimate:
    """grads: derivative of the scalar's expected batch mean for each parameter group (zero where a group is frozen).
    value: the batch mean at the draw. control_loss: what the estimator's control (see `augrad.estimators.control`)
    minimises, None without one."""

    grads: PolicyParams
    value: Float[Tensor, ""]
    control_loss: Float[Tensor, ""] | None = None


@runtime_checkable
class Estimator(Protocol):
    """batch_size: how many draws the scalar takes. progress: from 0 to 1 over the search (for schedules)."""

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate: ...


def gradients_of(value: Float[Tensor, ""], policy: Policy) -> PolicyParams:
    """d value / d parameters; zeros for groups that are frozen or did not take part."""
    parameters = policy.params.tensors()
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    found = iter(
        torch.autograd.grad(value, learned, allow_unused=True)
        if learned and value.requires_grad
        else [None] * len(learned)
    )
    grads = [next(found) if parameter.requires_grad else None for parameter in parameters]
    return PolicyParams(
        *(torch.zeros_like(p) if g is None else g.detach() for p, g in zip(parameters, grads, strict=True))
    )


def hard_draw(scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None) -> PolicySample:
    """A hard draw to evaluate the scalar at: where it is known already, or a fresh one.

    A scalar that is cheaper at one draw than elsewhere has it as its attribute `draw`: one of `policy`, for each of the
    `batch_size` images, and independent of what `generator` gives.
    """
    known = known_draw(scalar)
    return policy.sample(batch_size, generator) if known is None else known


def known_draw(scalar: Scalar) -> PolicySample | None:
    """The draw at which the scalar is cheaper than elsewhere, if it has one."""
    known = getattr(scalar, "draw", None)
    return known if isinstance(known, PolicySample) else None


def require_pathwise(policy: Policy) -> None:
    """Raise UserError if magnitudes are learned and an operation gives its magnitude no derivative: it would stay."""
    if not (policy.magnitude_locations.requires_grad or policy.magnitude_log_scales.requires_grad):
        return
    silent = [op.name for op in policy.ops if op.has_magnitude and op.magnitude_grad == "none"]
    if silent:
        raise UserError(
            f"this estimator differentiates magnitudes through the operations, got {', '.join(silent)} with "
            "magnitude_grad: none; give a surrogate, or take an estimator that learns magnitudes by their score"
        )


def geometric(start: float, end: float, progress: float) -> float:
    """A schedule: from `start` to `end` by equal factors."""
    return start * (end / start) ** progress


def leave_one_out(scores: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Each score minus the mean of the others.

    Unbiased in a score-function estimate, because the others' draws are independent.
    """
    count = len(scores)
    return (scores - scores.mean()) * (count / (count - 1)) if count > 1 else scores
