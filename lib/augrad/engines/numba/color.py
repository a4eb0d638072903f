"""Operations on the values of one image in floating point, and their derivatives. Definition: `augrad.ops.color`."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.codes import (
    BRIGHTNESS,
    COLOR,
    CONTRAST,
    GRAYSCALE,
    INVERT,
    POSTERIZE,
    SOLARIZE,
    SOLARIZE_ADD,
)
from augrad.engines.numba.values import clip, copy_plane, passes, real
from augrad.ops.color import LUMA, SOLARIZE_WINDOW

RED, GREEN, BLUE = LUMA


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
        weight = 1.0 if channels == 1 else (RED if channel == 0 else GREEN if channel == 1 else BLUE)
        total += weight * part
    return total / (height * width)


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def enhance(image, result, code, magnitude):
    """brightness, contrast, color, grayscale."""
    channels, height, width = image.shape
    zero, one = real(image, 0), real(image, 1)
    amount = real(image, magnitude)
    gain = one + amount
    if code == BRIGHTNESS or code == CONTRAST:
        shift = -amount * real(image, mean_luma(image)) if code == CONTRAST else zero
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    result[channel, row, column] = clip(gain * image[channel, row, column] + shift, zero, one)
        return
    if channels == 1:  # no colours
        copy_plane(image[0], result[0])
        return
    red, green, blue = real(image, RED), real(image, GREEN), real(image, BLUE)
    if code == GRAYSCALE:
        for row in range(height):
            for column in range(width):
                grey = red * image[0, row, column] + green * image[1, row, column] + blue * image[2, row, column]
                result[0, row, column] = clip(grey, zero, one)
        copy_plane(result[0], result[1])
        copy_plane(result[0], result[2])
        return
    for row in range(height):
        for column in range(width):
            r, g, b = image[0, row, column], image[1, row, column], image[2, row, column]
            grey = -amount * (red * r + green * g + blue * b)
            result[0, row, column] = clip(gain * r + grey, zero, one)
            result[1, row, column] = clip(gain * g + grey, zero, one)
            result[2, row, column] = clip(gain * b + grey, zero, one)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def enhance_backward(image, gradient, result, code, magnitude):
    """As `warp_backward`."""
    channels, height, width = image.shape
    zero, one = real(image, 0), real(image, 1)
    amount, total = real(image, magnitude), 0.0
    if channels == 1 and (code == COLOR or code == GRAYSCALE):
        copy_plane(gradient[0], result[0])
        return 0.0
    if code == BRIGHTNESS or code == CONTRAST:
        mean = real(image, mean_luma(image)) if code == CONTRAST else zero
        passed = 0.0
        for channel in range(channels):
            for row in range(height):
                one_row, passed_row = zero, zero
                for column in range(width):
                    value = image[channel, row, column]
                    output = (one + amount) * value - amount * mean
                    coming = gradient[channel, row, column] if passes(output, zero, one) else zero
                    result[channel, row, column] = coming + amount * coming
                    one_row += coming * (value - mean)
                    passed_row += coming
                total += one_row
                passed += passed_row
        if code == CONTRAST:
            shift = -amount * passed / (height * width)
            for channel in range(channels):
                weight = 1.0 if channels == 1 else (RED if channel == 0 else GREEN if channel == 1 else BLUE)
                moved = real(image, shift * weight)
                for row in range(height):
                    for column in range(width):
                        result[channel, row, column] += moved
        return total
    red, green, blue = real(image, RED), real(image, GREEN), real(image, BLUE)
    gain, share = (zero, one) if code == GRAYSCALE else (one + amount, -amount)
    for row in range(height):
        one_row = zero
        for column in range(width):
            r, g, b = image[0, row, column], image[1, row, column], image[2, row, column]
            luma = red * r + green * g + blue * b
            grey = share * luma
            # Nothing is multiplied by 0 that may not be finite.
            new_r = gain * r + grey if code == COLOR else grey
            to_r = gradient[0, row, column] if passes(new_r, zero, one) else zero
            new_g = gain * g + grey if code == COLOR else grey
            to_g = gradient[1, row, column] if passes(new_g, zero, one) else zero
            new_b = gain * b + grey if code == COLOR else grey
            to_b = gradient[2, row, column] if passes(new_b, zero, one) else zero
            common = share * (to_r + to_g + to_b)
            result[0, row, column] = gain * to_r + red * common
            result[1, row, column] = gain * to_g + green * common
            result[2, row, column] = gain * to_b + blue * common
            one_row += to_r * (r - luma) + to_g * (g - luma) + to_b * (b - luma)
        total += one_row
    return 0.0 if code == GRAYSCALE else total


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


@njit(nogil=True, inline="always")
@no_type_check
def posterized(value, step, peak):
    """value: in [0, 1]; step: of the kept levels; peak: 255. All of one type."""
    return np.floor(np.rint(value * peak) / step) * step / peak


@njit(nogil=True)
@no_type_check
def bits_of(magnitude):
    return int(clip(np.rint(magnitude), 1, 8))


@njit(nogil=True)
@no_type_check
def step_of(bits):
    """The distance of the levels that are left with so many bits."""
    return 2.0 ** (8 - bits)


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def remap(image, result, code, magnitude):
    """invert, solarize, solarize_add, posterize: curves that need nothing but the value."""
    zero, one, half, peak = real(image, 0), real(image, 1), real(image, 0.5), real(image, 255)
    amount, step = real(image, magnitude), real(image, step_of(bits_of(magnitude)))
    inverts = amount < 1
    for channel in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                value = image[channel, row, column]
                if code == INVERT:
                    output = clip(one - value, zero, one)
                elif code == SOLARIZE:
                    output = one - value if (value >= amount) & inverts else value
                elif code == SOLARIZE_ADD:
                    output = clip(value + amount, zero, one) if value < half else value
                else:
                    output = posterized(value, step, peak)
                result[channel, row, column] = output


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def remap_backward(image, gradient, result, code, magnitude):
    """As `warp_backward`, with the surrogates of the operations."""
    zero, one, half, peak = real(image, 0), real(image, 1), real(image, 0.5), real(image, 255)
    amount, window, total = real(image, magnitude), real(image, SOLARIZE_WINDOW), 0.0
    inverts = amount < 1
    bits = bits_of(magnitude)
    more, fewer = min(bits + 1, 8), max(bits - 1, 1)
    finer, coarser = real(image, step_of(more)), real(image, step_of(fewer))
    slope = real(image, 1 / (more - fewer)) if code == POSTERIZE else one / (2 * window)
    for channel in range(image.shape[0]):
        for row in range(image.shape[1]):
            one_row = zero
            for column in range(image.shape[2]):
                value, coming = image[channel, row, column], gradient[channel, row, column]
                passed = coming
                if code == INVERT:
                    passed = -coming if passes(one - value, zero, one) else zero
                elif code == SOLARIZE:
                    passed = -coming if (value >= amount) & inverts else coming
                    near = abs(value - amount) <= window
                    one_row += coming * (2 * value - one) * slope if near else zero
                elif code == SOLARIZE_ADD:
                    moved = value + amount
                    passed = coming if passes(moved, zero, one) or not value < half else zero
                    one_row += passed if value < half else zero
                else:
                    one_row += coming * (posterized(value, finer, peak) - posterized(value, coarser, peak)) * slope
                result[channel, row, column] = passed
            total += one_row
    return total
