"""What a regulariser takes and returns, and the gradient of several together."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import name_of
from augrad.errors import UserError
from augrad.estimators.estimate import gradients_of
from augrad.policy import Policy
from augrad.types import PolicyParams


@runtime_checkable
class Regularizer(Protocol):
    """policy -> the term [], differentiable with respect to the policy's parameters.

    With `SearchSettings.normalize` the scores are divided by their standard deviation, and the term is added to those:
    a weight of 1 counts as much as one standard deviation of the scores.
    """

    def __call__(self, policy: Policy) -> Float[Tensor, ""]: ...


def regularizer_gradient(policy: Policy, regularizers: Iterable[Regularizer]) -> PolicyParams:
    """The gradient of the sum of the terms; zeros for frozen groups of parameters.

    Raises UserError for a term that is not one number as a tensor.
    """
    with torch.inference_mode(False):  # which turns gradients on, too
        total = torch.zeros((), dtype=torch.float64, device=policy.device)
        for regularizer in regularizers:
            term = regularizer(policy)
            if not isinstance(term, Tensor) or term.shape != ():
                got = tuple(term.shape) if isinstance(term, Tensor) else term
                raise UserError(
                    f"regularizer {name_of(regularizer)}: expected one number with a gradient, a tensor [], "
                    f"got {got!r:.60}"
                )
            total = total + term
        return gradients_of(total, policy)


def require_weight(name: str, value: float) -> None:
    """Raises UserError unless the weight is at least 0."""
    if not value >= 0:
        raise UserError(f"{name}: expected a weight of at least 0, got {value!r}")


def require_share(name: str, value: float, inside: bool = False) -> None:
    """Raises UserError unless the value is from 0 to 1 (strictly between them with `inside`)."""
    if not 0 <= value <= 1:
        raise UserError(f"{name}: expected a number from 0 to 1, got {value!r}")
    if inside and value in (0, 1):
        raise UserError(f"{name}: expected a number strictly between 0 and 1, got {value!r}")
