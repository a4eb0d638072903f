"""Resampling one image. Definition: `augrad.ops.geometric.resample`."""

from typing import no_type_check

import numpy as np
from numba import njit, uintp

from augrad.engines.numba.border import at_border, nearest_pixel, outside
from augrad.engines.numba.matrices import interior, touched
from augrad.engines.numba.values import all_finite, readable, real, stored

ONE = uintp(1)


@njit(nogil=True)
@no_type_check
def warp_nearest(image, result, matrix, fill):
    """As `warp`, for the nearest pixel."""
    channels, height, width = image.shape
    a, b, c, d, e, f = matrix
    for row in range(height):
        for column in range(width):
            x, y = nearest_pixel(a * column + b * row + c), nearest_pixel(d * column + e * row + f)
            inside = 0 <= x < width and 0 <= y < height
            for channel in range(channels):
                value = real(image, image[channel, int(y), int(x)]) if inside else real(image, fill)
                result[channel, row, column] = stored(result, value)


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def warp(image, result, matrix, fill):
    """image, result: [C, H, W]. matrix: see `matrix_in_pixels`. fill: among the image's own values."""
    channels, height, width = image.shape
    a, b, c, d, e, f = matrix
    pixels, below, upright = readable(image), uintp(width), a == 1 and b == 0 and c == 0
    finite = all_finite(image)
    at, rights, downs = np.empty(width, np.int32), np.empty(width, pixels.dtype), np.empty(width, pixels.dtype)
    for row in range(height):
        near, far = touched(matrix, row, height, width)
        first, last = interior(matrix, row, height, width, near, far) if finite else (far, far)
        outside(result, row, 0, near, fill)
        outside(result, row, far, width, fill)
        for column in range(near, first):
            at_border(image, result, row, column, a * column + b * row + c, d * column + e * row + f, fill)
        for column in range(last, far):
            at_border(image, result, row, column, a * column + b * row + c, d * column + e * row + f, fill)
        # Unsigned positions: signed ones would be tested for counting from the end.
        inside = (uintp(first), uintp(last))
        x_start, y_start = b * row + c, e * row + f
        for column in range(*inside):
            x, y = a * column + x_start, d * column + y_start
            x0, y0 = np.int32(x), np.int32(y)
            rights[column], downs[column] = x - x0, y - y0
            at[column] = y0 * np.int32(width) + x0
        for channel in range(channels):  # positions of 32 bits: what vector instructions gather from
            plane, out = pixels[channel], result[channel, row]
            if upright:  # shear_y: two pixels of the same column
                for column in range(*inside):
                    north = plane[uintp(at[column])]
                    south = plane[uintp(at[column]) + below]
                    out[column] = stored(result, north + (south - north) * downs[column])
                continue
            for column in range(*inside):
                nw, right = uintp(at[column]), rights[column]
                sw = nw + below
                over = plane[nw] + (plane[nw + ONE] - plane[nw]) * right
                under = plane[sw] + (plane[sw + ONE] - plane[sw]) * right
                out[column] = stored(result, over + (under - over) * downs[column])
