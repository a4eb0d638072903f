"""Which numbers of a policy can be learned. The others, which a policy file fixes, keep their exact values."""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from augrad.policy.distributions import is_certain, is_impossible
from augrad.policy.policy import Policy
from augrad.types import PolicyParams


@torch.no_grad()
def learnable(policy: Policy) -> dict[str, Bool[Tensor, "..."]]:
    """For each parameter group, by its name, which entries can be learned.

    Fixed are: a weight of exactly 0 or 1, a probability of exactly 0 or 1, a magnitude's scale of exactly 0, the end of
    a uniform range (a certain location); what fills up stages that have fewer candidates than others; the gate of the
    identity; the magnitude of an operation without one or with a single value. So is what is never drawn, below a
    weight or a probability of exactly 0. Read from the parameters themselves, see
    `augrad.policy.distributions.CERTAIN`.
    """
    params, tables = policy.params, policy.tables
    certain = {name: is_certain(tensor) for name, tensor in vars(params).items()}
    subpolicy = ~certain["subpolicy_logits"]
    op = tables.present & ~certain["op_logits"] & subpolicy[:, None, None]
    magnitude = op & tables.scored_magnitude & ~is_impossible(params.gate_logits) & ~certain["magnitude_locations"]
    return {
        "subpolicy_logits": subpolicy & (subpolicy.sum() > 1),
        "op_logits": op & (op.sum(-1, keepdim=True) > 1),
        "gate_logits": op & tables.scored_gate & ~certain["gate_logits"],
        "magnitude_locations": magnitude,
        "magnitude_log_scales": magnitude & ~certain["magnitude_log_scales"],
    }


def only_learnable(grads: PolicyParams, policy: Policy) -> PolicyParams:
    """The gradients, with zeros where an entry is fixed."""
    moves = learnable(policy)
    return replace(grads, **{name: torch.where(moves[name], found, 0.0) for name, found in vars(grads).items()})


def anything_learnable(policy: Policy) -> bool:
    """Whether an entry of a group that is learned (`requires_grad`) is not fixed."""
    moves = learnable(policy)
    return any(bool(moves[name].any()) for name, parameter in policy.named_parameters() if parameter.requires_grad)
