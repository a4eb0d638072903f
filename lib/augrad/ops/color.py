"""Operations on the values of pixels, in place where they are.

Enhancements take a strength s: the factor of the usual enhancement is 1 + s, so s = 0 leaves the image as it is.
In 8 bits brightness, color, contrast, grayscale and auto_contrast are torchvision's: see `augrad.ops.levels`.
Clamping to [0, 1] zeroes the gradients of saturated pixels only.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.ops import levels
from augrad.ops.clamped import clamp01
from augrad.ops.levels import LUMA
from augrad.ops.numeric import (
    in_own_dtype,
    per_image,
    straight_through,
    with_magnitude,
    with_surrogate,
)

_strength = partial(with_magnitude, least=-1.0)

SOLARIZE_WINDOW = 0.05
"""Half-width of the finite difference that stands in for the derivative of `solarize` with respect to its threshold."""


def luma(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
    """Grey value of each pixel; the image itself when C = 1."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


@in_own_dtype
def identity(images: Tensor, magnitude: Tensor) -> Tensor:
    """The images as they are; the magnitude is ignored."""
    return images


@_strength(on_levels=levels.brightness)
def brightness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply by 1 + `magnitude` [B], at least -1."""
    return clamp01(images * (1 + per_image(magnitude, images)))


@_strength(on_levels=levels.color)
def color(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the grey image by `magnitude` [B], from -1 (grey) on, times the distance. Leaves C = 1 alone."""
    if images.shape[1] == 1:
        return images
    strength = per_image(magnitude, images)
    return clamp01(images * (1 + strength) - strength * luma(images))


@_strength(on_levels=levels.contrast)
def contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the image's mean grey value by `magnitude` [B], from -1 (flat grey) on, times the distance."""
    mean, strength = luma(images).mean((1, 2, 3), keepdim=True), per_image(magnitude, images)
    return clamp01(images * (1 + strength) - strength * mean)


@with_magnitude()
def hue(images: Tensor, magnitude: Tensor) -> Tensor:
    """Turn the colours by `magnitude` [B] of the colour wheel (1: once around). Leaves C = 1 and grey pixels alone.

    In HSV, the hue moves while saturation and value stay: with hue h in [0, 6), k_c = (h + 6 * magnitude + n_c) mod 6
    and n = 5, 3, 1 for red, green and blue, channel c becomes max - (max - min) * clip(min(k_c, 4 - k_c), 0, 1).
    Piecewise smooth in both arguments. A grey pixel has no hue: its gradient is that of its grey value.
    """
    if images.shape[1] == 1:
        return images
    highest, lowest = images.amax(1), images.amin(1)
    spread = highest - lowest
    red, green, blue = images.unbind(1)
    divisor = torch.where(spread > 1e-20, spread, 1)  # its square, in the derivative, must not vanish
    position = torch.where(
        highest == red,
        (green - blue) / divisor,
        torch.where(highest == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    position = position + 6 * magnitude.to(images.dtype)[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        k = torch.remainder(position + offset, 6)
        channels.append(highest - spread * clamp01(torch.minimum(k, 4 - k)))
    return torch.stack(channels, 1)


@partial(in_own_dtype, on_levels=levels.grayscale)
def grayscale(images: Tensor, magnitude: Tensor) -> Tensor:
    """The grey value in every channel; the magnitude is ignored. Leaves C = 1 alone."""
    return images if images.shape[1] == 1 else clamp01(luma(images)).repeat(1, 3, 1, 1)


@in_own_dtype
def invert(images: Tensor, magnitude: Tensor) -> Tensor:
    """1 - x; the magnitude is ignored."""
    return clamp01(1 - images)


@partial(in_own_dtype, on_levels=levels.auto_contrast)
def auto_contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Stretch each channel of each image to the whole of [0, 1]; constant channels stay. The magnitude is ignored."""
    lowest, highest = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    spread = highest - lowest
    flat = spread == 0
    stretched = (images - lowest) / torch.where(flat, 1, spread)
    return torch.where(flat, images, clamp01(stretched))


def _equalized(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    # The integer arithmetic of PIL's ImageOps.equalize: counts below each level over a step, rounded.
    missing = images.isnan()
    levels = (images * 255).round().clamp(0, 255).masked_fill(missing, 0).to(torch.int64).flatten(2)
    histogram = levels.new_zeros((*levels.shape[:2], 256)).scatter_add_(2, levels, torch.ones_like(levels))
    last = histogram.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - last) // 255
    below = histogram.cumsum(2) - histogram
    curve = ((below + step // 2) // step.clamp(min=1)).clamp(max=255).to(images.dtype) / 255
    equalized = torch.where(step[..., None] == 0, images, curve.gather(2, levels).view_as(images))
    return equalized.masked_fill(missing.any(-1, keepdim=True).any(-2, keepdim=True), float("nan"))


@in_own_dtype
def equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Spread the values of each channel of each image evenly over [0, 1]; the magnitude is ignored.

    With n_v the number of pixels at the v-th of 256 levels, N of all pixels and m the highest level that occurs, level
    v becomes min(255, floor((n_0 + ... + n_{v-1} + floor(s / 2)) / s)), s = floor((N - n_m) / 255); a channel with
    s = 0 stays as it is. Values between two levels count as the nearest.
    Straight-through: the forward pass is a step function E of the values, and the image gradient is that of the
    identity, x + constant(E(x) - x).
    """
    return straight_through(_equalized(images.detach()), images)


def _solarized(images: Tensor, threshold: Tensor) -> Tensor:
    # At threshold 1 nothing is inverted, not even white: strength zero must be the identity.
    return torch.where((images >= threshold) & (threshold < 1), 1 - images, images)


def _solarize_slope(images: Tensor, magnitude: Tensor) -> Tensor:
    near = (images - per_image(magnitude, images)).abs() <= SOLARIZE_WINDOW
    return torch.where(near, (2 * images - 1) / (2 * SOLARIZE_WINDOW), 0.0)


@with_magnitude(least=0.0, most=1.0)
def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Invert the values that are at least `magnitude` [B], in 0..1; a threshold of 1 inverts nothing.

    Straight-through: the forward pass jumps where a value crosses the threshold t, so the derivative used for t is the
    finite difference of the forward pass itself, (f(t + h) - f(t - h)) / 2h with h = SOLARIZE_WINDOW: 2x - 1 over 2h
    for the values x within h of the threshold, 0 for the others. The image gradient is exact almost everywhere
    (+1, -1).
    """
    return with_surrogate(_solarized(images, per_image(magnitude, images)), _solarize_slope, images, magnitude)


@with_magnitude()
def solarize_add(images: Tensor, magnitude: Tensor) -> Tensor:
    """Add `magnitude` [B] to the values below 0.5."""
    return torch.where(images < 0.5, clamp01(images + per_image(magnitude, images)), images)


def _posterized(images: Tensor, bits: Tensor) -> Tensor:
    step = torch.exp2(8 - bits)
    # To the nearest level first: an 8-bit value divided by 255 may have been rounded to just below its integer, in half
    # precision by some hundredths.
    return torch.floor((images * 255).round() / step) * step / 255


def _bits(images: Tensor, magnitude: Tensor) -> Tensor:
    return per_image(magnitude.detach(), images).round().clamp(1, 8)


def _posterize_slope(images: Tensor, magnitude: Tensor) -> Tensor:
    bits, fixed = _bits(images, magnitude), images.detach()
    above, below = (bits + 1).clamp(max=8), (bits - 1).clamp(min=1)
    return (_posterized(fixed, above) - _posterized(fixed, below)) / (above - below)


@with_magnitude(least=1.0, most=8.0)
def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Keep the first `magnitude` [B] of 8 bits, in 1..8 (rounded to a whole number).

    Values between two of the 256 levels count as the nearest.
    Straight-through, for both gradients: the image gradient is 1; the derivative used for the magnitude is the slope
    of the forward pass over the neighbouring whole numbers of bits, (f(b + 1) - f(b - 1)) / 2 with b the rounded
    magnitude (one-sided at 1 and 8).
    """
    value = straight_through(_posterized(images.detach(), _bits(images, magnitude)), images)
    return with_surrogate(value, _posterize_slope, images, magnitude)
