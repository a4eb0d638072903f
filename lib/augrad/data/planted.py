"""A known shift between training and evaluation data: a search that works finds it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from augrad import ops
from augrad.checks import checked
from augrad.data.pixels import to_float, to_uint8
from augrad.data.seeding import local_generator
from augrad.data.types import Split, Splits
from augrad.errors import UserError

_CHUNK = 1024  # images at a time, to bound the memory of their float copies


@checked
@dataclass(frozen=True)
class Planted:
    """An operation that validation, selection and test images have undergone, and training images have not.

    op: its name in `augrad.ops`. low, high: the magnitude of each image is uniform in [low, high], in the operation's
    absolute unit and with its sign; equal ends fix it; operations without a magnitude ignore both.
    Raises UserError for an unknown operation and unless low <= high, both finite.
    """

    op: str
    low: float | int
    high: float | int

    def __post_init__(self) -> None:
        ops.get(self.op)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise UserError(
                f"planted {self.op}: expected finite magnitudes low <= high, got low={self.low}, high={self.high}; "
                "swap or change them"
            )


Plants = Planted | Sequence[Planted] | None
"""What loaders take: one operation, several, which are applied one after the other, or none."""


def plant(splits: Splits, planted: Plants, seed: int) -> Splits:
    """`splits` with the operations applied, once and for good, to all images but those of train.

    From then on validation has a source of its own. Images are rounded to 8 bits after each operation. Magnitudes, and
    the extra uniform numbers of the operations that take some, come from one stream per split, place in the sequence
    and seed. Raises UserError for images that are in a file.
    """
    plants = () if planted is None else (planted,) if isinstance(planted, Planted) else planted
    for index, one in enumerate(plants):
        changed = {
            part: _applied(getattr(splits, part), one, local_generator(seed, f"planted {part}", index))
            for part in ("validation", "selection", "test")
        }
        splits = replace(splits, own_validation=True, **changed)
    return splits


@torch.no_grad()
def _applied(split: Split, planted: Planted, generator: torch.Generator) -> Split:
    op = ops.get(planted.op)
    if not isinstance(split.images, Tensor):
        raise UserError("planted: expected images in memory, where they are changed; leave out store, or planted")
    device = split.images.device
    uniform = torch.rand(len(split), generator=generator)
    magnitude = (planted.low + (planted.high - planted.low) * uniform).to(device)
    draw = torch.rand(len(split), op.draws, generator=generator).to(device)
    changed = []
    for start in range(0, len(split), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        extra = (draw[chunk],) if op.draws else ()
        changed.append(to_uint8(op.apply(to_float(split.images[chunk]), magnitude[chunk], *extra)))
    return Split(torch.cat(changed), split.labels)
