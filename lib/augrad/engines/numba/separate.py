"""Operations in kernels of their own: compiled when the first of them is drawn."""

from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.blur import blur, blur_backward
from augrad.engines.numba.codes import GAUSSIAN_BLUR, GAUSSIAN_NOISE, HUE, KINDS, SAMPLE_PAIRING, SEPARATE
from augrad.engines.numba.hue import turn_hue, turn_hue_backward
from augrad.engines.numba.noise import add_noise, add_noise_backward
from augrad.engines.numba.pairing import add_to_other, pair, pair_backward
from augrad.engines.numba.values import without_magnitude


@no_type_check
def separate_kernels():
    """(forward, backward, backward_others)."""

    @njit(nogil=True)
    @no_type_check
    def forward(images, results, codes, magnitudes, draws, others, partners):
        """Those of images [B, C, H, W] that drew one of the operations -> results: floating point or uint8.

        magnitudes [B], draws [B, D]: float64. Image i is paired with others[partners[i]].
        """
        for index in range(len(images)):
            image, result, code, magnitude = images[index], results[index], codes[index], magnitudes[index]
            if KINDS[code] != SEPARATE or without_magnitude(result, code, magnitude):
                continue
            if code == HUE:
                turn_hue(image, result, magnitude)
            elif code == GAUSSIAN_BLUR:
                blur(image, result, magnitude)
            elif code == SAMPLE_PAIRING:
                pair(image, others[partners[index]], result, magnitude)
            elif code == GAUSSIAN_NOISE:
                add_noise(image, result, magnitude, draws[index, 0])

    @njit(nogil=True)
    @no_type_check
    def backward(images, gradients, results, codes, magnitudes, to_magnitudes, draws, others, partners):
        """Gradients by the results -> `results`, those by the images, and `to_magnitudes` [B]."""
        for index in range(len(images)):
            image, gradient, result = images[index], gradients[index], results[index]
            code, magnitude = codes[index], magnitudes[index]
            if KINDS[code] != SEPARATE:
                continue
            if without_magnitude(result, code, magnitude):
                to_magnitudes[index] = np.nan
            elif code == HUE:
                to_magnitudes[index] = turn_hue_backward(image, gradient, result, magnitude)
            elif code == GAUSSIAN_BLUR:
                to_magnitudes[index] = blur_backward(image, gradient, result, magnitude)
            elif code == SAMPLE_PAIRING:
                other = others[partners[index]]
                to_magnitudes[index] = pair_backward(image, other, gradient, result, magnitude)
            elif code == GAUSSIAN_NOISE:
                to_magnitudes[index] = add_noise_backward(image, gradient, result, magnitude, draws[index, 0])

    @njit(nogil=True)
    @no_type_check
    def backward_others(images, gradients, results, codes, magnitudes, others, partners):
        """Gradients by the other image of those that are paired: added to `results`."""
        for index in range(len(images)):
            if codes[index] == SAMPLE_PAIRING:
                other = others[partners[index]]
                add_to_other(images[index], other, gradients[index], results[index], magnitudes[index])

    return forward, backward, backward_others
