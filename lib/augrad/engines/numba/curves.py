"""Curves of values on one image, and their derivatives."""

from typing import Any, no_type_check

import numpy as np
from numba import njit, types
from numba.extending import overload

from augrad.engines.numba.small import by_code, compiled, of_shape
from augrad.engines.numba.values import clip, copy_plane, real
from augrad.ops.spec import STEP, Curve


def _in_type_of(function: Any) -> Any:
    """f(image, ...), computed in the type that `image` is computed in."""
    single, double = compiled(function, single=True), compiled(function)

    def of_image(image, value, magnitude):
        """See above."""

    @overload(of_image, jit_options={"forceinline": True})  # a loop that calls takes one pixel after another
    @no_type_check
    def _of_image(image, value, magnitude):
        if image.dtype == types.float64:
            return lambda image, value, magnitude: double(value, magnitude)
        return lambda image, value, magnitude: single(value, magnitude)

    return of_image


@no_type_check
def _forward(shape):
    value_of = _in_type_of(shape.value)

    @njit(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
    @no_type_check
    def remap(arguments):
        image, result, magnitude = arguments
        amount = real(image, magnitude)
        for channel in range(image.shape[0]):
            for row in range(image.shape[1]):
                for column in range(image.shape[2]):
                    result[channel, row, column] = value_of(image, image[channel, row, column], amount)

    return remap


@no_type_check
def _backward(shape):
    value_of, fixed = _in_type_of(shape.value), shape.straight_through
    surrogate = shape.slope is not None
    slope_of = _in_type_of(shape.slope) if surrogate else value_of

    @njit(nogil=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
    @no_type_check
    def remap_backward(arguments):
        image, gradient, result, magnitude = arguments
        amount, step, large, total = real(image, magnitude), real(image, STEP), real(image, 1e6), 0.0
        for channel in range(image.shape[0]):
            for row in range(image.shape[1]):
                one_row = real(image, 0)
                for column in range(image.shape[2]):
                    value, coming = image[channel, row, column], gradient[channel, row, column]
                    if surrogate:
                        one_row += coming * slope_of(image, value, amount)
                    else:
                        one_row += coming * (value_of(image, value, complex(amount, step)).imag / step)
                    if fixed:
                        result[channel, row, column] = coming
                    else:
                        # Infinity has the slope of what is large: times 0 it would be NaN.
                        shown = clip(value, -large, large)
                        by_value = value_of(image, complex(shown, step), amount).imag / step
                        result[channel, row, column] = coming * by_value
                total += one_row
        return total

    return remap_backward


@njit
@no_type_check
def _copy(code, arguments):
    image, result, _ = arguments
    for channel in range(image.shape[0]):
        copy_plane(image[channel], result[channel])


@njit
@no_type_check
def _copy_backward(code, arguments):
    image, gradient, result, _ = arguments
    for channel in range(len(image)):
        copy_plane(gradient[channel], result[channel])
    return 0.0


@no_type_check
def _shade(shape):
    shade = compiled(shape.value, single=True)

    @njit
    @no_type_check
    def shaded(arguments):
        value, magnitude = arguments
        return np.float32(shade(value, magnitude))

    return shaded


@njit
@no_type_check
def _same(code, arguments):
    return arguments[0]


_curves = of_shape(Curve)
remap = by_code([(code, _forward(shape)) for code, shape in _curves], _copy)
"""remap(code, (image, result, magnitude)): the curve of the operation; a copy where it has none."""
remap_backward = by_code([(code, _backward(shape)) for code, shape in _curves], _copy_backward)
"""remap_backward(code, (image, gradient, result, magnitude)), as `warp_backward`."""
shade_of = by_code([(code, _shade(shape)) for code, shape in _curves], _same)
"""shade_of(code, (value, magnitude)): of one value in single precision."""
