"""Families of operations in plain PyTorch, on any device, and seen through by `torch.compile` and transforms."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augrad.engines.contract import Stages, apply_op
from augrad.engines.grouped.families import Families, Family, apply_family, families_of
from augrad.engines.grouped.routing import join, split
from augrad.ops.numeric import constant, is_known
from augrad.ops.spec import Op


@dataclass(frozen=True)
class Grouped:
    """Every family on its own images where what was drawn can be read without waiting, else on the whole batch."""

    name: str = "grouped"
    differentiable: Literal["once", "twice"] = "twice"

    def prepare(self, ops: tuple[Op | None, ...]) -> Families:
        return families_of(ops)

    def knows(self, op: Op) -> bool:
        return True

    def refusal(self, images: Tensor) -> str | None:
        return None

    def apply(self, images: Tensor, stages: Stages) -> Tensor:
        read = images.device.type == "cpu" and not torch.compiler.is_compiling() and is_known(stages.chosen)
        one_stage = by_sorting if read else by_selecting
        for stage in range(len(stages)):
            images = one_stage(images, stages.one(stage))
        return images


def by_sorting(images: Tensor, stages: Stages) -> Tensor:
    """One stage: images are sorted by operation, and every family gets its own."""
    plan: Families = stages.plan.prepared["grouped"]
    chosen, magnitude, draw = stages.chosen[:, 0], stages.magnitude[:, 0], stages.draw[:, 0]
    place = constant(plan.places, chosen.dtype, chosen.device)[chosen]
    order = torch.argsort(place, stable=True)
    counts = iter(torch.bincount(place, minlength=len(plan.places)).tolist())
    place, own_magnitude, own_draw = place[order], magnitude.index_select(0, order), draw[order]
    groups: list[tuple[Family, slice, int, dict[str, slice]]] = []
    start, first = 0, 0
    for family in plan.families:
        present, stop = {}, start
        for name in family.names:
            if count := next(counts):
                present[name] = slice(stop - start, stop - start + count)
                stop += count
        if present:
            groups.append((family, slice(start, stop), first, present))
        start, first = stop, first + len(family.ops)
    # What nothing happens to comes last.
    indices = [order[part] for _, part, _, _ in groups] + ([order[start:]] if start < len(order) else [])
    parts = list(split(images, indices))
    for number, (family, part, first, present) in enumerate(groups):
        if family.mixes:  # needs every image in its place
            own = torch.where(place == first, own_magnitude, family.ops[0].low or 0.0)[order.argsort()]
            parts[number] = apply_op(family.ops[0], images, own, draw, stages.settings)[indices[number]]
            continue
        member = place[part] - first
        parts[number] = apply_family(
            family, parts[number], own_magnitude[part], member, own_draw[part], present, stages.settings
        )
    return join(parts, indices)


def by_selecting(images: Tensor, stages: Stages) -> Tensor:
    """One stage: every family gets the whole batch, and what was drawn is selected; nothing is read back."""
    plan: Families = stages.plan.prepared["grouped"]
    chosen, magnitude, draw = stages.chosen[:, 0], stages.magnitude[:, 0], stages.draw[:, 0]
    place = constant(plan.places, chosen.dtype, chosen.device)[chosen]
    everywhere = slice(0, len(images))
    result, first = images, 0
    for family in plan.families:
        member = place - first
        mine = (member >= 0) & (member < len(family.ops))
        first += len(family.ops)
        # The magnitude of another operation may be far outside this one's range, and an image that another operation
        # takes may hold NaN: keep all numbers finite, or gradients of 0 become NaN.
        own = torch.where(mine, magnitude, family.ops[0].low or 0.0)
        shown = images if family.mixes else torch.where(mine[:, None, None, None], images, 0)
        output = apply_family(
            family, shown, own, member, draw, dict.fromkeys(family.names, everywhere), stages.settings
        )
        result = torch.where(mine[:, None, None, None], output, result)
    return result


GROUPED = Grouped()
