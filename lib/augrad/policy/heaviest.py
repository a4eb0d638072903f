"""The sub-policies of the largest weights alone, which is what some methods use of a learned policy."""

from typing import Annotated

import torch
from pydantic import Field

from augrad.checks import checked
from augrad.policy.distributions import is_impossible
from augrad.policy.policy import Policy
from augrad.policy.required import require_policy
from augrad.types import PolicyParams


@torch.no_grad()
@checked
def heaviest(policy: Policy, count: Annotated[int, Field(ge=1)] | None, uniform: bool = False) -> Policy:
    """The `count` sub-policies of the largest weights, heaviest first (None: all, in their order).

    uniform: they are drawn evenly afterwards, as DADA does with its 25 (Li et al. 2020), those of weight 0 aside;
    otherwise by their weights, made to sum to 1 again. A count beyond the number of sub-policies takes all. Raises
    UserError for a count below 1. What is learned stays learned, and the mode (`train`, `eval`) stays.
    """
    require_policy(policy, "heaviest")
    chosen = torch.arange(policy.shape[0])
    if count is not None:
        order = policy.subpolicy_probabilities().cpu().argsort(descending=True, stable=True)
        chosen = order[:count]
    slots = tuple(policy.slots[index] for index in chosen.tolist())
    stages = max(len(stages) for stages in slots)
    width = max(len(stage) for stages in slots for stage in stages)
    index = chosen.to(policy.device)
    params = {name: tensor[index] for name, tensor in vars(policy.params).items()}
    params = {name: tensor[:, :stages, :width] if tensor.dim() == 3 else tensor for name, tensor in params.items()}
    if uniform:
        logits = params["subpolicy_logits"]
        params["subpolicy_logits"] = torch.where(is_impossible(logits), logits, 0.0)
    return policy.with_params(PolicyParams(**params), slots)
