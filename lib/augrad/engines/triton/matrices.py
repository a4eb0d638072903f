"""Matrices of affine maps of coordinates that no kernel knows, and their slopes: from the definition, on the device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.engines.grouped.members import of_members
from augrad.engines.triton.kinds import warps_of
from augrad.ops.spec import STEP, Op


def matrices_in_pixels(
    ops: tuple[Op | None, ...], chosen: Int[Tensor, " B"], magnitude: Float[Tensor, " B"], height: int, width: int
) -> Float[Tensor, "B N"]:
    """[B, 12]: for each image (a, b, s, c, d, t) and its derivative by the magnitude: a pixel at (x, y) reads at
    (a x + b y + s, c x + d y + t), in pixels from the centre. Without meaning for the images of other operations; where
    there is no such operation, the magnitudes [B, 1], of which nothing is read."""
    mine = warps_of(ops)
    if not mine:
        return magnitude[:, None]
    member = sum(torch.where(chosen == ops.index(op), place, 0) for place, op in enumerate(mine))
    finite = torch.where(magnitude.isfinite(), magnitude, 0.0).to(torch.float64)
    moving = torch.complex(finite, torch.full_like(finite, STEP))
    a, b, s, c, d, t = of_members(lambda op, own: op.shape.matrix(own, height, width), moving, member, mine)  # type: ignore[union-attr]
    found = torch.stack([a, b * (width / height), s * (width / 2), c * (height / width), d, t * (height / 2)], -1)
    return torch.cat([found.real, found.imag / STEP], -1)
