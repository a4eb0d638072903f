"""Operations on the colours of 8-bit images: tables of 256 levels, and sums of three."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.codes import EQUALIZE
from augrad.engines.numba.color import BLUE, COUNTS, GREEN, NEEDS_COLOR, RED, coefficients_of, equalizing_curve
from augrad.engines.numba.curves import shade_of
from augrad.engines.numba.values import clip, copy_plane

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
def by_histogram(image, result, code):
    """auto_contrast and equalize on uint8 [C, H, W]."""
    channels = len(image)
    table, whole = np.empty(256, np.uint8), np.empty(256, np.int64)
    for channel in range(channels):
        histogram = np.zeros(256, np.int64)
        _histogram(image[channel], histogram)
        if code == EQUALIZE:
            equalizing_curve(histogram, whole)
            for level in range(256):
                table[level] = whole[level]
        else:
            low, high = 0, 255
            while low < 255 and not histogram[low]:
                low += 1
            while high > 0 and not histogram[high]:
                high -= 1
            scale = np.float32(high - low) * np.float32(1 / 255)
            for level in range(256):
                table[level] = _whole(np.float32(level - low) / scale) if high > low else level
        _look_up(image[channel], result[channel], table)


@njit(nogil=True)
@no_type_check
def _look_up(plane, result, table):
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            result[row, column] = table[plane[row, column]]


@njit(nogil=True)
@no_type_check
def remap_levels(image, result, code, magnitude):
    """Curves, by their values on all 256 levels. image, result: uint8 [C, H, W]."""
    table, amount = np.empty(256, np.uint8), np.float32(magnitude)
    for level in range(256):
        table[level] = np.uint8(np.rint(shade_of(code, (np.float32(level) / PEAK, amount)) * PEAK))
    for channel in range(image.shape[0]):
        _look_up(image[channel], result[channel], table)


@njit(nogil=True)
@no_type_check
def recolor_levels(image, result, code, magnitude):
    """Affine maps of the colours of uint8 [C, H, W], as `augrad.ops.levels` says."""
    channels, height, width = image.shape
    if channels == 1 and NEEDS_COLOR[code]:
        copy_plane(image[0], result[0])
        return
    gain, grey, mean, offset = coefficients_of(code, (magnitude,))
    gain, grey, shift = np.float32(gain), np.float32(grey), np.float32(255 * offset)
    if COUNTS[code, 2]:
        shift += np.float32(_mean_grey(image)) * np.float32(mean)
    if not COUNTS[code, 1]:
        table = np.empty(256, np.uint8)
        for level in range(256):
            table[level] = _whole(np.float32(level) * gain + shift)
        for channel in range(channels):
            _look_up(image[channel], result[channel], table)
        return
    for row in range(height):
        for column in range(width):
            red = np.float32(image[0, row, column])
            if channels == 1:
                result[0, row, column] = _whole(red * gain + (red * grey + shift))
                continue
            green, blue = np.float32(image[1, row, column]), np.float32(image[2, row, column])
            share = _grey(red, green, blue) * grey + shift
            result[0, row, column] = _whole(red * gain + share)
            result[1, row, column] = _whole(green * gain + share)
            result[2, row, column] = _whole(blue * gain + share)
