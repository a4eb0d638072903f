"""The derivative of resampling one image, by its pixels and by the magnitude."""

from typing import no_type_check

import numpy as np
from numba import njit, uintp

from augrad.engines.numba.border import at_border_backward, nearest_pixel
from augrad.engines.numba.matrices import interior, touched
from augrad.engines.numba.values import clear, readable, real
from augrad.engines.numba.warp import ONE


@njit(nogil=True)
@no_type_check
def warp_nearest_backward(gradient, result, matrix):
    """As `warp_backward`; the magnitude has no gradient."""
    channels, height, width = gradient.shape
    a, b, c, d, e, f = matrix
    for channel in range(channels):
        clear(result[channel])
    for row in range(height):
        for column in range(width):
            x, y = nearest_pixel(a * column + b * row + c), nearest_pixel(d * column + e * row + f)
            if 0 <= x < width and 0 <= y < height:
                for channel in range(channels):
                    result[channel, int(y), int(x)] += gradient[channel, row, column]


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def warp_backward(image, gradient, result, matrix, slope, fill):
    """gradient: by the warped image. slope: the derivative of `matrix` by the magnitude.

    Writes the gradient by `image` to `result`; returns that by the magnitude.
    """
    channels, height, width = image.shape
    a, b, c, d, e, f = matrix
    da, db, dc, dd, de, df = slope
    for channel in range(channels):
        clear(result[channel])
    pixels, below = readable(image), uintp(width)
    zero, one, total, upright = real(image, 0), real(image, 1), 0.0, a == 1 and b == 0 and c == 0
    upright = upright and da == 0 and db == 0 and dc == 0
    # Sums of neighbours in two places: an addition need not wait for the one before.
    sums = result.reshape(channels, height * width)
    sums_east = np.zeros((channels, 0 if upright else height * width), result.dtype)
    at, rights, downs = np.empty(width, np.int32), np.empty(width, result.dtype), np.empty(width, result.dtype)
    for row in range(height):
        near, far = touched(matrix, row, height, width)
        first, last = interior(matrix, row, height, width, near, far)
        for part in range(2):
            for column in range(near if part == 0 else last, first if part == 0 else far):
                x, y = a * column + b * row + c, d * column + e * row + f
                to_x, to_y = at_border_backward(image, gradient, result, row, column, x, y, fill)
                total += to_x * (da * column + db * row + dc) + to_y * (dd * column + de * row + df)
        inside = (uintp(first), uintp(last))
        x_start, y_start = b * row + c, e * row + f
        for column in range(*inside):
            x, y = a * column + x_start, d * column + y_start
            x0, y0 = np.int32(x), np.int32(y)
            rights[column], downs[column] = x - x0, y - y0
            at[column] = y0 * np.int32(width) + x0
        for channel in range(channels):
            plane, here, east, incoming = pixels[channel], sums[channel], sums_east[channel], gradient[channel, row]
            if upright:  # shear_y: two pixels of the same column
                by_y, by_y_place, place = zero, zero, real(image, first)
                for column in range(*inside):
                    nw, coming = uintp(at[column]), incoming[column]
                    sw, lower = nw + below, coming * downs[column]
                    rise = coming * (plane[sw] - plane[nw])
                    by_y += rise
                    by_y_place += rise * place
                    place += one
                    here[nw] += coming - lower
                    here[sw] += lower
                total += by_y * (de * row + df) + by_y_place * dd
                continue
            # Sums of the derivatives by x and y, and of their products with the column.
            by_x, by_y, by_x_place, by_y_place, place = zero, zero, zero, zero, real(image, first)
            for column in range(*inside):
                nw, right, down, coming = uintp(at[column]), rights[column], downs[column], incoming[column]
                sw = nw + below
                over, under = plane[nw + ONE] - plane[nw], plane[sw + ONE] - plane[sw]
                slope_x = coming * (over + (under - over) * down)
                slope_y = coming * ((plane[sw] - plane[nw]) + (under - over) * right)
                by_x += slope_x
                by_y += slope_y
                by_x_place += slope_x * place
                by_y_place += slope_y * place
                place += one
                lower = coming * down
                upper = coming - lower
                here[nw] += upper - upper * right
                east[nw] += upper * right
                here[sw] += lower - lower * right
                east[sw] += lower * right
            total += by_x * (db * row + dc) + by_y * (de * row + df) + by_x_place * da + by_y_place * dd
    for channel in range(channels):
        for at_east in range(1, sums_east.shape[1]):
            sums[channel, at_east] += sums_east[channel, at_east - 1]
    return total
