"""Operations on 8-bit images that act on each value alone: a table of 256 entries for each channel."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.ops.compiled.codes import (
    AUTO_CONTRAST,
    BRIGHTNESS,
    CONTRAST,
    EQUALIZE,
    INVERT,
    POSTERIZE,
    SOLARIZE,
    SOLARIZE_ADD,
)
from augrad.ops.compiled.color import BLUE, GREEN, RED, bits_of, equalizing_curve, posterized, step_of
from augrad.ops.compiled.values import clip

PEAK = np.float32(255)


@njit(nogil=True)
@no_type_check
def rounded_down(value):
    """As `augrad.ops.numeric.rounded_down`: what lies just below a whole number counts as it."""
    return np.uint8(np.floor(value * PEAK + np.float32(1e-3)))


@njit(nogil=True)
@no_type_check
def _histogram(plane, histogram):
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            histogram[plane[row, column]] += 1


@njit(nogil=True)
@no_type_check
def _mean_luma(histograms, pixels):
    channels, total = len(histograms), 0.0
    for channel in range(channels):
        part = 0
        for level in range(256):
            part += level * histograms[channel, level]
        weight = 1.0 if channels == 1 else (RED if channel == 0 else GREEN if channel == 1 else BLUE)
        total += weight * part
    return total / pixels / 255


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
    first, spread = low / PEAK, high / PEAK - low / PEAK
    for level in range(256):
        value = np.float32(level) / PEAK
        output = value
        if code == BRIGHTNESS:
            table[level] = rounded_down(clip(value * (one + amount), zero, one))
            continue
        if code == CONTRAST:
            table[level] = rounded_down(clip(value + amount * (value - np.float32(mean)), zero, one))
            continue
        if code == INVERT:
            output = one - value
        elif code == SOLARIZE:
            output = one - value if value >= amount and amount < one else value
        elif code == SOLARIZE_ADD:
            output = clip(value + amount, zero, one) if value < half else value
        elif code == POSTERIZE:
            output = posterized(value, step, PEAK)
        elif code == AUTO_CONTRAST and spread > 0:
            output = np.float32(clip((value - first) / spread, zero, one))
        table[level] = np.uint8(np.rint(output * PEAK))


@njit(nogil=True)
@no_type_check
def by_table(image, result, code, magnitude):
    """image, result: uint8 [C, H, W]."""
    channels, height, width = image.shape
    histograms = np.zeros((channels, 256), np.int64)
    if code == EQUALIZE or code == AUTO_CONTRAST or code == CONTRAST:
        for channel in range(channels):
            _histogram(image[channel], histograms[channel])
    mean = _mean_luma(histograms, height * width) if code == CONTRAST else 0.0
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
    zero, one = np.float32(0), np.float32(1)
    red, green, blue, amount = np.float32(RED), np.float32(GREEN), np.float32(BLUE), np.float32(magnitude)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            r, g, b = image[0, row, column] / PEAK, image[1, row, column] / PEAK, image[2, row, column] / PEAK
            grey = red * r + green * g + blue * b
            if grayscale:
                level = rounded_down(grey)
                result[0, row, column], result[1, row, column], result[2, row, column] = level, level, level
            else:
                result[0, row, column] = rounded_down(clip(r + amount * (r - grey), zero, one))
                result[1, row, column] = rounded_down(clip(g + amount * (g - grey), zero, one))
                result[2, row, column] = rounded_down(clip(b + amount * (b - grey), zero, one))
