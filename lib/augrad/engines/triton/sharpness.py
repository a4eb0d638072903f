"""`augrad.ops.sharpness`, and its gradients."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.pixels import nearest, passes, read, write


@triton.jit
@no_type_check
def sharpened(pointers, row, column, height, width, mask, strength, COMPUTE: tl.constexpr):
    """`augrad.ops.sharpness` of one channel before its clamp; pointers: of the channel's first pixel."""
    centre = read(pointers + row * width + column, mask, COMPUTE)
    inner = mask & (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    total = centre * 0
    for neighbour in range(9):
        place = (row + neighbour // 3 - 1) * width + column + neighbour % 3 - 1
        total += read(pointers + place, inner, COMPUTE)
    if pointers.dtype.element_ty == tl.uint8:  # as `augrad.ops.levels`
        levels, smooth = nearest(centre * 255), nearest((total + 4 * centre) * (255 / 13))
        sharp = levels + tl.where(inner, strength * (levels - smooth), 0.0)
        return tl.floor(tl.minimum(tl.maximum(sharp, 0.0), 255.0)) / 255
    return centre + tl.where(inner, strength * (9 / 13) * (centre - total / 9), 0.0)


@triton.jit
@no_type_check
def sharpness_gradient(
    source, gradient, target, pixel, row, column, valid, height, width, m, broken,
    COMPUTE: tl.constexpr, IMAGES: tl.constexpr,
):  # fmt: skip
    """One channel: writes the image's gradient; returns the magnitude's."""
    before = sharpened(source, row, column, height, width, valid, m, COMPUTE)
    own = tl.where(passes(before), read(gradient + pixel, valid, COMPUTE), 0.0)
    if IMAGES:
        inner = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
        around = own * 0
        for neighbour in range(9):
            y, x = row + neighbour // 3 - 1, column + neighbour % 3 - 1
            there = valid & (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
            let_through = passes(sharpened(source, y, x, height, width, there, m, COMPUTE))
            around += tl.where(let_through, read(gradient + y * width + x, there, COMPUTE), 0.0)
        amount = m * (9 / 13)
        write(target + pixel, own + tl.where(inner, amount * own, 0.0) - amount / 9 * around + broken, valid)
    detail = sharpened(source, row, column, height, width, valid, m * 0 + 1, COMPUTE) - read(
        source + pixel, valid, COMPUTE
    )
    return own * detail
