"""What an estimator takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import require_count
from augrad.errors import UserError
from augrad.learning.classifier import require_derivatives
from augrad.policy import Policy
from augrad.types import PolicyParams, PolicySample, RelaxedSample

Scalar = Callable[[PolicySample | RelaxedSample], Float[Tensor, " B"]]
"""draws of a policy -> one number for each image; differentiable with respect to relaxed draws and magnitudes."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of the gradient of the scalar's expected mean over the batch.

    grads: for each group of the policy's parameters; zero for a frozen group. value: the scalar's mean over the batch
    at the draw. control_loss: what the estimator's control minimises (see `augrad.estimators.control`); None without a
    control.
    """

    grads: PolicyParams
    value: Float[Tensor, ""]
    control_loss: Float[Tensor, ""] | None = None


@runtime_checkable
class Estimator(Protocol):
    """A way of estimating the gradient of E_b mean_i s_i(b_i).

    A call is given the scalar s; the policy; batch_size, how many draws the scalar takes; generator, of all random
    numbers; and progress, the share of the search that is done, from 0 to 1, for schedules.
    """

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate: ...


@dataclass(frozen=True)
class CoupledScalar:
    """A scalar whose number of image i depends on the draws of the other images, too: they have a statistic in common.

    scores: the scalar. An image's number contains what its draw does to the others. With respect to the draws, the sum
    of the numbers has the derivative of the objective; a single number has not. centred: from each number something has
    been subtracted that its own draw does not decide. The others' numbers are then no baseline: they depend on that
    draw. beside: companions -> a scalar whose number of image i depends on its own draw alone, while the other images
    have the draws `companions`.
    """

    scores: Scalar
    centred: bool
    beside: Callable[[PolicySample], Scalar]

    def __call__(self, sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
        return self.scores(sample)


@dataclass(frozen=True)
class MappedScalar:
    """`change` of the numbers of a scalar, which keeps what else is known of it.

    change: (the numbers, how many images there are) -> as many numbers.
    """

    scalar: Scalar
    change: Callable[[Float[Tensor, " B"], int], Float[Tensor, " B"]]

    @property
    def draw(self) -> PolicySample | None:
        """Where the scalar is known already (see `hard_draw`)."""
        return known_draw(self.scalar)

    @property
    def centred(self) -> bool:
        """Whether the numbers have a baseline already (see `CoupledScalar`)."""
        return is_centred(self.scalar)

    @property
    def beside(self) -> Callable[[PolicySample], Scalar] | None:
        """See `CoupledScalar`; None where each number depends on its own draw alone."""
        beside = beside_of(self.scalar)
        return None if beside is None else lambda companions: MappedScalar(beside(companions), self.change)

    def __call__(self, sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
        return self.change(self.scalar(sample), len(sample))


def _per_image(scores: object, count: int) -> Float[Tensor, " B"]:
    """The numbers in float64. Raises UserError where there is not one for each image."""
    if not isinstance(scores, Tensor) or scores.shape != (count,):
        got = list(scores.shape) if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise UserError(f"scalar: expected one number for each image, a tensor [{count}], got {got}")
    return scores.to(torch.float64)


Method = TypeVar("Method", bound=Callable[..., Any])


def estimation(method: Method) -> Method:
    """Of an estimator's method that takes (scalar, policy, batch_size, ...): with gradients, whatever the caller has.

    The scalar comes in float64. Raises UserError where it does not give one number for each image, and for a batch
    size that is none.
    """

    @wraps(method)
    def call(self: object, scalar: Scalar, policy: Policy, batch_size: int, *rest: Any, **named: Any) -> Any:
        require_count(batch_size, "a batch size")
        with torch.inference_mode(False):  # which turns gradients on, too
            return method(self, MappedScalar(scalar, _per_image), policy, int(batch_size), *rest, **named)

    return cast(Method, call)


def gradients_of(value: Float[Tensor, ""], policy: Policy) -> PolicyParams:
    """The gradient of `value` with respect to the policy's parameters.

    It is zero for groups that are frozen and for those that `value` does not depend on.
    Raises UserError inside `torch.inference_mode()`.
    """
    require_derivatives()
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
    """A hard draw to evaluate the scalar at: the draw at which the scalar is cheap, if there is one, or a fresh one.

    A scalar that costs less at one draw has that draw as its attribute `draw`. It is a draw of `policy` for each of the
    `batch_size` images, and independent of `generator`.
    """
    known = known_draw(scalar)
    return policy.sample(batch_size, generator) if known is None else known


def known_draw(scalar: Scalar) -> PolicySample | None:
    """The draw at which the scalar costs less than at others; None if there is no such draw."""
    known = getattr(scalar, "draw", None)
    return known if isinstance(known, PolicySample) else None


def is_centred(scalar: Scalar) -> bool:
    """Whether the scalar's numbers have a baseline already (see `CoupledScalar`)."""
    return bool(getattr(scalar, "centred", False))


def beside_of(scalar: Scalar) -> Callable[[PolicySample], Scalar] | None:
    """`CoupledScalar.beside` of a scalar that couples the images; None for one that does not."""
    return getattr(scalar, "beside", None)


def advantage_of(scalar: Scalar, scores: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The scores minus a baseline that does not depend on the image's own draw: the mean of the other images' scores,
    or what the scalar has subtracted itself (see `CoupledScalar`)."""
    return scores if is_centred(scalar) else leave_one_out(scores)


def require_pathwise(policy: Policy) -> None:
    """Raise UserError if magnitudes are learned and an operation has no derivative with respect to its magnitude.

    An estimator that differentiates through the operations would leave that magnitude as it is.
    """
    if not (policy.magnitude_locations.requires_grad or policy.magnitude_log_scales.requires_grad):
        return
    silent = [op.name for op in policy.ops if op.has_magnitude and op.magnitude_grad == "none"]
    if silent:
        raise UserError(
            f"this estimator differentiates magnitudes through the operations, got {', '.join(silent)} with "
            "magnitude_grad: none; give a surrogate, or take an estimator that learns magnitudes by their score"
        )


def geometric(start: float, end: float, progress: float) -> float:
    """The value at `progress` of a schedule that falls from `start` to `end` by equal factors in equal times."""
    return start * (end / start) ** progress


def leave_one_out(scores: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Each score minus the mean of the other images' scores.

    As a baseline that mean leaves a score-function estimate unbiased, because the others' draws are independent.
    """
    count = len(scores)
    return (scores - scores.mean()) * (count / (count - 1)) if count > 1 else scores
