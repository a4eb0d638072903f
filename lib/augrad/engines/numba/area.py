"""sharpness and cutout on one image, and their derivatives. Definition: `augrad.ops.filters`, `augrad.ops.erase`."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.values import clip, copy_plane, passes, real, stored


@njit(nogil=True, inline="always")
@no_type_check
def _box(plane, row, column):
    total = plane[row - 1, column - 1] + plane[row - 1, column] + plane[row - 1, column + 1]
    total = total + plane[row, column - 1] + plane[row, column] + plane[row, column + 1]
    return total + plane[row + 1, column - 1] + plane[row + 1, column] + plane[row + 1, column + 1]


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def _detail(plane, row, column, nine, thirteenth):
    """How far a pixel is from its smoothed value; in this order, as infinity less infinity is not a number."""
    return (nine * plane[row, column] - _box(plane, row, column)) * thirteenth


@njit(nogil=True)
@no_type_check
def _clip_border(plane, out, peak):
    height, width = plane.shape
    zero = real(plane, 0)
    for row in (0, height - 1):
        for column in range(width):
            out[row, column] = stored(out, clip(real(plane, plane[row, column]), zero, peak))
    for column in (0, width - 1):
        for row in range(1, height - 1):
            out[row, column] = stored(out, clip(real(plane, plane[row, column]), zero, peak))


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def sharpen(image, result, magnitude, peak):
    """peak: the value of white."""
    channels, height, width = image.shape
    zero, top, amount = real(image, 0), real(image, peak), real(image, magnitude)
    four, nine, thirteenth = real(image, 4), real(image, 9), real(image, 1 / 13)
    for channel in range(channels):
        plane, out = image[channel], result[channel]
        if min(height, width) < 3:
            copy_plane(plane, out)
        else:
            _clip_border(plane, out, top)
        for row in range(1, height - 1):
            for column in range(1, width - 1):
                value = real(image, plane[row, column])
                total = real(image, _box(plane, row, column))
                if peak == 1:
                    sharp = clip(value + amount * ((nine * value - total) * thirteenth), zero, top)
                else:  # 8 bits: as `augrad.ops.levels`
                    smooth = np.rint((total + four * value) * thirteenth)
                    sharp = np.floor(clip(value + amount * (value - smooth), zero, top))
                out[row, column] = stored(out, sharp)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def sharpen_backward(image, gradient, result, magnitude):
    """As `warp_backward`."""
    channels, height, width = image.shape
    zero, one, amount = real(image, 0), real(image, 1), real(image, magnitude)
    nine, thirteenth, total = real(image, 9), real(image, 1 / 13), 0.0
    spread = np.zeros((height + 2, width + 2), result.dtype)  # what reaches each pixel's neighbours, with a border
    for channel in range(channels):
        plane, coming, out = image[channel], gradient[channel], result[channel]
        if min(height, width) < 3:
            copy_plane(coming, out)
            continue
        for row in range(height):
            for column in range(0, width, 1 if row == 0 or row == height - 1 else width - 1):
                out[row, column] = coming[row, column] if passes(plane[row, column], zero, one) else zero
        for row in range(1, height - 1):
            one_row = zero
            for column in range(1, width - 1):
                detail = _detail(plane, row, column, nine, thirteenth)
                output = plane[row, column] + amount * detail
                passed = coming[row, column] if passes(output, zero, one) else zero
                one_row += passed * detail
                out[row, column] = passed
                spread[row + 1, column + 1] = amount * passed * thirteenth
            total += one_row
        for row in range(height):
            for column in range(width):
                out[row, column] += nine * spread[row + 1, column + 1] - _box(spread, row + 1, column + 1)
    return total


@njit(nogil=True)
@no_type_check
def cut(image, result, magnitude, centre_y, centre_x, fill):
    """centre: fractions of height and width. fill: among the image's own values."""
    channels, height, width = image.shape
    half = real(image, real(image, magnitude) * (min(height, width) / 2))
    middle_y, middle_x = real(image, centre_y) * height, real(image, centre_x) * width
    for channel in range(channels):
        for row in range(height):
            hit = abs(real(image, row + 0.5) - middle_y) < half
            for column in range(width):
                if hit and abs(real(image, column + 0.5) - middle_x) < half:
                    result[channel, row, column] = stored(result, real(image, fill))
                else:
                    result[channel, row, column] = image[channel, row, column]


@njit(nogil=True)
@no_type_check
def _edge(distance):
    """clip(distance + 1/2, 0, 1) and its derivative, 1/2 at the kinks."""
    value = distance + 0.5
    if value < 0 or value > 1:
        return clip(value, 0.0, 1.0), 0.0
    return value, (0.5 if value == 0 or value == 1 else 1.0)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def cut_backward(image, gradient, result, magnitude, centre_y, centre_x, fill):
    """As `warp_backward`, with the soft edge of `cutout`."""
    channels, height, width = image.shape
    half = real(image, real(image, magnitude) * (min(height, width) / 2))
    middle_y, middle_x = real(image, centre_y) * height, real(image, centre_x) * width
    zero, filled, total = real(image, 0), real(image, fill), 0.0
    soft, slope, outside = np.empty(width, image.dtype), np.empty(width, image.dtype), np.empty(width, image.dtype)
    for column in range(width):
        off = abs(real(image, column + 0.5) - middle_x)
        soft[column], slope[column] = _edge(half - off)
        outside[column] = 0 if off < half else 1
    for row in range(height):
        off = abs(real(image, row + 0.5) - middle_y)
        one_soft, one_slope = _edge(half - off)
        soft_y, slope_y = real(image, one_soft), real(image, one_slope)
        inside = off < half
        for channel in range(channels):
            one_row = zero
            for column in range(width):
                coming = gradient[channel, row, column]
                result[channel, row, column] = coming * outside[column] if inside else coming
                rise = slope_y * soft[column] + soft_y * slope[column]
                one_row += coming * (filled - image[channel, row, column]) * rise
            total += one_row
    return total * min(height, width) / 2
