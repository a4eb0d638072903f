"""One stage of a batch: each image through its own operation."""

from typing import no_type_check

import numpy as np
from numba import njit, uintp

from augrad.engines.numba.area import cut, cut_backward, sharpen, sharpen_backward
from augrad.engines.numba.codes import (
    AUTO_CONTRAST,
    BRIGHTNESS,
    COLOR,
    CONTRAST,
    COPY,
    CUTOUT,
    EQUALIZE,
    GRAYSCALE,
    HORIZONTAL_FLIP,
    ROTATE,
    SEPARATE,
    SHARPNESS,
    SHEAR_X,
    TRANSLATE_X,
    TRANSLATE_Y,
    VERTICAL_FLIP,
)
from augrad.engines.numba.color import (
    enhance,
    enhance_backward,
    equalize,
    remap,
    remap_backward,
    stretch,
    stretch_backward,
)
from augrad.engines.numba.eight_bits import by_table, recolor
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
def _flip(image, result, code):
    channels, height, width = image.shape
    last = uintp(width - 1)
    for channel in range(channels):
        for row in range(height):
            line, out = image[channel, row if code == HORIZONTAL_FLIP else height - 1 - row], result[channel, row]
            if code == HORIZONTAL_FLIP:
                for column in range(uintp(width)):
                    out[column] = line[last - column]
            else:
                for column in range(width):
                    out[column] = line[column]


@no_type_check
def kernels():
    """(forward, forward_8bit, backward)."""

    @njit(nogil=True)
    @no_type_check
    def forward(images, results, codes, magnitudes, draws, fill, nearest):
        """images [B, C, H, W] in floating point -> results. magnitudes [B], draws [B, D]: float64."""
        for index in range(len(images)):
            image, result, code, magnitude = images[index], results[index], codes[index], magnitudes[index]
            if code >= SEPARATE or without_magnitude(result, code, magnitude):
                continue
            if code == COPY:
                _copy(image, result)
            elif code <= ROTATE and nearest:
                warp_nearest(image, result, code, magnitude, fill)
            elif code == SHEAR_X or code == TRANSLATE_X or code == TRANSLATE_Y:
                shift(image, result, code, magnitude, fill)
            elif code <= ROTATE:
                warp(image, result, code, magnitude, fill)
            elif code <= VERTICAL_FLIP:
                _flip(image, result, code)
            elif code == BRIGHTNESS or code == COLOR or code == CONTRAST or code == GRAYSCALE:
                enhance(image, result, code, magnitude)
            elif code == AUTO_CONTRAST:
                stretch(image, result)
            elif code == EQUALIZE:
                equalize(image, result)
            elif code == SHARPNESS:
                sharpen(image, result, magnitude, 1.0)
            elif code == CUTOUT:
                cut(image, result, magnitude, draws[index, 0], draws[index, 1], fill)
            else:
                remap(image, result, code, magnitude)

    @njit(nogil=True)
    @no_type_check
    def forward_8bit(images, results, codes, magnitudes, draws, fill, nearest):
        """The same for uint8. fill: in [0, 1]."""
        for index in range(len(images)):
            image, result, code, magnitude = images[index], results[index], codes[index], magnitudes[index]
            if code >= SEPARATE:
                continue
            if code == COPY or ((code == COLOR or code == GRAYSCALE) and image.shape[0] == 1):
                _copy(image, result)
            elif code <= ROTATE and nearest:
                warp_nearest(image, result, code, magnitude, fill * 255)
            elif code == SHEAR_X or code == TRANSLATE_X or code == TRANSLATE_Y:
                shift(image, result, code, magnitude, fill * 255)
            elif code <= ROTATE:
                warp(image, result, code, magnitude, fill * 255)
            elif code <= VERTICAL_FLIP:
                _flip(image, result, code)
            elif code == COLOR or code == GRAYSCALE:
                recolor(image, result, magnitude, code == GRAYSCALE)
            elif code == SHARPNESS:
                sharpen(image, result, magnitude, 255.0)
            elif code == CUTOUT:
                cut(image, result, magnitude, draws[index, 0], draws[index, 1], fill * 255)
            else:
                by_table(image, result, code, magnitude)

    @njit(nogil=True)
    @no_type_check
    def backward(images, gradients, results, codes, magnitudes, to_magnitudes, draws, fill, nearest):
        """Gradients by the results -> `results`, those by the images, and `to_magnitudes` [B]."""
        for index in range(len(images)):
            image, gradient, result = images[index], gradients[index], results[index]
            code, magnitude = codes[index], magnitudes[index]
            if code >= SEPARATE:
                continue
            if without_magnitude(result, code, magnitude):
                to_magnitudes[index] = np.nan
                continue
            found = 0.0
            if code == COPY or code == EQUALIZE:
                _copy(gradient, result)
            elif code <= ROTATE and nearest:
                warp_nearest_backward(gradient, result, code, magnitude)
            elif code == SHEAR_X or code == TRANSLATE_X or code == TRANSLATE_Y:
                found = shift_backward(image, gradient, result, code, magnitude, fill)
            elif code <= ROTATE:
                found = warp_backward(image, gradient, result, code, magnitude, fill)
            elif code <= VERTICAL_FLIP:
                _flip(gradient, result, code)
            elif code == BRIGHTNESS or code == COLOR or code == CONTRAST or code == GRAYSCALE:
                found = enhance_backward(image, gradient, result, code, magnitude)
            elif code == AUTO_CONTRAST:
                stretch_backward(image, gradient, result)
            elif code == SHARPNESS:
                found = sharpen_backward(image, gradient, result, magnitude)
            elif code == CUTOUT:
                found = cut_backward(image, gradient, result, magnitude, draws[index, 0], draws[index, 1], fill)
            else:
                found = remap_backward(image, gradient, result, code, magnitude)
            to_magnitudes[index] = found

    return forward, forward_8bit, backward
