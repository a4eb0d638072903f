"""Resampling where rows stay rows, as in shear_x and translations: each row is moved as a whole, by the same weights.

Neighbours in the image are neighbours in memory, which is what vector instructions are for.
"""

import math
from typing import no_type_check

from numba import njit, uintp

from augrad.engines.numba.border import at_border, at_border_backward, outside
from augrad.engines.numba.values import all_finite, clear, real, stored


@njit(nogil=True)
@no_type_check
def _along(start, count, closed):
    """Where `count` positions start, start + 1, ... read of `count` pixels: (near, first, last, far, whole, fraction).

    Positions near .. far - 1 read any pixel, and first .. last - 1 two: `whole` further, and the next, of weight
    `fraction`. closed: at whole numbers the next is not needed, and first .. last - 1 has the last pixel, too.
    """
    if not -count - 1 < start < count:
        return 0, 0, 0, 0, 0, 0.0
    whole = int(math.floor(start))
    fraction = start - whole
    near, far = max(0, -1 - whole), min(count, count - whole)
    first, last = max(0, -whole), min(count, count - whole - (0 if closed and fraction == 0 else 1))
    return near, min(first, far), max(min(first, far), last), far, whole, fraction


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def shift(image, result, matrix, fill):
    """As `warp`, for matrices (1, b, c, 0, 1, f)."""
    channels, height, width = image.shape
    _, b, c, _, _, f = matrix
    top, upper, lower, bottom, y0, fraction = _along(f, height, True)
    down, south, finite = real(image, fraction), 0 if fraction == 0 else 1, all_finite(image)
    for row in range(height):
        near, first, last, far, x0, fraction = _along(b * row + c, width, True)
        if row < top or row >= bottom:
            far = near
        if row < upper or row >= lower or not finite:
            first, last = far, far
        outside(result, row, 0, near, fill)
        outside(result, row, far, width, fill)
        for column in range(near, first):
            at_border(image, result, row, column, column + (b * row + c), row + f, fill)
        for column in range(last, far):
            at_border(image, result, row, column, column + (b * row + c), row + f, fill)
        if first == last:
            continue
        right, offset, east = real(image, fraction), uintp(x0), uintp(0 if fraction == 0 else 1)
        for channel in range(channels):
            north, under, out = image[channel, row + y0], image[channel, row + y0 + south], result[channel, row]
            for column in range(uintp(first), uintp(last)):
                # Unsigned positions: signed ones would be tested for counting from the end.
                at = column + offset
                nw, ne = real(image, north[at]), real(image, north[at + east])
                sw, se = real(image, under[at]), real(image, under[at + east])
                upper_value, lower_value = nw + (ne - nw) * right, sw + (se - sw) * right
                out[column] = stored(result, upper_value + (lower_value - upper_value) * down)


@njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def _slopes(coming, north, south, first, last, offset, east, right, down):
    """Sums of `coming` times the derivatives by x and by y."""
    by_x, by_y = real(north, 0), real(north, 0)
    for column in range(first, last):
        at = column + offset
        over, under = north[at + east] - north[at], south[at + east] - south[at]
        by_x += coming[column] * (over + (under - over) * down)
        by_y += coming[column] * ((south[at] - north[at]) + (under - over) * right)
    return by_x, by_y


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def _spread(coming, sums, first, last, offset, weight):
    for column in range(first, last):
        sums[column + offset] += weight * coming[column]


@njit(nogil=True)
@no_type_check
def shift_backward(image, gradient, result, matrix, slope, fill):
    """As `warp_backward`, for the matrices of `shift` whose slopes are (0, db, dc, 0, 0, df)."""
    channels, height, width = image.shape
    _, b, c, _, _, f = matrix
    _, db, dc, _, _, df = slope
    for channel in range(channels):
        clear(result[channel])
    # Where the derivative along an axis counts, whole numbers need the next pixel all the same.
    top, upper, lower, bottom, y0, fraction = _along(f, height, df == 0)
    down, one, south, total = real(image, fraction), real(image, 1), 0 if fraction == 0 and df == 0 else 1, 0.0
    for row in range(top, bottom):
        near, first, last, far, x0, fraction = _along(b * row + c, width, db == 0 and dc == 0)
        if row < upper or row >= lower:
            first, last = far, far
        for part in range(2):
            for column in range(near if part == 0 else last, first if part == 0 else far):
                by_x, by_y = at_border_backward(
                    image, gradient, result, row, column, column + (b * row + c), row + f, fill
                )
                total += by_x * (db * row + dc) + by_y * df
        if first == last:
            continue
        right, span, offset = real(image, fraction), (uintp(first), uintp(last)), uintp(x0)
        east = uintp(0 if fraction == 0 and db == 0 and dc == 0 else 1)
        for channel in range(channels):
            coming, north, under = gradient[channel, row], image[channel, row + y0], image[channel, row + y0 + south]
            by_x, by_y = _slopes(coming, north, under, *span, offset, east, right, down)
            total += by_x * (db * row + dc) + by_y * df
            _spread(coming, result[channel, row + y0], *span, offset, (one - right) * (one - down))
            if right != 0:
                _spread(coming, result[channel, row + y0], *span, offset + east, right * (one - down))
            if down != 0:
                _spread(coming, result[channel, row + y0 + south], *span, offset, (one - right) * down)
                if right != 0:
                    _spread(coming, result[channel, row + y0 + south], *span, offset + east, right * down)
    return total
