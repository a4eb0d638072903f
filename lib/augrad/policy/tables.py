"""What is fixed of a policy's candidates, as tables [S, L, K], and how a draw reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from augrad.ops.spec import Op
from augrad.policy.slots import Grid, Slot
from augrad.types import TensorFields


@dataclass(frozen=True)
class Tables(TensorFields):
    """One entry for each place of a policy; zero or False where there is no candidate.

    op_index: the operation, an index into the policy's operations; -1 where there is no candidate. low, high, signed,
    uniform: what the magnitude may be, see `augrad.policy.slots.Slot`. packed: low, high, signed, uniform and
    op_index + 1 in one table, so that a hard draw reads all of them by one index. present: whether there is a
    candidate. scored_gate: whether its gate decides anything, which that of the identity does not. scored_magnitude:
    whether its magnitude can move.
    """

    op_index: Int[Tensor, "S L K"]
    low: Float[Tensor, "S L K"]
    high: Float[Tensor, "S L K"]
    signed: Bool[Tensor, "S L K"]
    uniform: Bool[Tensor, "S L K"]
    packed: Float[Tensor, "S L K 5"]
    present: Bool[Tensor, "S L K"]
    scored_gate: Bool[Tensor, "S L K"]
    scored_magnitude: Bool[Tensor, "S L K"]


def tables_of(ops: Sequence[Op], grid: Grid) -> Tables:
    """The tables of a policy over these operations and candidates, on the CPU."""

    def table(read: Callable[[Slot], Any], dtype: torch.dtype, padding: int = 0) -> Tensor:
        return grid.table(grid.of_each(read, dtype), padding)

    return Tables(
        op_index=table(lambda slot: slot.op, torch.int64, padding=-1),
        low=table(lambda slot: slot.low, torch.float64),
        high=table(lambda slot: slot.high, torch.float64),
        signed=table(lambda slot: slot.signed, torch.bool),
        uniform=table(lambda slot: slot.uniform, torch.bool),
        packed=table(lambda slot: (slot.low, slot.high, slot.signed, slot.uniform, slot.op + 1), torch.float64),
        present=table(lambda slot: True, torch.bool),
        scored_gate=table(lambda slot: ops[slot.op].kind != "identity", torch.bool),
        scored_magnitude=table(lambda slot: ops[slot.op].has_magnitude and slot.low != slot.high, torch.bool),
    )


def moved_tables(tables: Tables, move: Callable[[Tensor], Tensor], made: Callable[[], Tables]) -> Tables:
    """The tables that `move` gives, as `torch.nn.Module.to` or `to_empty` does, with the values they had.

    made: the same tables on the CPU; `to_empty`, and what was on the meta device, bring none.
    """
    moved = {name: move(table) for name, table in vars(tables).items()}
    if any(table is not getattr(tables, name) for name, table in moved.items()):
        with torch.device("cpu"):
            values = vars(made())
        for name, table in moved.items():
            table.copy_(values[name])
    return Tables(**moved)


def row_of(
    table: Shaped[Tensor, "S L K"], subpolicy: Int[Tensor, " B"], slot: Int[Tensor, "B L"]
) -> Int[Tensor, " BL"]:
    """Where the chosen candidates [B, L] are among all S * L * K, one after another."""
    _, stages, width = table.shape
    row = torch.arange(0, stages * width, width, device=slot.device) + slot
    return (row + (stages * width) * subpolicy[:, None]).flatten()


def at(table: Shaped[Tensor, "S L K"], row: Int[Tensor, " BL"]) -> Shaped[Tensor, " BL"]:
    """The entries in these rows, see `row_of`."""
    return table.flatten().index_select(0, row)


def of_chosen(
    table: Shaped[Tensor, "S L K"], subpolicy: Int[Tensor, " B"], slot: Int[Tensor, "B L"]
) -> Shaped[Tensor, "B L"]:
    """The entries of the chosen candidates."""
    return at(table, row_of(table, subpolicy, slot)).view(slot.shape)
