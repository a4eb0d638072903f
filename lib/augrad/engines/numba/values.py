"""Numbers of the type that an image is computed in: float64 for float64, float32 for float32 and 8 bits."""

from typing import no_type_check

import numpy as np
from numba import njit, types, uintp
from numba.extending import overload

from augrad.engines.numba.codes import TAKES


def real(image, value):
    """`value` in the type that `image` is computed in."""


@overload(real, inline="always")
@no_type_check
def _real(image, value):
    if image.dtype == types.float64:
        return lambda image, value: np.float64(value)
    return lambda image, value: np.float32(value)


def stored(image, value):
    """`value`, as an element of `image`: in 8 bits the nearest whole number, half to even."""


@overload(stored, inline="always")
@no_type_check
def _stored(image, value):
    if image.dtype == types.uint8:
        return lambda image, value: np.uint8(np.rint(value))
    return lambda image, value: value


def shade(image, value):
    """`value`, an element of `image`, as a shade between 0, black, and 1, in the type that `image` is computed in."""


@overload(shade, inline="always")
@no_type_check
def _shade(image, value):
    if image.dtype == types.uint8:
        return lambda image, value: np.float32(value) / np.float32(255)
    return lambda image, value: value


def shaded(image, shade):
    """`shade`, between 0 and 1, as an element of `image`: in 8 bits the nearest whole number, half to even."""


@overload(shaded, inline="always")
@no_type_check
def _shaded(image, shade):
    if image.dtype == types.uint8:
        return lambda image, shade: np.uint8(np.rint(shade * np.float32(255)))
    return lambda image, shade: shade


def room(image, rows, columns):
    """[rows, columns] to write to, of the type that `image` is computed in."""


@overload(room)
@no_type_check
def _room(image, rows, columns):
    dtype = np.float64 if image.dtype == types.float64 else np.float32
    return lambda image, rows, columns: np.empty((rows, columns), dtype)


_NEAR = 2**13
"""Numbers of an image that fit into the nearest cache."""


def readable(image):
    """`image` [C, H, W] as [C, H W] of the type that it is computed in, for reading here and there.

    A copy of a large one: it is read in order, once, and from then on near at hand.
    """


@overload(readable)
@no_type_check
def _readable(image):
    dtype, whole = (np.float64 if image.dtype == types.float64 else np.float32), image.dtype == types.uint8

    def copied(image):
        channels, height, width = image.shape
        result = np.empty((channels, height * width), dtype)
        for channel in range(channels):
            out, at = result[channel], uintp(0)
            for row in range(height):
                for column in range(width):
                    out[at] = image[channel, row, column]
                    at += uintp(1)
        return result

    if whole:
        return copied
    copied = njit(nogil=True)(copied)

    def at_hand(image):
        channels, height, width = image.shape
        return image.reshape(channels, height * width) if image.size <= _NEAR else copied(image)

    return at_hand


@njit(nogil=True, inline="always")
@no_type_check
def clip(value, low, high):
    """NaN stays: it is larger and smaller than nothing."""
    return low if value < low else (high if value > high else value)


@njit(nogil=True, inline="always")
@no_type_check
def passes(value, low, high):
    """Whether `clip` lets the gradient through: also that of NaN, which is not clipped."""
    return not ((value < low) | (value > high))


@njit(nogil=True, inline="always")
@no_type_check
def is_finite(value):
    return value - value == 0


def all_finite(image):
    """Whether no pixel is NaN or infinite."""


@overload(all_finite)
@no_type_check
def _all_finite(image):
    if image.dtype == types.uint8:
        return lambda image: True

    @njit(nogil=True, fastmath={"nsz", "reassoc"})
    def total(image):
        found, numbers = real(image, 0), image.reshape(image.size)
        for place in range(len(numbers)):
            found += numbers[place]
        return found

    return lambda image: is_finite(total(image))


@njit(nogil=True)
@no_type_check
def copy_plane(plane, result):
    """result[:] = plane, for one channel; written out, because assigning whole arrays takes seconds to compile."""
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            result[row, column] = plane[row, column]


@njit(nogil=True)
@no_type_check
def without_magnitude(result, code, magnitude):
    """Whether an operation that has a magnitude has been given none, NaN or infinity; then `result` becomes NaN."""
    if is_finite(magnitude) or not TAKES[code]:
        return False
    for channel in range(result.shape[0]):
        for row in range(result.shape[1]):
            for column in range(result.shape[2]):
                result[channel, row, column] = real(result, np.nan)
    return True


@njit(nogil=True)
@no_type_check
def clear(plane):
    """plane[:] = 0"""
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            plane[row, column] = 0
