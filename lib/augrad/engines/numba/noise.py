"""gaussian_noise on one image, and its derivative. Definition: `augrad.ops.noise`, `augrad.ops.counter`."""

import math
from typing import no_type_check

import numpy as np
from numba import njit

from augrad.engines.numba.values import clip, passes, real, room, shade, shaded
from augrad.ops.counter import APART, FACTORS


@njit(nogil=True)
@no_type_check
def _mixed(word):
    """word: uint32, as the result. (Arithmetic of 32 bits has 64 in compiled code.)"""
    word = np.uint32((word ^ (word >> 16)) * FACTORS[0])
    word = np.uint32((word ^ (word >> 15)) * FACTORS[1])
    return np.uint32(word ^ (word >> 15))


@njit(nogil=True)
@no_type_check
def _key(seed):
    return _mixed(np.uint32(np.int64(seed * 2.0**24) + APART[0]))


@njit(nogil=True)
@no_type_check
def _uniform(image, key, position):
    word = _mixed(np.uint32(key ^ _mixed(np.uint32(position + APART[1]))))
    return real(image, _mixed(np.uint32(word + key)) >> 8) * real(image, 2.0**-24)


@njit(nogil=True)
@no_type_check
def _noise_of_row(image, key, row, noise):
    """The standard normal numbers of a row of all rows of all channels."""
    width, turn = len(noise), real(image, 2 * math.pi)
    for column in range(width):
        pixel = row * width + column
        pair = pixel - pixel % 2
        length = np.sqrt(real(image, -2) * np.log(real(image, 1) - _uniform(image, key, pair)))
        angle = turn * _uniform(image, key, pair + 1)
        noise[column] = length * (np.cos(angle) if pixel == pair else np.sin(angle))


@njit(nogil=True, fastmath={"nsz"})
@no_type_check
def add_noise(image, result, magnitude, seed):
    """image, result: floating point or uint8 [C, H, W]."""
    channels, height, width = image.shape
    zero, one, amount, key = real(image, 0), real(image, 1), real(image, magnitude), _key(seed)
    noise = room(image, 1, width)[0]
    for channel in range(channels):
        for row in range(height):
            _noise_of_row(image, key, channel * height + row, noise)
            for column in range(width):
                value = shade(image, image[channel, row, column]) + amount * noise[column]
                result[channel, row, column] = shaded(result, clip(value, zero, one))


@njit(nogil=True, fastmath={"nsz", "reassoc"})
@no_type_check
def add_noise_backward(image, gradient, result, magnitude, seed):
    """As `warp_backward`."""
    channels, height, width = image.shape
    zero, one, amount, key, total = real(image, 0), real(image, 1), real(image, magnitude), _key(seed), 0.0
    noise = room(image, 1, width)[0]
    for channel in range(channels):
        for row in range(height):
            _noise_of_row(image, key, channel * height + row, noise)
            for column in range(width):
                value = image[channel, row, column] + amount * noise[column]
                coming = gradient[channel, row, column] if passes(value, zero, one) else zero
                result[channel, row, column] = coming
                total += coming * noise[column]
    return total
