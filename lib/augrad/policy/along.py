"""Policies on the line through two policies over the same candidates, and the one that does nothing."""

from dataclasses import replace

import torch

from augrad.layout import require_same_places
from augrad.policy.distributions import CERTAIN, is_certain
from augrad.policy.learnable import learnable
from augrad.policy.policy import Policy
from augrad.policy.slots import slots_layout


@torch.no_grad()
def along(start: Policy, end: Policy, reach: float) -> Policy:
    """The policy `reach` times as far from `start` as `end` is, in the same direction: 0 is `start`, 1 is `end`.

    In the unbounded parameters: weights multiply, so that beyond 1 what the end has more of than the start takes the
    mass of the others. What `start` fixes stays as it is there. Raises UserError for policies over other candidates.
    """
    there, here = slots_layout(end.ops, end.slots), slots_layout(start.ops, start.slots)
    require_same_places(
        there, here, "end: expected a policy over the operations of the start", "give one of its search"
    )
    moves = learnable(start)
    pairs = zip(vars(start.params).items(), end.params.tensors(), strict=True)
    moved = {n: torch.where(moves[n], old + reach * (new.to(old) - old), old).detach() for (n, old), new in pairs}
    return start.with_params(replace(start.params, **moved))


def always_applies(policy: Policy) -> bool:
    """Whether a probability is exactly 1, so that it cannot be learned, of an operation that does something."""
    gates, tables = policy.params.gate_logits, policy.tables
    return bool((tables.present & tables.scored_gate & is_certain(gates) & (gates > 0)).any())


def never_applied(policy: Policy) -> Policy:
    """The same candidates with probabilities of 0: it leaves every image as it is."""
    with torch.no_grad():
        off = torch.full_like(policy.params.gate_logits, -CERTAIN)
    return policy.with_params(replace(policy.params, gate_logits=off))
