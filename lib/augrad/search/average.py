"""The mean of a policy over the last steps of its search: what they agree on, without the noise of any one of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

POWER = 3
"""Of a step's number, its weight in the mean: half of all is on the last sixth of the steps."""


@torch.no_grad()
def averaged(mean: Mapping[str, Tensor], new: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean after one more step, the one with this number, from 1 on.

    Polynomial decay (Shamir and Zhang 2013, section 4): the mean after t steps gives step s a weight that grows as s to
    the power of 3, so that it needs no number of steps to be known before, and forgets the beginning.
    """
    share = (POWER + 1) / (count + POWER)
    return {name: torch.lerp(mean.get(name, tensor), tensor, share) for name, tensor in new.items()}
