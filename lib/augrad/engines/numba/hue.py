"""hue on one image, and its derivative. Definition: `augrad.ops.color.hue`.

The order of every operation is the definition's and no two are contracted: whether a value lies on a kink is decided
by the last bit.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.values import clip, passes, real, shade, shaded


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def _on_the_wheel(image, r, g, b, turn):
    """(highest value, spread, divisor, numerator of the hue, position on the wheel)."""
    one, two, four = real(image, 1), real(image, 2), real(image, 4)
    highest = max(max(r, g), b)
    total = r + g + b
    if total != total:
        highest = total  # NaN: comparisons pass over it
    spread = highest - min(min(r, g), b)
    divisor = spread if spread > real(image, 1e-20) else one
    numerator = g - b if highest == r else (b - r if highest == g else r - g)
    origin = real(image, 0) if highest == r else (two if highest == g else four)
    return highest, spread, divisor, numerator, origin + numerator / divisor + turn


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def _share(image, position, offset):
    """How much of the spread a channel is below the highest value, and the derivative of that by the position."""
    zero, one, six = real(image, 0), real(image, 1), real(image, 6)
    k = position + real(image, offset)
    k = k - six * np.floor(k / six)
    rest = real(image, 4) - k
    least = min(k, rest)
    slope = (one if k < rest else -one) if passes(least, zero, one) else zero
    return clip(least, zero, one), slope


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def turn_hue(image, result, magnitude):
    """image, result: floating point or uint8 [C, H, W]."""
    channels, height, width = image.shape
    turn = real(image, 6) * real(image, magnitude)
    for row in range(height):
        if channels == 1:
            for column in range(width):
                result[0, row, column] = image[0, row, column]
            continue
        for column in range(width):
            r, g = shade(image, image[0, row, column]), shade(image, image[1, row, column])
            b = shade(image, image[2, row, column])
            highest, spread, _, _, position = _on_the_wheel(image, r, g, b, turn)
            result[0, row, column] = shaded(result, highest - spread * _share(image, position, 5)[0])
            result[1, row, column] = shaded(result, highest - spread * _share(image, position, 3)[0])
            result[2, row, column] = shaded(result, highest - spread * _share(image, position, 1)[0])


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def _sum(numbers):
    total = numbers[0]
    for place in range(1, len(numbers)):
        total += numbers[place]
    return total


@njit(nogil=True, fastmath={"nsz"}, error_model="numpy")  # a test for division by 0 keeps it from taking many at once
@no_type_check
def turn_hue_backward(image, gradient, result, magnitude):
    """As `warp_backward`; equal channels share the gradient of the highest and of the lowest value evenly."""
    channels, height, width = image.shape
    if channels == 1:
        for row in range(height):
            for column in range(width):
                result[0, row, column] = gradient[0, row, column]
        return 0.0
    zero, one, turn, total = real(image, 0), real(image, 1), real(image, 6) * real(image, magnitude), 0.0
    to_positions = np.empty(width, image.dtype)
    for row in range(height):
        reds, greens, blues = image[0, row], image[1, row], image[2, row]
        to_reds, to_greens, to_blues = gradient[0, row], gradient[1, row], gradient[2, row]
        new_reds, new_greens, new_blues = result[0, row], result[1, row], result[2, row]
        for column in range(width):
            r, g, b = reds[column], greens[column], blues[column]
            to_r, to_g, to_b = to_reds[column], to_greens[column], to_blues[column]
            highest, spread, divisor, numerator, position = _on_the_wheel(image, r, g, b, turn)
            share_r, slope_r = _share(image, position, 5)
            share_g, slope_g = _share(image, position, 3)
            share_b, slope_b = _share(image, position, 1)
            to_position = -spread * (to_r * slope_r + to_g * slope_g + to_b * slope_b)
            to_numerator = to_position / divisor
            through_divisor = to_numerator * (numerator / divisor)
            to_spread = -(to_r * share_r + to_g * share_g + to_b * share_b)
            to_spread -= through_divisor if spread > real(image, 1e-20) else zero
            lowest = min(min(r, g), b)
            # Which are the highest and the lowest, and which one the position is counted from, as 0 or 1.
            r_high, g_high, b_high = real(image, r == highest), real(image, g == highest), real(image, b == highest)
            r_low, g_low, b_low = real(image, r == lowest), real(image, g == lowest), real(image, b == lowest)
            green, blue = (one - r_high) * g_high, (one - r_high) * (one - g_high)
            to_highest = (to_r + to_g + to_b + to_spread) / (r_high + g_high + b_high)
            to_lowest = -to_spread / (r_low + g_low + b_low)
            new_reds[column] = r_high * to_highest + r_low * to_lowest + (blue - green) * to_numerator
            new_greens[column] = g_high * to_highest + g_low * to_lowest + (r_high - blue) * to_numerator
            new_blues[column] = b_high * to_highest + b_low * to_lowest + (green - r_high) * to_numerator
            to_positions[column] = to_position
        total += _sum(to_positions)
    return 6 * total
