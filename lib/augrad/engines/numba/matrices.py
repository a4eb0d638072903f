"""The matrix of one affine map of coordinates, in pixels, and its derivative by the magnitude."""

import math
from typing import no_type_check

from numba import njit

from augrad.engines.numba.small import by_code, compiled, of_shape, part_of
from augrad.ops.spec import STEP, Warp


@njit
@no_type_check
def _nowhere(code, arguments):
    return 1.0, 0.0, 0.0, 0.0, 1.0, 0.0


@no_type_check
def _values(matrix):
    @njit(nogil=True, inline="always")
    @no_type_check
    def entries(arguments):
        magnitude, height, width = arguments
        a, b, c, d, e, f = matrix(magnitude, height, width)
        return float(a), float(b), float(c), float(d), float(e), float(f)

    return entries


@no_type_check
def _slopes(matrix):
    @njit(nogil=True, inline="always")
    @no_type_check
    def entries(arguments):
        magnitude, height, width = arguments
        a, b, c, d, e, f = matrix(complex(magnitude, STEP), height, width)
        return part_of(a), part_of(b), part_of(c), part_of(d), part_of(e), part_of(f)

    return entries


_matrices = [(code, compiled(shape.matrix)) for code, shape in of_shape(Warp)]
_normalised = by_code([(code, _values(matrix)) for code, matrix in _matrices], _nowhere)
_derivative = by_code([(code, _slopes(matrix)) for code, matrix in _matrices], _nowhere)


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
    return _in_pixels(_normalised(code, (magnitude, height, width)), height, width, 1.0)


@njit(nogil=True)
@no_type_check
def matrix_derivative(code, magnitude, height, width):
    """The derivative of `matrix_in_pixels` by the magnitude."""
    return _in_pixels(_derivative(code, (magnitude, height, width)), height, width, 0.0)


@njit(nogil=True, inline="always")
@no_type_check
def stays(slope):
    """Whether a matrix has the derivative 0 by the magnitude."""
    da, db, dc, dd, de, df = slope
    return da == 0 and db == 0 and dc == 0 and dd == 0 and de == 0 and df == 0


@njit(nogil=True, inline="always")
@no_type_check
def mirrors(matrix, height, width):
    """Whether every pixel is read whole, in the order of rows and columns or in the opposite one."""
    a, b, c, d, e, f = matrix
    along = b == 0 and d == 0 and abs(a) == 1 and abs(e) == 1
    return along and c == (width - 1 if a < 0 else 0) and f == (height - 1 if e < 0 else 0)


@njit(nogil=True, inline="always")
@no_type_check
def keeps_rows(matrix, one):
    """Whether rows stay rows, and as long as they are: the matrix is (one, b, c, 0, one, f), with 1 for `one`; with 0,
    its derivative, too."""
    a, _, _, d, e, _ = matrix
    return a == one and d == 0 and e == one


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
