"""gaussian_blur on one image, and its derivative. Definition: `augrad.ops.filters.gaussian_blur`.

Along each axis an image is made longer by its reflections, and then convolved. Backward, the convolution is its own
transpose, over a gradient with a border of zeros, and what comes to a reflection is added to what is reflected.
"""

import math
from typing import no_type_check

from numba import njit, uintp

from augrad.engines.numba.values import clear, copy_plane, room, stored
from augrad.ops.filters import BLUR_RADIUS

NARROWEST = 0.025  # as in the definition: from there down the neighbours' weight is 0


@njit(nogil=True)
@no_type_check
def _fill_kernel(magnitude, weights, slopes):
    """Weights at the distances 0 .. BLUR_RADIUS, and their derivatives by the magnitude."""
    sigma = max(magnitude, NARROWEST)
    size, size_slope = 0.0, 0.0
    for part in range(2):  # first the sum, then the quotients
        for distance in range(BLUR_RADIUS + 1):
            weight = math.exp(-0.5 * (distance / sigma) * (distance / sigma))
            slope = weight * distance * distance / (sigma * sigma * sigma)
            if part == 0:
                size += weight if distance == 0 else 2 * weight
                size_slope += 2 * slope
            else:
                weights[distance] = weight / size
                slopes[distance] = (slope - weight / size * size_slope) / size


@njit(nogil=True)
@no_type_check
def _reflected(position, count):
    """`position`, any whole number, reflected at the centres of the outermost of `count` pixels."""
    period = max(2 * (count - 1), 1)
    position %= period
    return min(min(position, period - position), count - 1)


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def _convolve(long, result, weights, step):
    """result: 2 BLUR_RADIUS pixels less along the axis on which pixels are `step` numbers apart."""
    rows, columns = result.shape
    numbers, pitch, middle = long.reshape(long.size), long.shape[1], BLUR_RADIUS * step
    for row in range(rows):
        start = uintp(row * pitch + middle)
        for column in range(uintp(columns)):
            at = start + column
            value = weights[0] * numbers[at]
            for distance in range(1, BLUR_RADIUS + 1):
                apart = uintp(distance * step)
                value += weights[distance] * (numbers[at - apart] + numbers[at + apart])
            result[row, column] = stored(result, value)


@njit(nogil=True)
@no_type_check
def _lengthen(plane, wide):
    """Each row of `plane`, with its reflections."""
    height, width = plane.shape
    for row in range(height):
        for column in range(width):
            wide[row, column + BLUR_RADIUS] = plane[row, column]
        for place in range(BLUR_RADIUS):
            wide[row, place] = plane[row, _reflected(place - BLUR_RADIUS, width)]
            wide[row, width + BLUR_RADIUS + place] = plane[row, _reflected(width + place, width)]


@njit(nogil=True)
@no_type_check
def _blur_rows(plane, wide, tall, weights):
    """Rows BLUR_RADIUS .. of `tall`: those of `plane`, blurred; the others: their reflections. wide: for numbers."""
    height, width = plane.shape
    _lengthen(plane, wide)
    _convolve(wide, tall[BLUR_RADIUS : BLUR_RADIUS + height], weights, 1)
    for place in range(BLUR_RADIUS):
        above, below = _reflected(place - BLUR_RADIUS, height), _reflected(height + place, height)
        for column in range(width):
            tall[place, column] = tall[BLUR_RADIUS + above, column]
            tall[height + BLUR_RADIUS + place, column] = tall[BLUR_RADIUS + below, column]


@njit(nogil=True)
@no_type_check
def blur(image, result, magnitude):
    """image, result: floating point or uint8 [C, H, W]."""
    channels, height, width = image.shape
    kernels = room(image, 2, BLUR_RADIUS + 1)
    _fill_kernel(magnitude, kernels[0], kernels[1])
    wide, tall = room(image, height, width + 2 * BLUR_RADIUS), room(image, height + 2 * BLUR_RADIUS, width)
    for channel in range(channels):
        _blur_rows(image[channel], wide, tall, kernels[0])
        _convolve(tall, result[channel], kernels[0], width)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def _product(one, other):
    """Sum of the products of numbers in the same place."""
    total = 0.0
    for row in range(one.shape[0]):
        part = one[row, 0] * other[row, 0]
        for column in range(1, one.shape[1]):
            part += one[row, column] * other[row, column]
        total += part
    return total


@njit(nogil=True)
@no_type_check
def blur_backward(image, gradient, result, magnitude):
    """As `warp_backward`."""
    channels, height, width = image.shape
    reach, total = BLUR_RADIUS, 0.0
    kernels = room(image, 2, reach + 1)
    _fill_kernel(magnitude, kernels[0], kernels[1])
    wide, tall, moved = (
        room(image, height, width + 2 * reach),
        room(image, height + 2 * reach, width),
        room(image, height, width),
    )
    tall_border, wide_border = room(image, height + 4 * reach, width), room(image, height, width + 4 * reach)
    clear(tall_border)
    clear(wide_border)
    for channel in range(channels):
        coming, out = gradient[channel], result[channel]
        if magnitude > NARROWEST:
            _blur_rows(image[channel], wide, tall, kernels[0])
            _convolve(tall, moved, kernels[1], width)
            total += _product(coming, moved)
            _convolve(wide, moved, kernels[1], 1)
        copy_plane(coming, tall_border[2 * reach : 2 * reach + height])
        _convolve(tall_border, tall, kernels[0], width)
        for place in range(reach):
            above, below = _reflected(place - reach, height), _reflected(height + place, height)
            for column in range(width):
                tall[reach + above, column] += tall[place, column]
                tall[reach + below, column] += tall[height + reach + place, column]
        by_rows = tall[reach : reach + height]  # the gradient by the blurred rows
        if magnitude > NARROWEST:
            total += _product(by_rows, moved)
        for row in range(height):
            for column in range(width):
                wide_border[row, 2 * reach + column] = by_rows[row, column]
        _convolve(wide_border, wide, kernels[0], 1)
        for row in range(height):
            for column in range(width):
                out[row, column] = wide[row, reach + column]
            for place in range(reach):
                out[row, _reflected(place - reach, width)] += wide[row, place]
                out[row, _reflected(width + place, width)] += wide[row, width + reach + place]
    return total
