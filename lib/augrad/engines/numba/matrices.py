"""The matrix of one geometric operation, in pixels, and its derivative. Definition: `augrad.ops.geometric.MATRICES`."""

import math
from typing import no_type_check

from numba import njit

from augrad.engines.numba.codes import ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X


@njit(nogil=True)
@no_type_check
def _normalised(code, magnitude, height, width):
    tall, wide = height / width, width / height
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    da, db, dc, dd, de, df = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if code == ROTATE:
        radians = math.pi / 180
        cosine, sine = math.cos(magnitude * radians), math.sin(magnitude * radians)
        a, b, d, e = cosine, -sine * tall, sine * wide, cosine
        da, db, dd, de = -sine * radians, -cosine * radians * tall, cosine * radians * wide, -sine * radians
    elif code == SHEAR_X:
        b, c, db, dc = magnitude * tall, magnitude * tall, tall, tall
    elif code == SHEAR_Y:
        d, f, dd, df = magnitude * wide, magnitude * wide, wide, wide
    elif code == TRANSLATE_X:
        c, dc = -2 * magnitude, -2.0
    else:
        f, df = -2 * magnitude, -2.0
    return (a, b, c, d, e, f), (da, db, dc, dd, de, df)


@njit(nogil=True)
@no_type_check
def _in_pixels(matrix, height, width, constant):
    # Positions from -1 to 1, j -> (2 j + 1) / width - 1, both ways; in this order a row that stays stays exactly.
    a, b, c, d, e, f = matrix
    b, d = b * width / height, d * height / width
    right = ((a - constant) * (1 - width) + b * (1 - height) + c * width) / 2
    down = (d * (1 - width) + (e - constant) * (1 - height) + f * height) / 2
    return a, b, right, d, e, down


@njit(nogil=True)
@no_type_check
def matrix_in_pixels(code, magnitude, height, width):
    """(a, b, c, d, e, f): the pixel in column j and row i reads at x = a j + b i + c, y = d j + e i + f."""
    return _in_pixels(_normalised(code, magnitude, height, width)[0], height, width, 1.0)


@njit(nogil=True)
@no_type_check
def matrix_derivative(code, magnitude, height, width):
    """The derivative of `matrix_in_pixels` by the magnitude."""
    return _in_pixels(_normalised(code, magnitude, height, width)[1], height, width, 0.0)


@njit(nogil=True)
@no_type_check
def _columns_within(slope, start, limit, width):
    """The columns j for which 0 <= slope j + start < limit, as (first, last + 1)."""
    if slope == 0:
        return (0, width) if 0 <= start < limit else (0, 0)
    one, other = -start / slope, (limit - start) / slope
    if slope < 0:
        one, other = other, one
    first = int(min(max(math.ceil(one), 0), width))
    last = int(min(max(math.floor(other) + 1, 0), width))
    while first < last and not 0 <= slope * first + start < limit:  # rounding
        first += 1
    while last > first and not 0 <= slope * (last - 1) + start < limit:
        last -= 1
    return first, last


@njit(nogil=True)
@no_type_check
def touched(matrix, row, height, width):
    """The columns of a row of which any neighbour lies in the image, as (first, last + 1); some more at its ends."""
    a, b, c, d, e, f = matrix
    x_first, x_last = _columns_within(a, b * row + c + 1, width + 1, width)
    y_first, y_last = _columns_within(d, e * row + f + 1, height + 1, width)
    first, last = max(x_first, y_first), min(x_last, y_last)
    return (first, last) if first < last else (0, 0)


@njit(nogil=True)
@no_type_check
def interior(matrix, row, height, width, near, far):
    """The columns whose four neighbours all lie in the image, as (first, last + 1); near, far: those of `touched`."""
    a, b, c, d, e, f = matrix
    x_first, x_last = _columns_within(a, b * row + c, width - 1, width)
    y_first, y_last = _columns_within(d, e * row + f, height - 1, width)
    first, last = max(x_first, y_first), min(x_last, y_last)
    return (first, last) if near <= first < last <= far else (far, far)
