"""Pieces that the kernels share: reading and writing pixels, positions, the formulas of single operations."""

from typing import no_type_check  # the shape checks of the tests wrap functions, and a kernel must not be wrapped

import triton.language as tl

import triton
from augrad.engines.triton.kinds import KINDS
from augrad.ops.color import LUMA, SOLARIZE_WINDOW, TOE
from augrad.ops.counter import APART, FACTORS
from augrad.ops.filters import BLUR_RADIUS
from augrad.ops.geometric import COUNTS, HALFWAY

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
COUNT = tl.constexpr(COUNTS)
TIE = tl.constexpr(HALFWAY)
RADIUS = tl.constexpr(BLUR_RADIUS)
DEGREE = tl.constexpr(0.017453292519943295)


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
def counting(weight, values):
    """weight * values, but 0 for what is not finite and does not count (`augrad.ops.geometric.COUNTS`)."""
    return tl.where((weight > COUNT) | is_finite(values), weight * values, 0.0)


@triton.jit
@no_type_check
def lost(kind, magnitude):
    """To add to what is computed: NaN where an operation that has a magnitude was given NaN or infinity, else 0."""
    ignored = (kind == HORIZONTAL_FLIP) | (kind == VERTICAL_FLIP) | (kind == GRAYSCALE) | (kind == INVERT)
    ignored = ignored | (kind == AUTO_CONTRAST) | (kind == EQUALIZE) | (kind == 0)
    return tl.where(ignored | is_finite(magnitude), 0.0, float("nan")).to(magnitude.dtype)


@triton.jit
@no_type_check
def nearest_pixel(position):
    """The rule of `augrad.ops.geometric`."""
    return tl.floor(position + (0.5 + TIE))


@triton.jit
@no_type_check
def luma_weight(channel: tl.constexpr, CHANNELS: tl.constexpr):
    weight: tl.constexpr = 1.0 if CHANNELS == 1 else (RED if channel == 0 else (GREEN if channel == 1 else BLUE))
    return weight


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
def reflected(position, count):
    """Positions from -RADIUS to count + RADIUS - 1, reflected at the centres of the outermost pixels."""
    period = tl.maximum(2 * (count - 1), 1)
    position = (position + 2 * RADIUS * period) % period
    return tl.minimum(tl.minimum(position, period - position), count - 1)


@triton.jit
@no_type_check
def blur_scale(magnitude):
    """The standard deviation, and the sum of the weights exp(-distance^2 / 2 sigma^2) with its slope."""
    sigma = tl.maximum(magnitude, 0.025)
    total, slope = sigma * 0 + 1, sigma * 0
    for distance in tl.static_range(1, RADIUS + 1):
        weight = tl.exp(-0.5 * (distance / sigma) * (distance / sigma))
        total += 2 * weight
        slope += 2 * weight * (distance * distance) / (sigma * sigma * sigma)
    return sigma, total, slope


@triton.jit
@no_type_check
def blur_weight(distance, sigma, total, slope):
    """Weight at a `distance` (a whole number), and its derivative by the standard deviation."""
    size = sigma * 0 + distance
    weight = tl.exp(-0.5 * (size / sigma) * (size / sigma))
    weight_slope = weight * (size * size) / (sigma * sigma * sigma)
    weight = weight / total
    return weight, (weight_slope - weight * slope) / total


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
