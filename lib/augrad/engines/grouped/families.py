"""Families: operations that share one pass over the pixels, each image with its own operation and magnitude.

Affine maps of coordinates that have a magnitude are one resampling, affine maps of the colours are one such map; any
other operation is a family of its own. The operations' own functions are the definition: a family computes the same
values up to rounding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from augrad.engines.contract import Settings, apply_op
from augrad.engines.grouped.affine_color import affine_color, affine_levels
from augrad.engines.grouped.members import Members
from augrad.engines.grouped.warp import warp
from augrad.ops import shape_of
from augrad.ops.meaning import Meaning
from augrad.ops.numeric import constant, in_own_dtype
from augrad.ops.spec import AffineColor, Op, Warp


@dataclass(frozen=True)
class Family:
    """ops: operations that are computed together."""

    ops: tuple[Op, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(op.name for op in self.ops)

    @property
    def mixes(self) -> bool:
        """Whether what becomes of an image depends on its place in the batch."""
        return self.ops[0].kind == "mix"


@dataclass(frozen=True)
class Families:
    """families: operations that are computed together. places: for each operation, and last for none, its place when
    images are sorted by family and by operation; the last place is that of what no family has."""

    families: tuple[Family, ...]
    places: tuple[int, ...]


def _is_warp(op: Op) -> bool:
    return isinstance(shape_of(op), Warp) and op.has_magnitude  # without one it is cheaper by its own function


def _is_affine(op: Op) -> bool:
    return isinstance(shape_of(op), AffineColor)


def families_of(ops: tuple[Op | None, ...]) -> Families:
    """How to compute a policy's operations together: shared families first, then each operation that is left."""
    found, left = [], [op for op in ops if op is not None and op.kind != "identity"]
    for together in (_is_warp, _is_affine):
        mine = tuple(op for op in left if together(op))
        if len(mine) > 1:
            found.append(Family(mine))
            left = [op for op in left if op not in mine]
    found += [Family((op,)) for op in left]
    order = [op for family in found for op in family.ops]
    places = tuple(order.index(op) if op in order else len(order) for op in ops)
    return Families(tuple(found), (*places, len(order)))


_warp = in_own_dtype(warp, meaning=Meaning())
_affine_color = in_own_dtype(affine_color, meaning=Meaning(), on_levels=affine_levels)


def apply_family(
    family: Family,
    images: Tensor,
    magnitude: Tensor,
    member: Tensor,
    draw: Tensor,
    present: dict[str, slice],
    settings: Settings,
) -> Tensor:
    """The family's operations on `images` [N, C, H, W], of any type that operations take.

    magnitude [N], with its sign, in absolute units. member [N]: which of the family's operations; a number that no
    operation has stands for none. draw [N, D]. present: the operations that may occur, and where in the batch.
    """
    if len(family.ops) == 1:
        return apply_op(family.ops[0], images, magnitude, draw, settings)
    if _is_warp(family.ops[0]):
        return _warp(images, magnitude, member, family.ops, settings.fill, settings.interpolation)
    ignored = constant(tuple(not op.has_magnitude for op in family.ops), torch.bool, images.device)
    magnitude = torch.where(ignored[member.clamp(0, len(family.ops) - 1)], 0.0, magnitude)  # it may be NaN
    return _affine_color(images, magnitude, Members(member, family.ops, present))
