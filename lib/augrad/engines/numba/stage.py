"""One stage of a batch: each image through its own operation."""

from typing import no_type_check

import numpy as np
from numba import njit, uintp

from augrad.engines.numba.area import cut, cut_backward, sharpen, sharpen_backward
from augrad.engines.numba.codes import (
    AUTO_CONTRAST,
    COPIED,
    CURVED,
    CUTOUT,
    EQUALIZE,
    KINDS,
    RECOLORED,
    SEPARATE,
    SHARPNESS,
    WARPED,
)
from augrad.engines.numba.color import equalize, recolor, recolor_backward, stretch, stretch_backward
from augrad.engines.numba.curves import remap, remap_backward
from augrad.engines.numba.eight_bits import by_histogram, recolor_levels, remap_levels
from augrad.engines.numba.matrices import keeps_rows, matrix_derivative, matrix_in_pixels, mirrors, stays
from augrad.engines.numba.shift import shift, shift_backward
from augrad.engines.numba.values import copy_plane, without_magnitude
from augrad.engines.numba.warp import warp, warp_nearest
from augrad.engines.numba.warp_backward import warp_backward, warp_nearest_backward


@njit(nogil=True)
@no_type_check
def _copy(image, result):
    for channel in range(image.shape[0]):
        copy_plane(image[channel], result[channel])


@njit(nogil=True)
@no_type_check
def _mirror(image, result, matrix):
    channels, height, width = image.shape
    last = uintp(width - 1)
    for channel in range(channels):
        for row in range(height):
            line, out = image[channel, row if matrix[4] > 0 else height - 1 - row], result[channel, row]
            if matrix[0] < 0:
                for column in range(uintp(width)):
                    out[column] = line[last - column]
            else:
                for column in range(width):
                    out[column] = line[column]


@njit(nogil=True)
@no_type_check
def _move(image, result, matrix, fill, nearest):
    if mirrors(matrix, image.shape[1], image.shape[2]):
        _mirror(image, result, matrix)
    elif nearest:
        warp_nearest(image, result, matrix, fill)
    elif keeps_rows(matrix, 1.0):
        shift(image, result, matrix, fill)
    else:
        warp(image, result, matrix, fill)


@njit(nogil=True)
@no_type_check
def _move_backward(image, gradient, result, matrix, slope, fill, nearest):
    if mirrors(matrix, image.shape[1], image.shape[2]) and (nearest or stays(slope)):
        _mirror(gradient, result, matrix)  # its own inverse
    elif nearest:
        warp_nearest_backward(gradient, result, matrix)
    elif keeps_rows(matrix, 1.0) and keeps_rows(slope, 0.0):
        return shift_backward(image, gradient, result, matrix, slope, fill)
    else:
        return warp_backward(image, gradient, result, matrix, slope, fill)
    return 0.0


@no_type_check
def kernels():
    """(forward, forward_8bit, backward)."""

    @njit(nogil=True)
    @no_type_check
    def forward(images, results, codes, magnitudes, draws, fill, nearest):
        """images [B, C, H, W] in floating point -> results. magnitudes [B], draws [B, D]: float64."""
        _, _, height, width = images.shape
        for index in range(len(images)):
            image, result, code, magnitude = images[index], results[index], codes[index], magnitudes[index]
            kind = KINDS[code]
            if kind == SEPARATE or without_magnitude(result, code, magnitude):
                continue
            if kind == COPIED:
                _copy(image, result)
            elif kind == WARPED:
                _move(image, result, matrix_in_pixels(code, magnitude, height, width), fill, nearest)
            elif kind == RECOLORED:
                recolor(image, result, code, magnitude)
            elif kind == CURVED:
                remap(code, (image, result, magnitude))
            elif code == AUTO_CONTRAST:
                stretch(image, result)
            elif code == EQUALIZE:
                equalize(image, result)
            elif code == SHARPNESS:
                sharpen(image, result, magnitude, 1.0)
            elif code == CUTOUT:
                cut(image, result, magnitude, draws[index, 0], draws[index, 1], fill)

    @njit(nogil=True)
    @no_type_check
    def forward_8bit(images, results, codes, magnitudes, draws, fill, nearest):
        """The same for uint8. fill: in [0, 1]."""
        _, _, height, width = images.shape
        for index in range(len(images)):
            image, result, code, magnitude = images[index], results[index], codes[index], magnitudes[index]
            kind = KINDS[code]
            if kind == COPIED:
                _copy(image, result)
            elif kind == WARPED:
                _move(image, result, matrix_in_pixels(code, magnitude, height, width), fill * 255, nearest)
            elif kind == RECOLORED:
                recolor_levels(image, result, code, magnitude)
            elif kind == CURVED:
                remap_levels(image, result, code, magnitude)
            elif code == AUTO_CONTRAST or code == EQUALIZE:
                by_histogram(image, result, code)
            elif code == SHARPNESS:
                sharpen(image, result, magnitude, 255.0)
            elif code == CUTOUT:
                cut(image, result, magnitude, draws[index, 0], draws[index, 1], fill * 255)

    @njit(nogil=True)
    @no_type_check
    def backward(images, gradients, results, codes, magnitudes, to_magnitudes, draws, fill, nearest):
        """Gradients by the results -> `results`, those by the images, and `to_magnitudes` [B]."""
        _, _, height, width = images.shape
        for index in range(len(images)):
            image, gradient, result = images[index], gradients[index], results[index]
            code, magnitude = codes[index], magnitudes[index]
            kind, found = KINDS[code], 0.0
            if kind == SEPARATE:
                continue
            if without_magnitude(result, code, magnitude):
                to_magnitudes[index] = np.nan
                continue
            if kind == COPIED or code == EQUALIZE:
                _copy(gradient, result)
            elif kind == WARPED:
                matrix = matrix_in_pixels(code, magnitude, height, width)
                slope = matrix_derivative(code, magnitude, height, width)
                found = _move_backward(image, gradient, result, matrix, slope, fill, nearest)
            elif kind == RECOLORED:
                found = recolor_backward(image, gradient, result, code, magnitude)
            elif kind == CURVED:
                found = remap_backward(code, (image, gradient, result, magnitude))
            elif code == AUTO_CONTRAST:
                stretch_backward(image, gradient, result)
            elif code == SHARPNESS:
                found = sharpen_backward(image, gradient, result, magnitude)
            elif code == CUTOUT:
                found = cut_backward(image, gradient, result, magnitude, draws[index, 0], draws[index, 1], fill)
            to_magnitudes[index] = found

    return forward, forward_8bit, backward
