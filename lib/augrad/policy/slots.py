"""What a policy chooses from: sub-policies, each of several stages, each of several candidates."""

import contextlib
import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.layout import Range, layout_of
from augrad.ops.spec import Op

Learnable = Literal["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
"""Groups of a policy's parameters that a search may change."""
Magnitude = Literal["logit_normal", "uniform", "point"]
"""How magnitudes are distributed at the start, see `augrad.Policy.over`."""
MOST_SUBPOLICIES = 10_000
MOST_STAGES = 16
"""What a policy can have, as a file and as the start of a search."""


@dataclass(frozen=True)
class Slot:
    """One candidate of one stage: an operation (index into the policy's operations) and what its magnitude may be.

    The magnitude runs from `low` to `high` (absolute units, 0 for operations without one). `uniform`: it is uniform
    between `low` and the point that location and scale describe; otherwise it is that point.
    """

    op: int
    low: float = 0.0
    high: float = 0.0
    signed: bool = False
    uniform: bool = False


Slots = tuple[tuple[tuple[Slot, ...], ...], ...]
"""[S][L][K]: stages may have fewer candidates, sub-policies fewer stages, than the largest."""


@dataclass(frozen=True)
class Grid:
    """Where the candidates of a policy stand in its tables [S, L, K], of the largest numbers of stages and candidates.

    candidates: all N in their order. places: the place of each, counted through the flattened table.
    """

    shape: tuple[int, int, int]
    candidates: tuple[Slot, ...]
    places: Int[Tensor, " N"]

    def of_each(self, read: Callable[[Slot], Any], dtype: torch.dtype) -> Shaped[Tensor, "N *features"]:
        """What `read` says of each candidate."""
        return torch.tensor([read(slot) for slot in self.candidates], dtype=dtype)

    def table(self, values: Shaped[Tensor, "N *features"], padding: int = 0) -> Shaped[Tensor, "S L K *features"]:
        """The table with these values of the candidates, on the CPU; `padding` where there is none."""
        table = _zeros((*self.shape, *values.shape[1:]), values.dtype)
        if padding:
            table.fill_(padding)
        table.flatten(0, 2)[self.places] = values
        return table

    def values(self, table: Shaped[Tensor, "S L K *features"]) -> Shaped[Tensor, "N *features"]:
        """The values of the candidates in a table."""
        return table.flatten(0, 2)[self.places.to(table.device)]


_LARGE = 2**24
"""Bytes."""


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return torch.zeros(shape, dtype=dtype)
    # Of a large table of few candidates only the pages with a candidate are to cost memory: fresh pages are zero, and
    # are there from the first time that something is written to them.
    # Private: a forked process gets copies of the pages that either one writes to.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def checked_slots(ops: Sequence[Op], slots: Slots) -> Slots:
    """The slots, as tuples. Raises UserError for slots that are not [S][L][K] of `Slot`s, with at least one candidate,
    each with an operation of `ops` and a range that this operation can have."""
    if not isinstance(ops, Sequence) or not ops or not all(isinstance(op, Op) for op in ops):
        raise UserError(f'policy: expected ops as operations, such as augrad.ops.get("rotate"), got {f"{ops!r:.80}"}')
    try:
        nested = tuple(tuple(tuple(stage) for stage in stages) for stages in slots)
    except TypeError:
        nested = ()
    candidates = list(chain.from_iterable(chain.from_iterable(nested)))
    if not candidates or not all(isinstance(slot, Slot) for slot in candidates):
        raise UserError(
            "policy: expected slots as sub-policies of stages of candidates, at least one, such as (((Slot(0),),),), "
            f"got {slots!r:.80}"
        )
    for slot in set(candidates):
        if isinstance(slot.op, bool) or not isinstance(slot.op, int) or not 0 <= slot.op < len(ops):
            raise UserError(
                f"policy: expected a slot's op to be the place of one of the {len(ops)} operations, 0 to "
                f"{len(ops) - 1}, got {slot.op!r}"
            )
        if ops[slot.op].has_magnitude:
            ops[slot.op].check_range(slot.low, slot.high, slot.signed)
    return nested


@made_on_cpu
def grid_of(slots: Slots) -> Grid:
    """The places of all candidates. Raises UserError where there is none."""
    stages = max((len(stages) for stages in slots), default=0)
    width = max((len(stage) for stages in slots for stage in stages), default=0)
    if not width:
        raise UserError("policy: expected at least one candidate among its slots, got none")
    places = [
        ((s * stages + stage) * width + k, slot)
        for s, subpolicy in enumerate(slots)
        for stage, candidates in enumerate(subpolicy)
        for k, slot in enumerate(candidates)
    ]
    return Grid(
        (len(slots), stages, width), tuple(slot for _, slot in places), torch.tensor([place for place, _ in places])
    )


def slots_layout(ops: Sequence[Op], slots: Slots) -> str:
    """Which operation is where, see `augrad.layout.layout_of`."""
    return layout_of([op.name for op in ops], [[[slot.op for slot in stage] for stage in stages] for stages in slots])


def slots_ranges(ops: Sequence[Op], slots: Slots) -> str:
    """The same with the ranges, without which parameters say nothing of magnitudes."""
    found: dict[Range | None, int] = {}

    def index_of(slot: Slot) -> int:
        own = (slot.low, slot.high, bool(slot.signed), bool(slot.uniform)) if ops[slot.op].has_magnitude else None
        return found.setdefault(own, len(found))

    places = [[[slot.op for slot in stage] for stage in stages] for stages in slots]
    indices = [[[index_of(slot) for slot in stage] for stage in stages] for stages in slots]
    return layout_of([op.name for op in ops], places, list(found), indices)
