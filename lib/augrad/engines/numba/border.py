"""Pixels that are read at the border of the image, and outside: not all of their four neighbours are there.

All pixels of an image with NaN or infinity are read like this, because of what its neighbours' weights say.
"""

import math
from typing import no_type_check

from numba import njit

from augrad.engines.numba.values import is_finite, real, stored
from augrad.ops.geometric import COUNTS, HALFWAY


@njit(nogil=True, inline="always")
@no_type_check
def nearest_pixel(position):
    """The rule of `augrad.ops.geometric`."""
    return math.floor(position + (0.5 + HALFWAY))


@njit(nogil=True, inline="always")
@no_type_check
def _counting(weight, value):
    """weight * value, but 0 for what is not finite and does not count."""
    return weight * value if weight > COUNTS or is_finite(value) else 0.0


@njit(nogil=True)
@no_type_check
def outside(result, row, first, last, fill):
    """Columns first .. last - 1 of a row are `fill`."""
    value = stored(result, real(result, fill))
    for channel in range(result.shape[0]):
        for column in range(first, last):
            result[channel, row, column] = value


@njit(nogil=True)
@no_type_check
def _pair(position, count):
    """The two pixels that are read along an axis, and their weights, 0 where there is no such pixel."""
    whole = int(math.floor(position))
    share = position - whole
    near, far = (1 - share if 0 <= whole < count else 0.0), (share if 0 <= whole + 1 < count else 0.0)
    return min(max(whole, 0), count - 1), min(max(whole + 1, 0), count - 1), near, far


@njit(nogil=True)
@no_type_check
def at_border(image, result, row, column, x, y, fill):
    channels, height, width = image.shape
    left, right, west, east = _pair(x, width)
    above, below, north, south = _pair(y, height)
    coverage = (west + east) * (north + south)
    for channel in range(channels):
        upper = _counting(west, image[channel, above, left]) + _counting(east, image[channel, above, right])
        lower = _counting(west, image[channel, below, left]) + _counting(east, image[channel, below, right])
        value = _counting(north, upper) + _counting(south, lower)
        if fill != 0:
            value = coverage * (value - fill) + fill
        result[channel, row, column] = stored(result, value)


@njit(nogil=True)
@no_type_check
def at_border_backward(image, gradient, result, row, column, x, y, fill):
    """Adds to `result`; returns the derivatives by x and y."""
    channels, height, width = image.shape
    x0, y0 = int(math.floor(x)), int(math.floor(y))
    right, down = x - x0, y - y0
    by_x, by_y = 0.0, 0.0
    for channel in range(channels):
        coming = gradient[channel, row, column]
        value, value_x, value_y, coverage, coverage_x, coverage_y = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for dy in range(2):
            for dx in range(2):
                if 0 <= x0 + dx < width and 0 <= y0 + dy < height:
                    across, along = (right if dx else 1 - right), (down if dy else 1 - down)
                    weight, weight_x, weight_y = across * along, (along if dx else -along), (across if dy else -across)
                    pixel = image[channel, y0 + dy, x0 + dx]
                    value, coverage = value + weight * pixel, coverage + weight
                    value_x, coverage_x = value_x + weight_x * pixel, coverage_x + weight_x
                    value_y, coverage_y = value_y + weight_y * pixel, coverage_y + weight_y
        share = coming * (coverage if fill != 0 else 1.0)
        for dy in range(2):
            for dx in range(2):
                if 0 <= x0 + dx < width and 0 <= y0 + dy < height:
                    weight = (right if dx else 1 - right) * (down if dy else 1 - down)
                    result[channel, y0 + dy, x0 + dx] += share * weight
        by_x += share * value_x
        by_y += share * value_y
        if fill != 0:
            by_x += coming * (value - fill) * coverage_x
            by_y += coming * (value - fill) * coverage_y
    return by_x, by_y
