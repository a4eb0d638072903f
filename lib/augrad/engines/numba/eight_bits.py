"""Operations on 8-bit images that act on each value alone: a table of 256 entries for each channel."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.codes import (
    AUTO_CONTRAST,
    BRIGHTNESS,
    CONTRAST,
    EQUALIZE,
    INVERT,
    POSTERIZE,
    SOLARIZE,
    SOLARIZE_ADD,
)
from augrad.engines.numba.color import BLUE, GREEN, RED, bits_of, equalizing_curve, posterized, step_of
from augrad.engines.numba.values import clip

PEAK = np.float32(255)


@njit(nogil=True)
@no_type_check
def _whole(level):
    """The level, rounded down."""
    return np.uint8(clip(level, np.float32(0), PEAK))


@njit(nogil=True, inline="always")
@no_type_check
def _grey(red, green, blue):
    """The grey level of a pixel, given and returned as float32, without a branch. Definition: `augrad.ops.levels`."""
    grey = np.float32(np.int32(np.float32(RED) * red + np.float32(GREEN) * green + np.float32(BLUE) * blue))
    return red if (red == green) & (green == blue) else grey


@njit(nogil=True)
@no_type_check
def _histogram(plane, histogram):
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            histogram[plane[row, column]] += 1


@njit(nogil=True)
@no_type_check
def _mean_grey(image):
    channels, height, width = image.shape
    total = 0  # of whole levels: exact, in any order
    for row in range(height):
        for column in range(width):
            level = image[0, row, column]
            if channels == 3:
                red, green = np.float32(level), np.float32(image[1, row, column])
                total += np.int64(_grey(red, green, np.float32(image[2, row, column])))
            else:
                total += level
    return total / (height * width)


@njit(nogil=True)
@no_type_check
def _curve(table, code, magnitude, histogram, mean):
    """Fill `table` [256], uint8."""
    zero, one, half, amount = np.float32(0), np.float32(1), np.float32(0.5), np.float32(magnitude)
    if code == EQUALIZE:
        whole = np.empty(256, np.int64)
        equalizing_curve(histogram, whole)
        for level in range(256):
            table[level] = whole[level]
        return
    step = np.float32(step_of(bits_of(magnitude)))
    low, high = 0, 255
    if code == AUTO_CONTRAST:
        while low < 255 and not histogram[low]:
            low += 1
        while high > 0 and not histogram[high]:
            high -= 1
    factor, rest = np.float32(1 + magnitude), np.float32(-magnitude)
    for level in range(256):
        value = np.float32(level) / PEAK
        output = value
        if code == BRIGHTNESS:
            table[level] = _whole(np.float32(level) * factor)
            continue
        if code == CONTRAST:
            table[level] = _whole(np.float32(level) * factor + np.float32(mean) * rest)
            continue
        if code == INVERT:
            output = one - value
        elif code == SOLARIZE:
            output = one - value if value >= amount and amount < one else value
        elif code == SOLARIZE_ADD:
            output = clip(value + amount, zero, one) if value < half else value
        elif code == POSTERIZE:
            output = posterized(value, step, PEAK)
        elif code == AUTO_CONTRAST and high > low:
            table[level] = _whole(np.float32(level - low) / (np.float32(high - low) * np.float32(1 / 255)))
            continue
        table[level] = np.uint8(np.rint(output * PEAK))


@njit(nogil=True)
@no_type_check
def by_table(image, result, code, magnitude):
    """image, result: uint8 [C, H, W]."""
    channels, height, width = image.shape
    histograms = np.zeros((channels, 256), np.int64)
    if code == EQUALIZE or code == AUTO_CONTRAST:
        for channel in range(channels):
            _histogram(image[channel], histograms[channel])
    mean = _mean_grey(image) if code == CONTRAST else 0.0
    table = np.empty(256, np.uint8)
    for channel in range(channels):
        _curve(table, code, magnitude, histograms[channel], mean)
        for row in range(height):
            for column in range(width):
                result[channel, row, column] = table[image[channel, row, column]]


@njit(nogil=True)
@no_type_check
def recolor(image, result, magnitude, grayscale):
    """color and grayscale on uint8 [3, H, W]."""
    _, height, width = image.shape
    factor, rest = (0.0, 1.0) if grayscale else (1 + magnitude, -magnitude)
    factor, rest = np.float32(factor), np.float32(rest)
    for row in range(height):
        for column in range(width):
            red, green = np.float32(image[0, row, column]), np.float32(image[1, row, column])
            blue = np.float32(image[2, row, column])
            share = _grey(red, green, blue) * rest
            result[0, row, column] = _whole(red * factor + share)
            result[1, row, column] = _whole(green * factor + share)
            result[2, row, column] = _whole(blue * factor + share)
