"""Affine maps of coordinates: matrices, what an image becomes by one, and the gradients of that."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.pixels import (
    ROTATE,
    SHEAR_X,
    SHEAR_Y,
    TRANSLATE_X,
    TRANSLATE_Y,
    WARP,
    clamp01,
    is_finite,
    read,
    write,
)
from augrad.ops.geometric import COUNTS, HALFWAY

COUNT = tl.constexpr(COUNTS)
TIE = tl.constexpr(HALFWAY)
DEGREE = tl.constexpr(0.017453292519943295)


@triton.jit
@no_type_check
def counting(weight, values):
    """weight * values, but 0 for what is not finite and does not count (`augrad.ops.geometric.COUNTS`)."""
    return tl.where((weight > COUNT) | is_finite(values), weight * values, 0.0)


@triton.jit
@no_type_check
def nearest_pixel(position):
    """The rule of `augrad.ops.geometric`."""
    return tl.floor(position + (0.5 + TIE))


@triton.jit
@no_type_check
def matrix(kind, magnitude, height, width, given, GIVEN: tl.constexpr):
    """Where an output pixel reads: (a x + b y + s, c x + d y + t), in pixels from the centre.

    given: where those six numbers are, for WARP, of which there may only be any if GIVEN.
    """
    angle = tl.where(kind == ROTATE, magnitude, 0.0) * DEGREE
    cosine, sine = tl.cos(angle), tl.sin(angle)
    b = tl.where(kind == SHEAR_X, magnitude, -sine)
    c = tl.where(kind == SHEAR_Y, magnitude, sine)
    s = tl.where(kind == SHEAR_X, magnitude * height * 0.5, tl.where(kind == TRANSLATE_X, -magnitude * width, 0.0))
    t = tl.where(kind == SHEAR_Y, magnitude * width * 0.5, tl.where(kind == TRANSLATE_Y, -magnitude * height, 0.0))
    a, d = cosine, cosine
    if GIVEN:
        a, b, s, c, d, t = or_given(kind, a, b, s, c, d, t, given)
    return a, b, s, c, d, t


@triton.jit
@no_type_check
def or_given(kind, a, b, s, c, d, t, given):
    """For WARP the six numbers at `given`."""
    mine = kind == WARP
    a = tl.where(mine, tl.load(given).to(a.dtype), a)
    b = tl.where(mine, tl.load(given + 1).to(a.dtype), b)
    s = tl.where(mine, tl.load(given + 2).to(a.dtype), s)
    c = tl.where(mine, tl.load(given + 3).to(a.dtype), c)
    d = tl.where(mine, tl.load(given + 4).to(a.dtype), d)
    t = tl.where(mine, tl.load(given + 5).to(a.dtype), t)
    return a, b, s, c, d, t


@triton.jit
@no_type_check
def matrix_slope(kind, magnitude, height, width, given, GIVEN: tl.constexpr):
    """The derivative of `matrix` by the magnitude."""
    angle = tl.where(kind == ROTATE, magnitude, 0.0) * DEGREE
    cosine = tl.where(kind == ROTATE, tl.cos(angle), 0.0) * DEGREE
    sine = tl.where(kind == ROTATE, tl.sin(angle), 0.0) * DEGREE
    b = tl.where(kind == SHEAR_X, 1.0, -cosine)
    c = tl.where(kind == SHEAR_Y, 1.0, cosine)
    s = tl.where(kind == SHEAR_X, height * 0.5, tl.where(kind == TRANSLATE_X, -width * 1.0, 0.0))
    t = tl.where(kind == SHEAR_Y, width * 0.5, tl.where(kind == TRANSLATE_Y, -height * 1.0, 0.0))
    a, d = -sine, -sine
    if GIVEN:
        a, b, s, c, d, t = or_given(kind, a, b, s, c, d, t, given + 6)
    return a, b, s, c, d, t


@triton.jit
@no_type_check
def taps(position, count):
    """Bilinear reading along one axis: the first of two neighbours, both weights, and their slopes (0 outside)."""
    first = tl.floor(position)
    share = position - first
    has_first, has_second = (first >= 0) & (first <= count - 1), (first >= -1) & (first <= count - 2)
    weight, next_weight = tl.where(has_first, 1 - share, 0.0), tl.where(has_second, share, 0.0)
    return first, has_first, has_second, weight, next_weight


@triton.jit
@no_type_check
def place_of(row, column, width, mask):
    """Index into a plane. Positions are whole numbers, and 0 where `mask` is False: far ones fit into no integer."""
    return tl.where(mask, row, 0.0).to(tl.int32) * width + tl.where(mask, column, 0.0).to(tl.int32)


@triton.jit
@no_type_check
def coverage(position, count):
    """Sum of the weights of `taps`."""
    return tl.minimum(clamp01(position + 1), clamp01(count - position))


@triton.jit
@no_type_check
def from_centre(row, column, height, width):
    """(x, y) of pixels, from the centre, and the centre itself, from the first pixel."""
    middle_x, middle_y = (width - 1) * 0.5, (height - 1) * 0.5
    return column - middle_x, row - middle_y, middle_x, middle_y


@triton.jit
@no_type_check
def warp(
    source, target, pixel, row, column, valid, size, kind, m, broken, height, width, given,
    FILL: tl.constexpr, NEAREST: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """The resampling. m: in double precision for the nearest pixel: rounding must not decide which one that is."""
    a, b, s, c, d, t = matrix(kind, m, height, width, given, GIVEN)
    x, y, middle_x, middle_y = from_centre(row, column, height, width)
    read_x, read_y = a * x + b * y + (s + middle_x), c * x + d * y + (t + middle_y)
    if NEAREST:
        read_x, read_y = nearest_pixel(read_x), nearest_pixel(read_y)
        there = valid & (read_x >= 0) & (read_x <= width - 1) & (read_y >= 0) & (read_y <= height - 1)
        place = place_of(read_y, read_x, width, there)
        for channel in tl.static_range(CHANNELS):
            values = read(source + channel * size + place, there, COMPUTE)
            write(target + channel * size + pixel, tl.where(there, values, FILL) + broken, valid)
    else:
        left, has_left, has_right, left_weight, right_weight = taps(read_x, width)
        top, has_top, has_bottom, top_weight, bottom_weight = taps(read_y, height)
        has_top, has_bottom = has_top & valid, has_bottom & valid
        place = place_of(top, left, width, (has_left | has_right) & (has_top | has_bottom))
        for channel in tl.static_range(CHANNELS):
            corner = source + channel * size + place
            upper = counting(left_weight, read(corner, has_top & has_left, COMPUTE))
            upper += counting(right_weight, read(corner + 1, has_top & has_right, COMPUTE))
            lower = counting(left_weight, read(corner + width, has_bottom & has_left, COMPUTE))
            lower += counting(right_weight, read(corner + width + 1, has_bottom & has_right, COMPUTE))
            values = counting(top_weight, upper) + counting(bottom_weight, lower)
            if FILL != 0:
                values = coverage(read_x, width) * coverage(read_y, height) * (values - FILL) + FILL
            write(target + channel * size + pixel, values + broken, valid)


@triton.jit
@no_type_check
def warp_gradient(
    gradient, target, pixel, row, column, valid, size, kind, m, broken, height, width, given,
    FILL: tl.constexpr, NEAREST: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """The transpose of the resampling: all output pixels whose reading position is next to an input pixel."""
    a, b, s, c, d, t = matrix(kind, m, height, width, given, GIVEN)  # of the type of m: double for the nearest pixel
    u, v, middle_x, middle_y = from_centre(row, column, height, width)
    u, v = u - s, v - t
    determinant = a * d - b * c if GIVEN else a * 0 + 1
    # Positions within one pixel of (u, v) come from a parallelogram around its origin.
    reach_x, reach_y = (tl.abs(d) + tl.abs(b)) / tl.abs(determinant), (tl.abs(c) + tl.abs(a)) / tl.abs(determinant)
    first_x = tl.maximum(tl.floor((d * u - b * v) / determinant + middle_x - reach_x) + 1, 0)
    first_y = tl.maximum(tl.floor((a * v - c * u) / determinant + middle_y - reach_y) + 1, 0)
    red = tl.zeros(pixel.shape, COMPUTE)
    green, blue = red, red
    for down in range(tl.minimum(tl.ceil(2 * reach_y), height).to(tl.int32)):
        y = first_y + down
        for across in range(tl.minimum(tl.ceil(2 * reach_x), width).to(tl.int32)):
            x = first_x + across
            there = valid & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
            read_x = a * (x - middle_x) + b * (y - middle_y) + (s + middle_x)
            read_y = c * (x - middle_x) + d * (y - middle_y) + (t + middle_y)
            if NEAREST:
                hit = (nearest_pixel(read_x) == column) & (nearest_pixel(read_y) == row)
                weight = tl.where(hit, 1.0, 0.0).to(COMPUTE)
            else:
                weight = tl.maximum(1 - tl.abs(read_x - column), 0.0) * tl.maximum(1 - tl.abs(read_y - row), 0.0)
                if FILL != 0:
                    weight *= coverage(read_x, width) * coverage(read_y, height)
            place = gradient + place_of(y, x, width, there)
            there = there & (weight != 0)
            red += weight * read(place, there, COMPUTE)
            if CHANNELS == 3:
                green += weight * read(place + size, there, COMPUTE)
                blue += weight * read(place + 2 * size, there, COMPUTE)
    write(target + pixel, red + broken, valid)
    if CHANNELS == 3:
        write(target + size + pixel, green + broken, valid)
        write(target + 2 * size + pixel, blue + broken, valid)


@triton.jit
@no_type_check
def warp_slope(
    source, gradient, pixel, row, column, valid, size, kind, m, height, width, given,
    FILL: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """The magnitude's gradient of each pixel: how its value changes along its reading position's way."""
    a, b, s, c, d, t = matrix(kind, m, height, width, given, GIVEN)
    x, y, middle_x, middle_y = from_centre(row, column, height, width)
    read_x, read_y = a * x + b * y + (s + middle_x), c * x + d * y + (t + middle_y)
    a, b, s, c, d, t = matrix_slope(kind, m, height, width, given, GIVEN)
    move_x, move_y = a * x + b * y + s, c * x + d * y + t
    left, has_left, has_right, left_weight, right_weight = taps(read_x, width)
    top, has_top, has_bottom, top_weight, bottom_weight = taps(read_y, height)
    left_slope, right_slope = tl.where(has_left, -1.0, 0.0), tl.where(has_right, 1.0, 0.0)
    top_slope, bottom_slope = tl.where(has_top, -1.0, 0.0), tl.where(has_bottom, 1.0, 0.0)
    has_top, has_bottom = has_top & valid, has_bottom & valid
    place = place_of(top, left, width, (has_left | has_right) & (has_top | has_bottom))
    cover = (left_weight + right_weight) * (top_weight + bottom_weight)
    cover_move = move_x * (left_slope + right_slope) * (top_weight + bottom_weight)
    cover_move += move_y * (top_slope + bottom_slope) * (left_weight + right_weight)
    result = tl.zeros(pixel.shape, COMPUTE)
    for channel in tl.static_range(CHANNELS):
        corner = source + channel * size + place
        upper_left = read(corner, has_top & has_left, COMPUTE)
        upper_right = read(corner + 1, has_top & has_right, COMPUTE)
        lower_left = read(corner + width, has_bottom & has_left, COMPUTE)
        lower_right = read(corner + width + 1, has_bottom & has_right, COMPUTE)
        upper = left_weight * upper_left + right_weight * upper_right
        lower = left_weight * lower_left + right_weight * lower_right
        change = move_y * (top_slope * upper + bottom_slope * lower)
        change += move_x * top_weight * (left_slope * upper_left + right_slope * upper_right)
        change += move_x * bottom_weight * (left_slope * lower_left + right_slope * lower_right)
        if FILL != 0:
            change = cover * change + cover_move * (top_weight * upper + bottom_weight * lower - FILL)
        result += change * read(gradient + channel * size + pixel, valid, COMPUTE)
    return result
