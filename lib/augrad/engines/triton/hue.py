"""`augrad.ops.hue`, and its gradients."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.pixels import clamp01, read, write


@triton.jit
@no_type_check
def hue_position(red, green, blue):
    """Highest value, spread, a divisor that is not 0, the position on the wheel before and after its third's offset."""
    highest = tl.maximum(tl.maximum(red, green), blue)
    missing = (red != red) | (green != green) | (blue != blue)
    highest = tl.where(missing, float("nan"), highest)  # comparisons pass over it
    spread = highest - tl.minimum(tl.minimum(red, green), blue)
    divisor = tl.where(spread > 1e-20, spread, 1.0)
    is_red, is_green = highest == red, highest == green
    part = tl.where(is_red, green - blue, tl.where(is_green, blue - red, red - green)) / divisor
    return highest, spread, divisor, part, part + tl.where(is_red, 0.0, tl.where(is_green, 2.0, 4.0))


@triton.jit
@no_type_check
def hue_wheel(position, magnitude, offset: tl.constexpr):
    """Distance k along the wheel, in [0, 6), for the channel with this offset."""
    turned = position + 6 * magnitude + offset
    k = turned - 6 * tl.floor(turned / 6)
    return tl.where(k >= 6, 0.0, k)  # a tiny negative number rounds up to 6


@triton.jit
@no_type_check
def turn_hue(source, target, pixel, size, valid, m, broken, COMPUTE: tl.constexpr):
    """Pixels of three channels, turned by `m` of the wheel."""
    red, green = read(source + pixel, valid, COMPUTE), read(source + size + pixel, valid, COMPUTE)
    blue = read(source + 2 * size + pixel, valid, COMPUTE)
    highest, spread, _, _, position = hue_position(red, green, blue)
    for channel in tl.static_range(3):
        k = hue_wheel(position, m, 5 - 2 * channel)
        write(target + channel * size + pixel, highest - spread * clamp01(tl.minimum(k, 4 - k)) + broken, valid)


@triton.jit
@no_type_check
def hue_gradient(source, gradient, target, pixel, size, valid, m, broken, COMPUTE: tl.constexpr, IMAGES: tl.constexpr):
    """Writes the image's gradient; returns the magnitude's."""
    red, green = read(source + pixel, valid, COMPUTE), read(source + size + pixel, valid, COMPUTE)
    blue = read(source + 2 * size + pixel, valid, COMPUTE)
    highest, spread, divisor, part, position = hue_position(red, green, blue)
    lowest = tl.minimum(tl.minimum(red, green), blue)
    by_highest, by_spread, by_position = red * 0, red * 0, red * 0
    for channel in tl.static_range(3):
        own = read(gradient + channel * size + pixel, valid, COMPUTE)
        k = hue_wheel(position, m, 5 - 2 * channel)
        by_highest += own
        by_spread -= own * clamp01(tl.minimum(k, 4 - k))
        by_position -= own * spread * tl.where(k <= 1, 1.0, tl.where((k >= 3) & (k <= 4), -1.0, 0.0))
    by_spread -= tl.where(spread > 1e-20, by_position * part / divisor, 0.0)
    by_highest += by_spread
    # As many as share the highest or the lowest value share its gradient.
    is_red, is_green, is_blue = highest == red, highest == green, highest == blue
    low_red, low_green, low_blue = lowest == red, lowest == green, lowest == blue
    by_highest /= is_red.to(COMPUTE) + is_green.to(COMPUTE) + is_blue.to(COMPUTE)
    by_lowest = -by_spread / tl.maximum(low_red.to(COMPUTE) + low_green.to(COMPUTE) + low_blue.to(COMPUTE), 1.0)
    step = by_position / divisor
    of_red = tl.where(is_red, 0.0, tl.where(is_green, -step, step))
    of_green = tl.where(is_red, step, tl.where(is_green, 0.0, -step))
    of_blue = tl.where(is_red, -step, tl.where(is_green, step, 0.0))
    of_red += tl.where(is_red, by_highest, 0.0) + tl.where(low_red, by_lowest, 0.0)
    of_green += tl.where(is_green, by_highest, 0.0) + tl.where(low_green, by_lowest, 0.0)
    of_blue += tl.where(is_blue, by_highest, 0.0) + tl.where(low_blue, by_lowest, 0.0)
    broken += tl.where(highest == highest, 0.0, highest)
    of_red, of_green, of_blue = of_red + broken, of_green + broken, of_blue + broken
    if IMAGES:
        write(target + pixel, of_red, valid)
        write(target + size + pixel, of_green, valid)
        write(target + 2 * size + pixel, of_blue, valid)
    return 6 * by_position
