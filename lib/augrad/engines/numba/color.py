"""Affine maps of the colours, auto_contrast and equalize, on one image in floating point, and their derivatives.

Definition: `augrad.ops.color`.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.codes import TABLE, TAKES
from augrad.engines.numba.small import by_code, compiled, of_shape, part_of
from augrad.engines.numba.values import clip, copy_plane, passes, real
from augrad.ops.color import LUMA
from augrad.ops.spec import STEP, AffineColor

RED, GREEN, BLUE = LUMA


@njit(nogil=True, inline="always")
@no_type_check
def _luma_weight(channel, channels):
    return 1.0 if channels == 1 else (RED if channel == 0 else GREEN if channel == 1 else BLUE)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def mean_luma(image):
    """The mean grey value."""
    channels, height, width = image.shape
    total = 0.0
    for channel in range(channels):
        part = 0.0
        for row in range(height):
            for column in range(width):
                part += image[channel, row, column]
        total += _luma_weight(channel, channels) * part
    return total / (height * width)


@njit
@no_type_check
def _identity(code, arguments):
    return 1.0, 0.0, 0.0, 0.0


@no_type_check
def _values(coefficients):
    @njit(nogil=True, inline="always")
    @no_type_check
    def numbers(arguments):
        (magnitude,) = arguments
        gain, grey, mean, offset = coefficients(magnitude)
        return float(gain), float(grey), float(mean), float(offset)

    return numbers


@no_type_check
def _slopes(coefficients):
    @njit(nogil=True, inline="always")
    @no_type_check
    def numbers(arguments):
        (magnitude,) = arguments
        gain, grey, mean, offset = coefficients(complex(magnitude, STEP))
        return part_of(gain), part_of(grey), part_of(mean), part_of(offset)

    return numbers


_coefficients = [(code, compiled(shape.coefficients)) for code, shape in of_shape(AffineColor)]
coefficients_of = by_code([(code, _values(part)) for code, part in _coefficients], _identity)
"""coefficients_of(code, (magnitude,)): (gain, grey, mean, offset), see `augrad.ops.spec.AffineColor`."""
_coefficient_slopes = by_code([(code, _slopes(part)) for code, part in _coefficients], _identity)
NEEDS_COLOR = np.array([isinstance(op.shape, AffineColor) and op.shape.needs_color for op in TABLE])
COUNTS = np.array([op.shape.counts if isinstance(op.shape, AffineColor) else (False,) * 4 for op in TABLE])
"""Which coefficients count, by the code of the operation. Nothing is multiplied by 0 that does not: it may be NaN."""


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def recolor(image, result, code, magnitude):
    """Affine maps of the colours."""
    channels, height, width = image.shape
    if channels == 1 and NEEDS_COLOR[code]:
        copy_plane(image[0], result[0])
        return
    zero, one = real(image, 0), real(image, 1)
    gain, grey, mean, offset = coefficients_of(code, (float(real(image, magnitude)),))
    gain, grey, shift = real(image, gain), real(image, grey), real(image, offset)
    by_value, by_grey, by_mean = COUNTS[code, 0], COUNTS[code, 1], COUNTS[code, 2]
    if by_mean:
        shift += real(image, mean) * real(image, mean_luma(image))
    if not by_grey:
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    result[channel, row, column] = clip(gain * image[channel, row, column] + shift, zero, one)
        return
    blue_at = channels - 1
    red, green, blue = (one, zero, zero) if channels == 1 else (real(image, RED), real(image, GREEN), real(image, BLUE))
    for row in range(height):
        for column in range(width):
            r, g, b = image[0, row, column], image[blue_at // 2, row, column], image[blue_at, row, column]
            share = grey * (red * r + green * g + blue * b) + shift
            result[0, row, column] = clip(gain * r + share if by_value else share, zero, one)
            if channels == 3:
                result[1, row, column] = clip(gain * g + share if by_value else share, zero, one)
                result[2, row, column] = clip(gain * b + share if by_value else share, zero, one)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def recolor_backward(image, gradient, result, code, magnitude):
    """As `warp_backward`."""
    channels, height, width = image.shape
    if channels == 1 and NEEDS_COLOR[code]:
        copy_plane(gradient[0], result[0])
        return 0.0
    zero, one = real(image, 0), real(image, 1)
    amount = float(real(image, magnitude))
    gain, grey, mean, offset = coefficients_of(code, (amount,))
    to_gain, to_grey, to_mean, to_offset = _coefficient_slopes(code, (amount,))
    gain, grey, shift, level = real(image, gain), real(image, grey), real(image, offset), zero
    whole, by_luma, by_level = COUNTS[code, 0], COUNTS[code, 1] and channels == 3, COUNTS[code, 2]
    if channels == 1:  # the grey value of a pixel is its value
        gain += grey
    if by_level:
        level = real(image, mean_luma(image))
        shift += real(image, mean) * level
    # Sums of the gradient that passes, of its products with the values, and with the grey values.
    total, by_value, by_grey = 0.0, 0.0, 0.0
    if not by_luma:
        for channel in range(channels):
            for row in range(height):
                one_row, passed_row = zero, zero
                for column in range(width):
                    value = image[channel, row, column]
                    coming = gradient[channel, row, column] if passes(gain * value + shift, zero, one) else zero
                    result[channel, row, column] = gain * coming
                    one_row += coming * value
                    passed_row += coming
                by_value += one_row
                total += passed_row
        by_grey = by_value if channels == 1 and COUNTS[code, 1] else 0.0
    else:
        red, green, blue = real(image, RED), real(image, GREEN), real(image, BLUE)
        for row in range(height):
            passed_row, value_row, grey_row = zero, zero, zero
            for column in range(width):
                r, g, b = image[0, row, column], image[1, row, column], image[2, row, column]
                luma = red * r + green * g + blue * b
                share = grey * luma + shift
                to_r = gradient[0, row, column] if passes(gain * r + share if whole else share, zero, one) else zero
                to_g = gradient[1, row, column] if passes(gain * g + share if whole else share, zero, one) else zero
                to_b = gradient[2, row, column] if passes(gain * b + share if whole else share, zero, one) else zero
                common = grey * (to_r + to_g + to_b)
                result[0, row, column] = gain * to_r + red * common
                result[1, row, column] = gain * to_g + green * common
                result[2, row, column] = gain * to_b + blue * common
                passed_row += to_r + to_g + to_b
                value_row += to_r * r + to_g * g + to_b * b
                grey_row += (to_r + to_g + to_b) * luma
            total += passed_row
            by_value += value_row
            by_grey += grey_row
    if by_level:
        moved_by = mean * total / (height * width)
        for channel in range(channels):
            moved = real(image, moved_by * _luma_weight(channel, channels))
            for row in range(height):
                for column in range(width):
                    result[channel, row, column] += moved
    if not TAKES[code]:
        return 0.0
    return to_gain * by_value + to_grey * by_grey + (to_mean * level + to_offset) * total


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def extremes(plane):
    """The lowest and the highest value of one channel, NaN where one is: of each column first, many at once."""
    height, width = plane.shape
    lows, highs, sums = np.empty(width, plane.dtype), np.empty(width, plane.dtype), np.empty(width, plane.dtype)
    for column in range(width):
        lows[column], highs[column], sums[column] = plane[0, column], plane[0, column], plane[0, column]
    for row in range(1, height):
        for column in range(width):
            value = plane[row, column]
            lows[column], highs[column] = min(lows[column], value), max(highs[column], value)
            sums[column] += value
    low, high, total = lows[0], highs[0], sums[0]
    for column in range(1, width):
        low, high = min(low, lows[column]), max(high, highs[column])
        total += sums[column]
    # A sum is NaN where one value is, or two are infinities whose difference is NaN: comparisons pass over them.
    return (total, total) if total != total else (low, high)


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def stretch(image, result):
    """auto_contrast."""
    zero, one = real(image, 0), real(image, 1)
    for channel in range(image.shape[0]):
        low, high = extremes(image[channel])
        spread = high - low
        if spread == 0:
            copy_plane(image[channel], result[channel])
            continue
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                result[channel, row, column] = clip((image[channel, row, column] - low) / spread, zero, one)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def stretch_backward(image, gradient, result):
    """As `warp_backward`; the lowest and the highest value share their gradient evenly among their pixels."""
    _, height, width = image.shape
    for channel in range(image.shape[0]):
        low, high = extremes(image[channel])
        spread = high - low
        if spread == 0:
            copy_plane(gradient[channel], result[channel])
            continue
        if spread != spread:
            for row in range(height):
                for column in range(width):
                    result[channel, row, column] = spread
            continue
        at_low, at_high, lows, highs = 0.0, 0.0, 0, 0
        one = real(image, 1)
        gain = one / spread
        for row in range(height):
            low_row, high_row = real(image, 0), real(image, 0)
            for column in range(width):
                value, coming = image[channel, row, column], gradient[channel, row, column]
                share = (value - low) * gain
                result[channel, row, column] = coming * gain
                low_row += coming * (share - one)
                high_row += coming * share
                lows += value == low
                highs += value == high
            at_low += low_row
            at_high -= high_row
        at_low, at_high = real(image, at_low / spread / lows), real(image, at_high / spread / highs)
        zero = (at_low + at_high) * real(image, 0)  # NaN where the range is infinite
        for row in range(height):
            for column in range(width):
                value = image[channel, row, column]
                moved = (at_low if value == low else zero) + (at_high if value == high else zero)
                result[channel, row, column] += moved


@njit(nogil=True)
@no_type_check
def equalizing_curve(histogram, curve):
    """What each of 256 levels becomes, as a whole number."""
    pixels, last = 0, 0
    for level in range(256):
        pixels += histogram[level]
        if histogram[level]:
            last = histogram[level]
    step = (pixels - last) // 255
    below = 0
    for level in range(256):
        curve[level] = level if step == 0 else min((below + step // 2) // step, 255)
        below += histogram[level]
    return step > 0


@njit(nogil=True)
@no_type_check
def equalize(image, result):
    """Values between two levels count as the nearest."""
    channels, height, width = image.shape
    whole, curve, levels = np.empty(256, np.int64), np.empty(256, image.dtype), np.empty((height, width), np.uint8)
    zero, peak = real(image, 0), real(image, 255)
    for channel in range(channels):
        histogram = np.zeros(256, np.int64)
        missing = False
        for row in range(height):
            for column in range(width):
                value = image[channel, row, column]
                missing |= value != value
                levels[row, column] = np.int32(clip(np.rint(value * peak), zero, peak)) if value == value else 0
        if missing:
            for row in range(height):
                for column in range(width):
                    result[channel, row, column] = real(image, np.nan)
            continue
        for row in range(height):
            for column in range(width):
                histogram[levels[row, column]] += 1
        if not equalizing_curve(histogram, whole):
            copy_plane(image[channel], result[channel])
            continue
        for level in range(256):
            curve[level] = real(image, whole[level]) / peak
        for row in range(height):
            for column in range(width):
                result[channel, row, column] = curve[levels[row, column]]
