"""A reward for strong operations, as in Augerino (Benton et al. 2020), which rewards wide ranges."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.policy import Policy
from augrad.regularizers.regularizer import require_weight


@checked
@dataclass(frozen=True)
class StrengthReward:
    """- weight * mean strength, where the strength of a candidate is sigmoid(location).

    The strength is the median magnitude as a share of its range; of a uniform magnitude, it is the median width. An
    objective of the training loss alone shrinks every width to zero without such a term. The mean is over stages and
    over candidates by how often each is chosen and applied. These frequencies are held fixed, so the term moves
    locations only, and only those of operations that have a magnitude.
    weight: at least 0. Raises UserError otherwise.
    """

    weight: float = 0.01

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        weights = policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities() / policy.shape[1]
        weights = (weights * policy.gate_probabilities()).detach() * policy.tables.scored_magnitude
        return -self.weight * (weights * policy.magnitude_locations.sigmoid()).sum()
