"""Pieces that the kernels share: a program's pixels, what their image drew, reading and writing, small formulas."""

from typing import no_type_check  # the shape checks of the tests wrap functions, and a kernel must not be wrapped

import triton.language as tl

import triton
from augrad.engines.triton.kinds import KINDS
from augrad.ops.color import LUMA, SOLARIZE_WINDOW, TOE
from augrad.ops.counter import APART, FACTORS

SHEAR_X = tl.constexpr(KINDS["shear_x"])
SHEAR_Y = tl.constexpr(KINDS["shear_y"])
TRANSLATE_X = tl.constexpr(KINDS["translate_x"])
TRANSLATE_Y = tl.constexpr(KINDS["translate_y"])
ROTATE = tl.constexpr(KINDS["rotate"])
WARP = tl.constexpr(KINDS["warp"])
HORIZONTAL_FLIP = tl.constexpr(KINDS["horizontal_flip"])
VERTICAL_FLIP = tl.constexpr(KINDS["vertical_flip"])
BRIGHTNESS = tl.constexpr(KINDS["brightness"])
COLOR = tl.constexpr(KINDS["color"])
CONTRAST = tl.constexpr(KINDS["contrast"])
INVERT = tl.constexpr(KINDS["invert"])
GRAYSCALE = tl.constexpr(KINDS["grayscale"])
HUE = tl.constexpr(KINDS["hue"])
AUTO_CONTRAST = tl.constexpr(KINDS["auto_contrast"])
EQUALIZE = tl.constexpr(KINDS["equalize"])
SOLARIZE = tl.constexpr(KINDS["solarize"])
SOLARIZE_ADD = tl.constexpr(KINDS["solarize_add"])
POSTERIZE = tl.constexpr(KINDS["posterize"])
GAMMA = tl.constexpr(KINDS["gamma"])
CUTOUT = tl.constexpr(KINDS["cutout"])
SAMPLE_PAIRING = tl.constexpr(KINDS["sample_pairing"])
GAUSSIAN_NOISE = tl.constexpr(KINDS["gaussian_noise"])
SHARPNESS = tl.constexpr(KINDS["sharpness"])
GAUSSIAN_BLUR = tl.constexpr(KINDS["gaussian_blur"])

RED = tl.constexpr(LUMA[0])
GREEN = tl.constexpr(LUMA[1])
BLUE = tl.constexpr(LUMA[2])
WINDOW = tl.constexpr(SOLARIZE_WINDOW)
STRAIGHT = tl.constexpr(TOE)
SEED_APART = tl.constexpr(APART[0])
PLACE_APART = tl.constexpr(APART[1])
FACTOR = tl.constexpr(FACTORS[0])
SECOND_FACTOR = tl.constexpr(FACTORS[1])


@triton.jit
@no_type_check
def tile_of(tiles, height, width, BLOCK: tl.constexpr):
    """The image of a program, and its pixels: their place, row and column, and whether there is such a pixel."""
    program = tl.program_id(0)
    pixel = (program % tiles) * BLOCK + tl.arange(0, BLOCK)
    return (program // tiles).to(tl.int64), pixel, pixel // width, pixel % width, pixel < height * width


@triton.jit
@no_type_check
def read(pointers, mask, COMPUTE: tl.constexpr):
    """Values as numbers in [0, 1] of the type that is computed in; 0 where `mask` is False."""
    values = tl.load(pointers, mask=mask, other=0)
    result = values.to(COMPUTE)
    if values.dtype == tl.uint8:
        result = tl.div_rn(result, 255.0)
    return result


@triton.jit
@no_type_check
def nearest(values):
    """The nearest whole number, halves to the even one."""
    below = tl.floor(values)
    rest = values - below
    odd = below - 2 * tl.floor(below * 0.5)
    return tl.where(rest == 0.5, below + odd, tl.where(rest > 0.5, below + 1, below))


@triton.jit
@no_type_check
def write(pointers, values, mask):
    """8 bits become the nearest level."""
    if pointers.dtype.element_ty == tl.uint8:
        tl.store(pointers, nearest(values * 255).to(tl.uint8), mask=mask)
    else:
        tl.store(pointers, values.to(pointers.dtype.element_ty), mask=mask)


@triton.jit
@no_type_check
def clamp01(values):
    """NaN stays."""
    return tl.where(values < 0, 0.0, tl.where(values > 1, 1.0, values))


@triton.jit
@no_type_check
def passes(values):
    """Whether clamping to [0, 1] lets the gradient through: also that of NaN."""
    return ((values < 0) | (values > 1)) == 0


@triton.jit
@no_type_check
def is_finite(values):
    return tl.abs(values) < float("inf")


@triton.jit
@no_type_check
def lost(kind, magnitude):
    """To add to what is computed: NaN where an operation that has a magnitude was given NaN or infinity, else 0."""
    ignored = (kind == HORIZONTAL_FLIP) | (kind == VERTICAL_FLIP) | (kind == GRAYSCALE) | (kind == INVERT)
    ignored = ignored | (kind == AUTO_CONTRAST) | (kind == EQUALIZE) | (kind == 0)
    return tl.where(ignored | is_finite(magnitude), 0.0, float("nan")).to(magnitude.dtype)


@triton.jit
@no_type_check
def drawn_for(image, chosen, kinds, magnitude, magnitude_stride, COMPUTE: tl.constexpr):
    """The kind of an image's operation, its magnitude (0 where that is not finite) in the type that is computed in and
    in double precision, and what `lost` says."""
    kind = tl.load(kinds + tl.load(chosen + image) + 1)
    exact = tl.load(magnitude + image * magnitude_stride).to(tl.float64)
    m = exact.to(COMPUTE)
    broken = lost(kind, m)
    exact = tl.where(is_finite(m), exact, 0.0)
    return kind, tl.where(is_finite(m), m, 0.0), exact, broken


@triton.jit
@no_type_check
def luma_weight(channel: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr):
    """In the type that is computed in: older versions of Triton return plain numbers in single precision."""
    weight: tl.constexpr = 1.0 if CHANNELS == 1 else (RED if channel == 0 else (GREEN if channel == 1 else BLUE))
    return tl.full((), weight, COMPUTE)


@triton.jit
@no_type_check
def luma(pointers, size, mask, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr):
    """Grey value; pointers: of the first channel."""
    grey = read(pointers, mask, COMPUTE)
    if CHANNELS == 3:
        grey = (
            RED * grey + GREEN * read(pointers + size, mask, COMPUTE) + BLUE * read(pointers + 2 * size, mask, COMPUTE)
        )
    return grey


@triton.jit
@no_type_check
def level(pointers, mask):
    """The level, 0 to 255, of 8-bit pixels."""
    return tl.load(pointers, mask=mask, other=0).to(tl.float32)


@triton.jit
@no_type_check
def write_level(pointers, levels, mask):
    """The levels, rounded down."""
    tl.store(pointers, tl.floor(tl.minimum(tl.maximum(levels, 0.0), 255.0)).to(tl.uint8), mask=mask)


@triton.jit
@no_type_check
def grey_level(pointers, size, mask, CHANNELS: tl.constexpr):
    """As in `augrad.ops.levels`; pointers: of the first channel."""
    red = level(pointers, mask)
    if CHANNELS == 3:
        green, blue = level(pointers + size, mask), level(pointers + 2 * size, mask)
        grey = tl.floor(red * RED + green * GREEN + blue * BLUE)
        red = tl.where((red == green) & (green == blue), red, grey)
    return red


@triton.jit
@no_type_check
def level_of(values):
    """The nearest of 256 levels; 0 for NaN."""
    levels = tl.minimum(tl.maximum(nearest(tl.where(values == values, values, 0.0) * 255), 0), 255)
    return levels.to(tl.int32)


@triton.jit
@no_type_check
def posterized(values, bits):
    """`bits`: a whole number."""
    step = (1 << (8 - bits.to(tl.int32))).to(values.dtype)
    return tl.floor(nearest(values * 255) / step) * step / 255


@triton.jit
@no_type_check
def scrambled(word):
    """As in `augrad.ops.counter`: words of 32 bits, in 64."""
    word = (word ^ (word >> 16)) * FACTOR & 0xFFFFFFFF
    word = (word ^ (word >> 15)) * SECOND_FACTOR & 0xFFFFFFFF
    return word ^ (word >> 15)


@triton.jit
@no_type_check
def uniform_of(key, place, like):
    """The number in [0, 1) of a seed's key and a place in its sequence, in the type of `like`."""
    word = scrambled(key ^ scrambled(place.to(tl.int64) + PLACE_APART & 0xFFFFFFFF))
    return (scrambled(word + key & 0xFFFFFFFF) >> 8).to(like.dtype) * 0.000000059604644775390625


@triton.jit
@no_type_check
def noise_of(draw, place, like):
    """The standard normal number of each place, in the type of `like`: see `augrad.ops.noise`."""
    key = scrambled((tl.load(draw).to(tl.float64) * 16777216).to(tl.int64) + SEED_APART & 0xFFFFFFFF)
    odd = place % 2
    length = tl.sqrt(-2 * tl.log(1 - uniform_of(key, place - odd, like)))
    angle = uniform_of(key, place - odd + 1, like) * 6.283185307179586
    return length * tl.where(odd == 0, tl.cos(angle), tl.sin(angle))


@triton.jit
@no_type_check
def total_of(partials, index, splits, SPLITS: tl.constexpr):
    """Sum of a row of partial results."""
    part = tl.arange(0, SPLITS)
    return tl.sum(tl.load(partials + index * splits + part, mask=part < splits, other=0.0))


@triton.jit
@no_type_check
def range_of(partials, index, splits, SPLITS: tl.constexpr):
    """The least and the greatest value of a channel of an image, from the partial results at `index` and the next.

    Both are NaN where the sum of the channel, before them, is: comparisons pass over NaN.
    """
    part = tl.arange(0, SPLITS)
    total = total_of(partials, index - 1, splits, SPLITS)
    lowest = tl.min(tl.load(partials + index * splits + part, mask=part < splits, other=float("inf")))
    highest = tl.max(tl.load(partials + (index + 1) * splits + part, mask=part < splits, other=float("-inf")))
    return tl.where(total == total, lowest, total), tl.where(total == total, highest, total)
