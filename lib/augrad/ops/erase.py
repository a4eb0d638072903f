"""Operations that remove a part of the image."""

import torch
from torch import Tensor

from augrad.ops.numeric import in_own_dtype, per_image


def _edge(distance: Tensor) -> Tensor:
    """clip(distance + 1/2, 0, 1); its derivative at the two kinks is the mean of both sides: edges may lie on them."""
    zero, one = distance.new_zeros(()), distance.new_ones(())
    return torch.minimum(torch.maximum(distance + 0.5, zero), one)


@in_own_dtype
def cutout(images: Tensor, magnitude: Tensor, draw: Tensor | None = None, *, fill: float = 0.0) -> Tensor:
    """Fill a square whose side is `magnitude` [B] times the image's shorter side, around a random centre.

    draw [B, 2], uniform numbers in [0, 1): the centre as fractions of height and width; the image's centre without it.
    The square is clipped at the image's border. Straight-through: the forward pass fills the pixels whose centre
    lies inside the square; the derivative used for the side is that of the same square with edges one pixel wide,
    inside = clip(side / 2 - |offset| + 1/2, 0, 1) along each axis. The image gradient is exact.
    """
    batch, _, height, width = images.shape
    half_side = per_image(magnitude, images) * (min(height, width) / 2)
    centre = images.new_full((batch, 2), 0.5) if draw is None else draw.to(images.dtype)
    rows = torch.arange(height, device=images.device, dtype=images.dtype) + 0.5
    columns = torch.arange(width, device=images.device, dtype=images.dtype) + 0.5
    vertical = (rows[None] - centre[:, :1] * height).abs()[:, None, :, None]
    horizontal = (columns[None] - centre[:, 1:] * width).abs()[:, None, None, :]
    inside = ((vertical < half_side) & (horizontal < half_side)).to(images.dtype)
    if half_side.requires_grad:
        soft = _edge(half_side - vertical) * _edge(half_side - horizontal)
        inside = inside + soft - soft.detach()
    return images + inside * (fill - images)
