"""An entropy bound: no policy that has put everything on one operation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.policy import Policy
from augrad.regularizers.regularizer import require_share, require_weight


@checked
@dataclass(frozen=True)
class SelectionEntropy:
    """weight * max(0, floor - H / H_max), H the entropy of what is selected (`Policy.selection_entropy`).

    floor: as a share of the maximum; at 1 the term always pulls. Raises UserError for a negative weight and a floor
    outside [0, 1].
    """

    weight: float = 0.02
    floor: float = 1.0

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_share("floor", self.floor)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        largest = policy.max_selection_entropy
        if largest == 0:  # there is nothing to choose between
            return torch.zeros((), dtype=torch.float64, device=policy.low.device)
        return self.weight * torch.relu(self.floor - policy.selection_entropy() / largest)
