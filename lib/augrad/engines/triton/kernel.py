"""How kernels are compiled: once for each type of images, not for every place or step of their small arguments."""

import inspect
from collections.abc import Callable
from typing import Any

import triton

_COUNTS = ("magnitude_stride", "draw_stride", "draw_step", "tiles", "splits", "part_size")
_PER_IMAGE = ("chosen", "kinds", "magnitude", "draw", "partner", "matrices")


def kernel(function: Callable[..., None]) -> Any:
    """`triton.jit` for a kernel that is launched.

    Triton compiles a kernel anew where an argument is 1, or a multiple of 16, and was not before. Of an image's width
    and of the pixels' addresses that is worth its seconds: reads become wider. Of one number for each image it is
    not: the second stage's magnitudes alone lie elsewhere than the first one's.
    """
    names = inspect.signature(function).parameters
    return triton.jit(
        do_not_specialize=[name for name in _COUNTS if name in names],
        do_not_specialize_on_alignment=[name for name in _PER_IMAGE if name in names],
    )(function)
