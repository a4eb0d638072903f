"""Families: operations that share one pass over the pixels, each image with its own operation and magnitude.

All geometric operations with a magnitude are one resampling, five colour operations are one affine map; any other
operation is a family of its own. The operations' own functions are the definition: a family computes the same values
up to rounding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from augrad.ops import is_own, levels
from augrad.ops.affine_color import COLOR_MEMBERS, affine_color
from augrad.ops.compiled.codes import CODES, COPY
from augrad.ops.meaning import Meaning
from augrad.ops.numeric import constant, in_own_dtype
from augrad.ops.spec import Op
from augrad.ops.warp import WARP_MEMBERS, warp


@dataclass(frozen=True)
class Settings:
    """How resampling fills and interpolates, and the batch that operations of kind "mix" take other images from."""

    fill: float
    interpolation: str
    others: Tensor


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
class Arrangement:
    """How a policy's operations are computed.

    families: operations that are computed together. places: for each operation, and last for none, its place when
    images are sorted by family and by operation; the last place is that of what no family has. codes: for each
    operation, and last for none, what compiled code calls it. rest: the arrangement of what compiled code leaves.
    """

    families: tuple[Family, ...]
    places: tuple[int, ...]
    codes: tuple[int, ...]
    rest: "Arrangement | None" = None


def arrangement(ops: tuple[Op, ...]) -> Arrangement:
    """How to compute a policy's operations together: shared families first, then each operation that is left."""
    acting = [op for op in ops if op.kind != "identity"]
    codes = [CODES[op.name] if op.name in CODES and is_own(op) else COPY for op in ops]
    rest = [op for op, code in zip(ops, codes, strict=True) if op in acting and code == COPY]
    return Arrangement(*_grouped(ops, acting), (*codes, COPY), Arrangement(*_grouped(ops, rest), (*codes, COPY)))


def _grouped(ops: tuple[Op, ...], left: list[Op]) -> tuple[tuple[Family, ...], tuple[int, ...]]:
    found = []
    for names in (WARP_MEMBERS, COLOR_MEMBERS):
        mine = tuple(op for op in left if op.name in names and is_own(op))
        if len(mine) > 1:
            found.append(Family(mine))
            left = [op for op in left if op not in mine]
    found += [Family((op,)) for op in left]
    order = [op for family in found for op in family.ops]
    places = tuple(order.index(op) if op in order else len(order) for op in ops)
    return tuple(found), (*places, len(order))


_warp = in_own_dtype(warp, meaning=Meaning())
_affine_color = in_own_dtype(affine_color, meaning=Meaning(), on_levels=levels.affine_color)


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
    if family.names[0] in WARP_MEMBERS:
        return _warp(images, magnitude, member, family.names, settings.fill, settings.interpolation)
    ignored = constant(tuple(not op.has_magnitude for op in family.ops), torch.bool, images.device)
    magnitude = torch.where(ignored[member.clamp(0, len(family.ops) - 1)], 0.0, magnitude)  # it may be NaN
    return _affine_color(images, magnitude, member, family.names, present.get("contrast"))


def apply_op(op: Op, images: Tensor, magnitude: Tensor, draw: Tensor, settings: Settings) -> Tensor:
    """One operation on a batch.

    magnitude [B], with its sign, in absolute units; draw [B, D]: the operation takes its share. An operation of kind
    "mix" needs a whole batch, in the order of `settings.others`.
    """
    options = {name: getattr(settings, name) for name in op.options}
    extra = (draw[:, : op.draws],) if op.draws else ()
    return op.apply(images, magnitude, *extra, **options)
