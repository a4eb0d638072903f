"""Small parts of several operations for one batch, each image with its own operation."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Inexact, Int
from torch import Tensor

from augrad.ops.spec import Op


class Members(NamedTuple):
    """Which of several operations each image of a batch has.

    member [N]: its place in `ops`, any number outside stands for none. present: where in the batch images with an
    operation may be, by the operation's name; without those that nobody has.
    """

    member: Int[Tensor, " N"]
    ops: tuple[Op, ...]
    present: dict[str, slice]


def of_members(
    part: Callable[[Op, Tensor], Sequence[Any]],
    magnitude: Inexact[Tensor, " N"],
    member: Int[Tensor, " N"],
    ops: tuple[Op, ...],
) -> tuple[Inexact[Tensor, " N"], ...]:
    """What `part` gives for each image's own operation; that of the first one where the image has none.

    part: an operation, magnitudes [N] -> numbers, or tensors [N]. member: place of the image's operation in `ops`.
    """
    found: list[Tensor] = []
    for place, op in enumerate(ops):
        mine = member == place
        # The magnitude of another operation may be far outside this one's range, or NaN.
        values = part(op, torch.where(mine, magnitude, op.low or 0.0))
        whole = [value if isinstance(value, Tensor) else torch.full_like(magnitude, value) for value in values]
        found = [torch.where(mine, *both) for both in zip(whole, found, strict=True)] if found else whole
    return tuple(found)
