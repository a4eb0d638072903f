"""Neighbourhood operations."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from augrad.ops import levels
from augrad.ops.clamped import clamp01
from augrad.ops.numeric import per_image, transformed, with_magnitude
from augrad.ops.spec import Op

BLUR_RADIUS = 6
"""Radius, in pixels, of the kernel of `gaussian_blur`: three standard deviations at the end of its default range."""


def _box_sum(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    """Sums over 3 x 3 pixels, one row and one column less on each side."""
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


class _BoxSum(torch.autograd.Function):
    """`_box_sum`; backward, the same sum over the gradient with a border of zeros: two passes instead of six."""

    @staticmethod
    def forward(images: Tensor) -> Tensor:
        return _box_sum(images)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _summed(F.pad(gradient, (2, 2, 2, 2)))


def _summed(images: Tensor) -> Tensor:
    return _box_sum(images) if transformed() else _BoxSum.apply(images)  # type: ignore[no-any-return]


@with_magnitude(least=-1.0, on_levels=levels.sharpness)
def sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the smoothed image by `magnitude` [B], from -1 (smooth) on, times the distance (above 0: sharper).

    Smoothing is the 3 x 3 kernel (1 1 1; 1 5 1; 1 1 1) / 13; the outermost pixels stay as they are, and so do images
    with a side below 3.
    """
    if min(images.shape[-2:]) < 3:
        return images
    inner = images[..., 1:-1, 1:-1]
    total = _summed(images)
    # inner - (total + 4 inner) / 13
    detail = F.pad(torch.sub(inner, total, alpha=1 / 9), (1, 1, 1, 1))
    return clamp01(torch.addcmul(images, detail, per_image(magnitude, images), value=9 / 13))


def _reflected(count: int, radius: int, device: torch.device) -> Tensor:
    """Positions -radius .. count + radius - 1 along an axis, reflected at the centres of the outermost pixels."""
    period = max(2 * (count - 1), 1)
    position = torch.arange(-radius, count + radius, device=device).remainder(period)
    return torch.minimum(position, period - position).clamp(max=count - 1)


def _blurred(images: Tensor, weights: Float[Tensor, "B R"], axis: int) -> Tensor:
    count = images.shape[axis]
    padded = images.index_select(axis, _reflected(count, BLUR_RADIUS, images.device))
    result = padded.narrow(axis, BLUR_RADIUS, count) * per_image(weights[:, 0], images)
    for distance in range(1, weights.shape[1]):
        pair = padded.narrow(axis, BLUR_RADIUS - distance, count) + padded.narrow(axis, BLUR_RADIUS + distance, count)
        result = result + pair * per_image(weights[:, distance], images)
    return result


@with_magnitude(least=0.0)
def gaussian_blur(images: Tensor, magnitude: Tensor) -> Tensor:
    """Convolve with a Gaussian whose standard deviation is `magnitude` [B] in pixels; 0 leaves the image as it is.

    The kernel has 13 x 13 pixels whatever the magnitude (radius BLUR_RADIUS), with weights proportional to
    exp(-distance^2 / (2 sigma^2)) that sum to 1: beyond a sigma of 2 its ends are cut off visibly. Images are reflected
    at their border (without repeating the outermost pixel). Both gradients are exact; at 0, and below, the
    magnitude's is 0, since every derivative of exp(-1 / sigma^2) vanishes there.
    """
    # From there down the neighbour's weight, exp(-800), is 0 in double precision, and so are its derivatives.
    sigma = magnitude.to(images.dtype).clamp(min=0.025)[:, None]
    distance = torch.arange(BLUR_RADIUS + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (distance / sigma) ** 2)
    weights = weights / (2 * weights.sum(1, keepdim=True) - 1)
    return _blurred(_blurred(images, weights, 3), weights, 2)


OPS = (
    Op("sharpness", sharpness, 0.0, 0.9, "strength", True, "exact", "filter"),
    Op("gaussian_blur", gaussian_blur, 0.0, 2.0, "pixel", False, "exact", "filter"),
)
"""The rows of these operations in the table of all (`augrad.ops`)."""
