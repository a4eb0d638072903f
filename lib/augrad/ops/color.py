"""Operations on the values of pixels, in place where they are.

Enhancements take a strength s: the factor of the usual enhancement is 1 + s, so s = 0 leaves the image as it is.
In 8 bits brightness, contrast, grayscale and auto_contrast are torchvision's, and color is within one level of it: see
`augrad.ops.levels`.
Clamping to [0, 1] zeroes the gradients of saturated pixels only.
"""

from collections.abc import Callable
from functools import partial
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.ops import levels
from augrad.ops.clamped import clamp01
from augrad.ops.levels import LUMA, Coefficient
from augrad.ops.numeric import in_own_dtype, per_image, straight_through, with_magnitude, with_surrogate
from augrad.ops.spec import AffineColor, Curve, Op

SOLARIZE_WINDOW = 0.05
"""Half-width of the finite difference that stands in for the derivative of `solarize` with respect to its threshold."""

TOE = 2.0**-9
"""Half a level of 8 bits. Below it `gamma` is a straight line, whose slope is finite at 0."""


@no_type_check
def _brighter(strength):
    return 1 + strength, 0.0, 0.0, 0.0


@no_type_check
def _more_colorful(strength):
    return 1 + strength, -strength, 0.0, 0.0


@no_type_check
def _more_contrast(strength):
    return 1 + strength, 0.0, -strength, 0.0


@no_type_check
def _grey(ignored):
    return 0.0, 1.0, 0.0, 0.0


@no_type_check
def _negative(ignored):
    return -1.0, 0.0, 0.0, 1.0


@no_type_check
def _solarized(value, threshold):
    # At threshold 1 nothing is inverted, not even white: strength zero must be the identity.
    return torch.where(torch.ge(value, threshold) & torch.lt(threshold, 1), 1 - value, value)


@no_type_check
def _solarized_slope(value, threshold):
    above = value - threshold
    near = torch.le(above, SOLARIZE_WINDOW) & torch.ge(above, -SOLARIZE_WINDOW)
    return torch.where(near, (2 * value - 1) / (2 * SOLARIZE_WINDOW), 0.0)


@no_type_check
def _added(value, addend):
    return torch.where(torch.lt(value, 0.5), clamp01(value + addend), value)


@no_type_check
def _with_bits(value, bits):
    step = torch.exp2(8 - bits)
    # To the nearest level first: an 8-bit value divided by 255 may have been rounded to just below its integer, in half
    # precision by some hundredths.
    return torch.floor(torch.round(value * 255) / step) * step / 255


@no_type_check
def _posterized(value, bits):
    return _with_bits(value, torch.clamp(torch.round(bits), min=1, max=8))


@no_type_check
def _posterized_slope(value, bits):
    whole = torch.clamp(torch.round(bits), min=1, max=8)
    above, below = torch.clamp(whole + 1, max=8), torch.clamp(whole - 1, min=1)
    return (_with_bits(value, above) - _with_bits(value, below)) / (above - below)


@no_type_check
def _gamma(value, strength):
    return value * torch.exp((torch.exp(strength) - 1) * torch.log(torch.clamp(value, min=TOE, max=2)))


BRIGHTNESS, COLOR, CONTRAST = AffineColor(_brighter), AffineColor(_more_colorful, True), AffineColor(_more_contrast)
GRAYSCALE, INVERT = AffineColor(_grey, True), AffineColor(_negative)
SOLARIZE, SOLARIZE_ADD = Curve(_solarized, _solarized_slope), Curve(_added)
POSTERIZE, GAMMA = Curve(_posterized, _posterized_slope, straight_through=True), Curve(_gamma)


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


def _recolored(images: Tensor, magnitude: Tensor, shape: AffineColor) -> Tensor:
    if shape.needs_color and images.shape[1] == 1:
        return images
    gain, grey, mean, offset = shape.coefficients(per_image(magnitude, images))
    by_value, by_grey, by_mean, _ = shape.counts
    terms: list[Coefficient] = [images * gain] if by_value else []
    terms += [grey * luma(images)] if by_grey else []
    terms += [mean * luma(images).mean((1, 2, 3), keepdim=True)] if by_mean else []
    return clamp01(sum(terms, offset)).expand(images.shape)  # type: ignore[arg-type]


def _on_levels(levels_of_images: Tensor, magnitude: Tensor, shape: AffineColor) -> Tensor:
    if shape.needs_color and levels_of_images.shape[1] == 1:
        return levels_of_images
    return levels.affine(levels_of_images, *shape.coefficients(magnitude.to(torch.float64)))


def _curved(images: Tensor, magnitude: Tensor, shape: Curve) -> Tensor:
    fixed = images.detach() if shape.straight_through else images
    value = shape.value(fixed, per_image(magnitude, images))
    if shape.straight_through:
        value = straight_through(value.detach(), images)
    return value if shape.slope is None else with_surrogate(value, partial(_slope_of, shape), images, magnitude)


def _slope_of(shape: Curve, images: Tensor, magnitude: Tensor) -> Tensor:
    return shape.slope(images, per_image(magnitude, images))  # type: ignore[misc]


def _recoloring(shape: AffineColor, **meaning: float) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """`with_magnitude` for an operation of this shape: 8 bits have arithmetic of their own (`augrad.ops.levels`)."""
    return with_magnitude(on_levels=partial(_on_levels, shape=shape), **meaning)


@_recoloring(BRIGHTNESS, least=-1.0)
def brightness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply by 1 + `magnitude` [B], at least -1."""
    return _recolored(images, magnitude, BRIGHTNESS)


@_recoloring(COLOR, least=-1.0)
def color(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the grey image by `magnitude` [B], from -1 (grey) on, times the distance. Leaves C = 1 alone."""
    return _recolored(images, magnitude, COLOR)


@_recoloring(CONTRAST, least=-1.0)
def contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the image's mean grey value by `magnitude` [B], from -1 (flat grey) on, times the distance."""
    return _recolored(images, magnitude, CONTRAST)


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


@partial(in_own_dtype, on_levels=partial(_on_levels, shape=GRAYSCALE))
def grayscale(images: Tensor, magnitude: Tensor) -> Tensor:
    """The grey value in every channel; the magnitude is ignored. Leaves C = 1 alone."""
    return _recolored(images, magnitude, GRAYSCALE)


@in_own_dtype
def invert(images: Tensor, magnitude: Tensor) -> Tensor:
    """1 - x; the magnitude is ignored."""
    return _recolored(images, magnitude, INVERT)


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


@with_magnitude(least=0.0, most=1.0)
def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Invert the values that are at least `magnitude` [B], in 0..1; a threshold of 1 inverts nothing.

    Straight-through: the forward pass jumps where a value crosses the threshold t, so the derivative used for t is the
    finite difference of the forward pass itself, (f(t + h) - f(t - h)) / 2h with h = SOLARIZE_WINDOW: 2x - 1 over 2h
    for the values x within h of the threshold, 0 for the others. The image gradient is exact almost everywhere
    (+1, -1).
    """
    return _curved(images, magnitude, SOLARIZE)


@with_magnitude()
def solarize_add(images: Tensor, magnitude: Tensor) -> Tensor:
    """Add `magnitude` [B] to the values below 0.5."""
    return _curved(images, magnitude, SOLARIZE_ADD)


@with_magnitude(least=1.0, most=8.0)
def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Keep the first `magnitude` [B] of 8 bits, in 1..8 (rounded to a whole number).

    Values between two of the 256 levels count as the nearest.
    Straight-through, for both gradients: the image gradient is 1; the derivative used for the magnitude is the slope
    of the forward pass over the neighbouring whole numbers of bits, (f(b + 1) - f(b - 1)) / 2 with b the rounded
    magnitude (one-sided at 1 and 8).
    """
    return _curved(images, magnitude, POSTERIZE)


@with_magnitude(least=-10.0, most=10.0)
def gamma(images: Tensor, magnitude: Tensor) -> Tensor:
    """x to the power of exp(`magnitude`) [B]: above 0 darker, below brighter; black and white stay.

    Below TOE, half a level of 8 bits, the curve is the straight line to 0, so that its slope is finite there, and above
    2, far outside, a straight line, too. Both gradients are exact.
    """
    return _curved(images, magnitude, GAMMA)


_enhancing = partial(Op, low=0.0, unit="strength", signed=True, magnitude_grad="exact")

OPS = (
    _enhancing("brightness", brightness, high=0.9, shape=BRIGHTNESS),
    _enhancing("color", color, high=0.9, shape=COLOR),
    _enhancing("contrast", contrast, high=0.9, shape=CONTRAST),
    Op("hue", hue, 0.0, 0.5, "fraction", True, "exact"),
    Op("grayscale", grayscale, shape=GRAYSCALE),
    Op("invert", invert, shape=INVERT),
    Op("auto_contrast", auto_contrast),
    Op("equalize", equalize),
    Op("solarize", solarize, 1.0, 0.0, "threshold", False, "straight_through", shape=SOLARIZE),
    Op("solarize_add", solarize_add, 0.0, 0.43, "addend", False, "exact", shape=SOLARIZE_ADD),
    Op("posterize", posterize, 8.0, 4.0, "bits", False, "straight_through", shape=POSTERIZE),
    _enhancing("gamma", gamma, high=0.7, shape=GAMMA),
)
"""The rows of these operations in the table of all (`augrad.ops`)."""
