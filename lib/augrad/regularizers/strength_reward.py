"""A reward for strong operations: Augerino (Benton et al. 2020) rewards wide ranges."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.policy import Policy
from augrad.regularizers.regularizer import require_weight


@checked
@dataclass(frozen=True)
class StrengthReward:
    """- weight * mean strength, where a candidate's strength is sigmoid(location).

    That is the median magnitude as a share of its range, for a uniform magnitude the width: without this term a
    training loss alone shrinks every width to nothing. The mean is over stages, each candidate weighted with how often
    it is chosen and applied; these weights count as fixed, so that only locations are moved, and none of an operation
    without a magnitude. Raises UserError for a negative weight.
    """

    weight: float = 0.01

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        weights = policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities() / policy.shape[1]
        weights = (weights * policy.gate_probabilities()).detach() * policy.scored_magnitude
        return -self.weight * (weights * policy.magnitude_locations.sigmoid()).sum()
