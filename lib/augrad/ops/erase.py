"""Operations that remove a part of the image."""

from functools import partial

import torch
from torch import Tensor

from augrad.ops.numeric import per_image, with_magnitude, with_surrogate
from augrad.ops.spec import Op


def _edge(distance: Tensor) -> tuple[Tensor, Tensor]:
    """clip(distance + 1/2, 0, 1) and its derivative, which at the two kinks is the mean of both sides: edges may lie on
    them."""
    value = distance + 0.5
    return value.clamp(0, 1), (value.sign() - (value - 1).sign()) / 2


def _square(images: Tensor, magnitude: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the side, and the distances of rows and of columns from the centre, all in pixels."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device, dtype=images.dtype) + 0.5
    columns = torch.arange(width, device=images.device, dtype=images.dtype) + 0.5
    vertical = (rows[None] - centre[:, :1] * height).abs()[:, None, :, None]
    horizontal = (columns[None] - centre[:, 1:] * width).abs()[:, None, None, :]
    return per_image(magnitude, images) * (min(height, width) / 2), vertical, horizontal


def _slope(fill: float, images: Tensor, magnitude: Tensor, centre: Tensor) -> Tensor:
    half_side, vertical, horizontal = _square(images, magnitude, centre)
    (down, down_slope), (across, across_slope) = _edge(half_side - vertical), _edge(half_side - horizontal)
    return (fill - images) * (down_slope * across + down * across_slope) * (min(images.shape[-2:]) / 2)


@with_magnitude(least=0.0, draws=2)
def cutout(images: Tensor, magnitude: Tensor, draw: Tensor | None = None, *, fill: float = 0.0) -> Tensor:
    """Fill a square whose side is `magnitude` [B], at least 0, times the image's shorter side, around a random centre.

    draw [B, 2], uniform numbers in [0, 1): the centre as fractions of height and width; the image's centre without it.
    The square is clipped at the image's border. Straight-through: the forward pass fills the pixels whose centre
    lies inside the square; the derivative used for the side is that of the same square with edges one pixel wide,
    inside = clip(side / 2 - |offset| + 1/2, 0, 1) along each axis. The image gradient is exact.
    """
    centre = images.new_full((len(images), 2), 0.5) if draw is None else draw.to(images.dtype)
    half_side, vertical, horizontal = _square(images, magnitude, centre)
    inside = (vertical < half_side) & (horizontal < half_side)
    return with_surrogate(torch.where(inside, fill, images), partial(_slope, fill), images, magnitude, centre)


OPS = (Op("cutout", cutout, 0.0, 0.2, "fraction", False, "straight_through", "erase", draws=2, options=("fill",)),)
"""The rows of these operations in the table of all (`augrad.ops`)."""
