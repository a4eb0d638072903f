"""What a policy can choose from, place by place: sub-policies of stages of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from augrad.layout import layout_of
from augrad.ops.spec import Op
from augrad.types import PolicyParams


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

PAD = Slot(op=-1)
"""No candidate: what fills a stage up to the size of the largest."""


def slots_layout(ops: Sequence[Op], slots: Slots) -> str:
    """Which operation is where, see `augrad.layout.layout_of`."""
    return layout_of([op.name for op in ops], [[[slot.op for slot in stage] for stage in stages] for stages in slots])


def parameters_like(slots: Slots) -> PolicyParams:
    """Zeros (uniform weights, even gates, middle magnitudes, scale 1) of the shape that `slots` need."""
    stages = max(len(stages) for stages in slots)
    width = max(len(stage) for stages in slots for stage in stages)
    zeros = torch.zeros(len(slots), stages, width, dtype=torch.float64)
    return PolicyParams(zeros[:, 0, 0], zeros, zeros, zeros, zeros)
