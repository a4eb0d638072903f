"""sample_pairing of one image with another, and its derivative. Definition: `augrad.ops.mix.sample_pairing`."""

from typing import no_type_check

from numba import njit

from augrad.engines.numba.values import clip, passes, real, shade, shaded


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def pair(image, other, result, magnitude):
    """image, other, result: floating point or uint8 [C, H, W]."""
    channels, height, width = image.shape
    zero, one, weight = real(image, 0), real(image, 1), real(image, magnitude)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                value, its = shade(image, image[channel, row, column]), shade(image, other[channel, row, column])
                result[channel, row, column] = shaded(result, clip(value + weight * (its - value), zero, one))


@njit(nogil=True, fastmath={"nsz", "reassoc"})
@no_type_check
def pair_backward(image, other, gradient, result, magnitude):
    """As `warp_backward`, with `other` held fixed."""
    channels, height, width = image.shape
    zero, one, weight, total = real(image, 0), real(image, 1), real(image, magnitude), 0.0
    for channel in range(channels):
        for row in range(height):
            one_row = zero
            for column in range(width):
                value, its = image[channel, row, column], other[channel, row, column]
                output = value + weight * (its - value)
                coming = gradient[channel, row, column] if passes(output, zero, one) else zero
                result[channel, row, column] = coming - weight * coming
                one_row += coming * (its - value)
            total += one_row
    return total


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def add_to_other(image, other, gradient, to_other, magnitude):
    """Adds the gradient by `other`."""
    channels, height, width = image.shape
    zero, one, weight = real(image, 0), real(image, 1), real(image, magnitude)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                value, its = image[channel, row, column], other[channel, row, column]
                output = value + weight * (its - value)
                coming = gradient[channel, row, column] if passes(output, zero, one) else zero
                to_other[channel, row, column] += weight * coming
