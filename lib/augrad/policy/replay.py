"""Whether a draw can be replayed on a policy: it may come from another one, from a file, or be changed by hand."""

from collections.abc import Sequence

import torch

from augrad.errors import UserError
from augrad.layout import require_same_operations, require_same_places
from augrad.ops.given import fractions_hold
from augrad.ops.meaning import may_look
from augrad.ops.spec import Op
from augrad.policy.tables import Tables, of_chosen
from augrad.types import Drawn, PolicySample, RelaxedSample

_ADVICE = "draw with this policy, or replay on the one that drew"
_WAYS: dict[type[Drawn], str] = {PolicySample: "policy.sample", RelaxedSample: "policy.rsample"}


def require_replayable(
    draw: Drawn,
    ops: Sequence[Op],
    tables: Tables,
    layout: str,
    kinds: tuple[type[Drawn], ...] = (PolicySample, RelaxedSample),
    by_place: bool = False,
) -> None:
    """Raise UserError unless `draw` can be replayed on a policy with these operations, tables and layout.

    That is for what is none of `kinds`, for fields that do not fit each other, and for a draw over other operations.
    Relaxed draws are over the policy's candidates, each in its place; hard ones only if that is asked for (`by_place`).
    """
    if not isinstance(draw, kinds):
        expected, ways = " or ".join(kind.__name__ for kind in kinds), " and ".join(_WAYS[kind] for kind in kinds)
        raise UserError(f"params: expected a {expected}, got {type(draw).__name__}; {ways} gives one")
    draw.require_kinds()
    require = require_same_places if draw.by_place or by_place else require_same_operations
    require(draw.layout, layout, "params: expected a draw over this policy's operations", _ADVICE)
    if isinstance(draw, RelaxedSample) and draw.op.shape[1:] != tables.present.shape:
        raise UserError(
            f"params: expected a relaxed draw over {tuple(tables.present.shape)} sub-policies, stages and candidates, "
            f"got {tuple(draw.op.shape[1:])}; {_ADVICE}"
        )
    if isinstance(draw, PolicySample):
        _require_places(draw, ops, tables, by_place)


def _require_places(draw: PolicySample, ops: Sequence[Op], tables: Tables, by_place: bool) -> None:
    """Raise UserError for operations that are none, `by_place` for candidates that are none or have another one, and
    for extra numbers that are missing or not in 0..1. Values are looked at where they can be read."""
    subpolicies, stages, width = tables.present.shape
    if by_place and draw.op.shape[1] != stages:
        raise UserError(f"params: expected a draw of {stages} stages, got {draw.op.shape[1]}")
    if not may_look(draw.op) or not draw.op.numel():
        return
    counts = {"op": len(ops), **({"subpolicy": subpolicies, "slot": width} if by_place else {})}
    for name, count in counts.items():
        low, high = (int(end) for end in torch.aminmax(getattr(draw, name)))
        if not 0 <= low <= high < count:
            got = low if low < 0 else high
            raise UserError(f"params: expected {name} from 0 to {count - 1}, got {got}; {_ADVICE}")
    if by_place and not torch.equal(of_chosen(tables.op_index, draw.subpolicy, draw.slot).clamp(min=0), draw.op):
        raise UserError(
            "params: expected the operations of the candidates that were drawn, got others in their places; draw with "
            "this policy"
        )
    extra = draw.draw.shape[2]
    for index, op in enumerate(ops):
        if op.draws > extra and bool(((draw.op == index) & draw.gate).any()):
            raise UserError(f"params: expected {op.draws} extra numbers for {op.name}, got {extra}; draw anew")
    if draw.draw.numel() and not fractions_hold(draw.draw):
        raise UserError("params: expected draw as numbers from 0 to 1, got others; draw anew")
