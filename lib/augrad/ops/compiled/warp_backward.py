"""The derivative of resampling one image, by its pixels and by the magnitude."""

from typing import no_type_check

import numpy as np
from numba import njit, uintp

from augrad.ops.compiled.border import at_border_backward
from augrad.ops.compiled.codes import ROTATE, SHEAR_Y
from augrad.ops.compiled.matrices import interior, matrix_derivative, matrix_in_pixels, touched
from augrad.ops.compiled.shift import shift_backward
from augrad.ops.compiled.values import real
from augrad.ops.compiled.warp import ONE


@njit(nogil=True)
@no_type_check
def _nearest(gradient, result, matrix):
    channels, height, width = gradient.shape
    a, b, c, d, e, f = matrix
    for row in range(height):
        for column in range(width):
            x, y = np.rint(a * column + b * row + c), np.rint(d * column + e * row + f)
            if 0 <= x < width and 0 <= y < height:
                for channel in range(channels):
                    result[channel, int(y), int(x)] += gradient[channel, row, column]


@njit(nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def warp_backward(image, gradient, result, code, magnitude, fill, nearest):
    """gradient: by the warped image. Writes the gradient by `image` to `result`; returns that by the magnitude."""
    channels, height, width = image.shape
    matrix = matrix_in_pixels(code, magnitude, height, width)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                result[channel, row, column] = 0
    if nearest:
        _nearest(gradient, result, matrix)
        return 0.0
    a, b, c, d, e, f = matrix
    derivative = matrix_derivative(code, magnitude, height, width)
    if a == 1 and d == 0 and e == 1 and code != ROTATE and code != SHEAR_Y:
        return shift_backward(image, gradient, result, matrix, derivative, fill)
    da, db, dc, dd, de, df = derivative
    pixels, sums, below = image.reshape(channels, height * width), result.reshape(channels, -1), uintp(width)
    total, zero = 0.0, real(image, 0)
    for row in range(height):
        near, far = touched(matrix, row, height, width)
        first, last = interior(matrix, row, height, width, near, far)
        for part in range(2):
            for column in range(near if part == 0 else last, first if part == 0 else far):
                x, y = a * column + b * row + c, d * column + e * row + f
                by_x, by_y = at_border_backward(image, gradient, result, row, column, x, y, fill)
                total += by_x * (da * column + db * row + dc) + by_y * (dd * column + de * row + df)
        for column in range(first, last):
            x, y = a * column + (b * row + c), d * column + (e * row + f)
            x0, y0 = np.int32(x), np.int32(y)
            right, down = real(image, x - x0), real(image, y - y0)
            at = uintp(y0 * np.int32(width) + x0)
            both = right * down
            by_x, by_y = zero, zero
            for channel in range(channels):
                coming = gradient[channel, row, column]
                nw, ne = pixels[channel, at], pixels[channel, at + ONE]
                sw, se = pixels[channel, at + below], pixels[channel, at + below + ONE]
                over, twist = ne - nw, (se - sw) - (ne - nw)
                by_x += coming * (over + twist * down)
                by_y += coming * ((sw - nw) + twist * right)
                sums[channel, at] += coming * (1 - right - down + both)
                sums[channel, at + ONE] += coming * (right - both)
                sums[channel, at + below] += coming * (down - both)
                sums[channel, at + below + ONE] += coming * both
            total += by_x * (da * column + db * row + dc) + by_y * (dd * column + de * row + df)
    return total
