"""One resampling for every operation that is an affine map of coordinates: a matrix for each image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.engines.grouped.members import of_members
from augrad.ops.geometric import resample
from augrad.ops.spec import Op


def warp(
    images: Float[Tensor, "N C H W"],
    magnitude: Float[Tensor, " N"],
    member: Int[Tensor, " N"],
    ops: tuple[Op, ...],
    fill: float,
    interpolation: str,
) -> Float[Tensor, "N C H W"]:
    """Each image through its own geometric operation. member: its place in `ops`, anything else for none."""
    size = images.shape[-2:]
    entries = of_members(lambda op, own: op.shape.matrix(own, *size), magnitude.to(torch.float64), member, ops)  # type: ignore[union-attr]
    return resample(images, torch.stack(entries, -1).unflatten(-1, (2, 3)), fill, interpolation)
