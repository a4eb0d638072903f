"""An entropy term: it keeps a policy from putting all weight on one operation."""

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
    """weight * max(0, floor - H / H_max), where H is the entropy of the selection (`Policy.selection_entropy`).

    H_max is the largest value that H can have. weight: at least 0. floor: in [0, 1], the share of H_max below which the
    term acts; with 1 it always does. Raises UserError for other values.
    """

    weight: float = 0.02
    floor: float = 1.0

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_share("floor", self.floor)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        largest = policy.max_selection_entropy
        if largest == 0:  # there is nothing to choose between
            return torch.zeros((), dtype=torch.float64, device=policy.device)
        return self.weight * torch.relu(self.floor - policy.selection_entropy() / largest)
