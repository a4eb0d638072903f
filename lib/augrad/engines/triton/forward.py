"""The kernel of a stage: every image through its own operation, each pixel read and written once where that can be."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.blur import blurred_along
from augrad.engines.triton.hue import turn_hue
from augrad.engines.triton.kernel import kernel
from augrad.engines.triton.pixels import (
    AUTO_CONTRAST,
    BRIGHTNESS,
    COLOR,
    CONTRAST,
    CUTOUT,
    EQUALIZE,
    GAMMA,
    GAUSSIAN_BLUR,
    GAUSSIAN_NOISE,
    GRAYSCALE,
    HORIZONTAL_FLIP,
    HUE,
    INVERT,
    POSTERIZE,
    SAMPLE_PAIRING,
    SHARPNESS,
    SHEAR_X,
    SOLARIZE,
    SOLARIZE_ADD,
    STRAIGHT,
    VERTICAL_FLIP,
    WARP,
    clamp01,
    drawn_for,
    grey_level,
    level,
    level_of,
    luma,
    nearest,
    noise_of,
    posterized,
    range_of,
    read,
    tile_of,
    write,
    write_level,
)
from augrad.engines.triton.resampling import warp
from augrad.engines.triton.sharpness import sharpened
from augrad.engines.triton.statistics import contrast_mean


@triton.jit
@no_type_check
def affine(kind, strength, mean, white):
    """The colour map gain * x + grey * luma(x) + offset, of values from 0 to `white`."""
    gain = tl.where(kind == INVERT, -1.0, tl.where(kind == GRAYSCALE, 0.0, 1 + strength))
    grey = tl.where(kind == COLOR, -strength, tl.where(kind == GRAYSCALE, 1.0, 0.0))
    offset = tl.where(kind == INVERT, white, tl.where(kind == CONTRAST, -strength * mean, 0.0))
    return gain, grey, offset


@triton.jit
@no_type_check
def colour_of(kind, pointers, mask, COMPUTE: tl.constexpr):
    """What `affine` takes the gain of: nothing is multiplied by 0 that may not be finite."""
    return tl.where(kind == GRAYSCALE, 0.0, read(pointers, mask, COMPUTE))


@triton.jit
@no_type_check
def grey_of(kind, pointers, size, mask, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr):
    """The same for the grey value."""
    return tl.where((kind == COLOR) | (kind == GRAYSCALE), luma(pointers, size, mask, CHANNELS, COMPUTE), 0.0)


@triton.jit
@no_type_check
def gamma_gain(values, strength):
    """What `augrad.ops.gamma` multiplies by."""
    base = tl.where(values < STRAIGHT, STRAIGHT, tl.where(values > 2, 2.0, values))
    return tl.exp((tl.exp(strength) - 1) * tl.log(base))


@triton.jit
@no_type_check
def inside_square(row, column, magnitude, draw, draw_step, height, width):
    """`augrad.ops.cutout`: half the side, and the distances from the centre along both axes."""
    half = magnitude * (tl.minimum(height, width) / 2)
    vertical = tl.abs(row + 0.5 - tl.load(draw).to(magnitude.dtype) * height)
    horizontal = tl.abs(column + 0.5 - tl.load(draw + draw_step).to(magnitude.dtype) * width)
    return half, vertical, horizontal


@kernel
@no_type_check
def stage_kernel(
    images,
    output,
    chosen,
    kinds,
    magnitude,
    magnitude_stride,
    draw,
    draw_stride,
    draw_step,
    others,
    partner,
    matrices,
    statistics,
    curves,
    blurred,
    height,
    width,
    tiles,
    splits,
    FILL: tl.constexpr,
    NEAREST: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    SPLITS: tl.constexpr,
    COMPUTE: tl.constexpr,
    GIVEN: tl.constexpr,
):
    """images, output, others [B, C, H, W], contiguous; a program for each tile of BLOCK pixels of each image.

    chosen [B]: index of the operation, -1 for none; kinds: the kind of none and then of each operation. magnitude [B],
    draw [B, D], with strides. partner [B]: index into `others`. matrices [B, 12], if GIVEN: see `matrix` and
    `matrix_slope`. statistics, curves, blurred: what the kernels before have left (see `launch`). A kind of 0 copies.
    """
    image, pixel, row, column, valid = tile_of(tiles, height, width, BLOCK)
    size = height * width
    kind, m, exact, broken = drawn_for(image, chosen, kinds, magnitude, magnitude_stride, COMPUTE)
    source = images + image * CHANNELS * size
    target = output + image * CHANNELS * size
    draw += image * draw_stride

    if (kind >= SHEAR_X) & (kind <= WARP):
        warp(
            source, target, pixel, row, column, valid, size, kind, exact if NEAREST else m, broken, height, width,
            matrices + image * 12, FILL, NEAREST, CHANNELS, COMPUTE, GIVEN,
        )  # fmt: skip
    elif (kind >= BRIGHTNESS) & (kind <= GRAYSCALE):
        mean = m * 0
        if kind == CONTRAST:
            mean = contrast_mean(
                statistics, image, size, splits, CHANNELS, SPLITS, source.dtype.element_ty == tl.uint8
            ).to(COMPUTE)
        if source.dtype.element_ty == tl.uint8:  # as `augrad.ops.levels`
            gain, grey, offset = affine(kind, m, mean, 255.0)
            shift = grey_level(source + pixel, size, valid, CHANNELS) * grey + offset
            if (CHANNELS == 1) & ((kind == COLOR) | (kind == GRAYSCALE)):
                gain, shift = gain * 0 + 1, shift * 0
            for channel in tl.static_range(CHANNELS):
                levels = level(source + channel * size + pixel, valid) * gain + shift
                write_level(target + channel * size + pixel, levels, valid)
        else:
            gain, grey, offset = affine(kind, m, mean, 1.0)
            shift = grey_of(kind, source + pixel, size, valid, CHANNELS, COMPUTE) * grey + offset
            for channel in tl.static_range(CHANNELS):
                values = colour_of(kind, source + channel * size + pixel, valid, COMPUTE)
                write(target + channel * size + pixel, clamp01(gain * values + shift) + broken, valid)
    elif (kind == SHARPNESS) | (kind == GAUSSIAN_BLUR):
        if kind == SHARPNESS:
            for channel in tl.static_range(CHANNELS):
                values = sharpened(source + channel * size, row, column, height, width, valid, m, COMPUTE)
                write(target + channel * size + pixel, clamp01(values) + broken, valid)
        else:
            for channel in tl.static_range(CHANNELS):
                across = blurred + (image * CHANNELS + channel) * size + column
                values = blurred_along(across, row, height, width, valid, m, COMPUTE)
                write(target + channel * size + pixel, values + broken, valid)
    elif kind == HUE:
        if CHANNELS == 3:
            turn_hue(source, target, pixel, size, valid, m, broken, COMPUTE)
    else:
        place = pixel
        if kind == HORIZONTAL_FLIP:
            place = row * width + (width - 1 - column)
        elif kind == VERTICAL_FLIP:
            place = (height - 1 - row) * width + column
        for channel in tl.static_range(CHANNELS):
            values = read(source + channel * size + place, valid, COMPUTE)
            if kind == AUTO_CONTRAST:
                lowest, highest = range_of(statistics, (image * CHANNELS + channel) * 3 + 1, splits, SPLITS)
                spread = (highest - lowest).to(COMPUTE)
                if source.dtype.element_ty == tl.uint8:
                    if spread > 0:  # as `augrad.ops.levels`
                        whole = nearest((values - lowest.to(COMPUTE)) * 255)
                        stretched = tl.div_rn(whole, nearest(spread * 255) * (1 / 255))
                        values = tl.floor(tl.minimum(stretched, 255.0)) / 255
                elif spread != 0:  # NaN, too
                    values = clamp01((values - lowest.to(COMPUTE)) / spread)
            elif kind == EQUALIZE:
                curve = curves + (image * CHANNELS + channel) * 256
                levelled = tl.load(curve + level_of(values), mask=valid, other=0.0).to(COMPUTE)
                values = tl.where(levelled < 0, values, levelled)
            elif kind == SOLARIZE:
                values = tl.where(values >= m, tl.where(m < 1, 1 - values, values), values)
            elif kind == SOLARIZE_ADD:
                values = tl.where(values < 0.5, clamp01(values + m), values)
            elif kind == POSTERIZE:
                values = posterized(values, tl.minimum(tl.maximum(nearest(m), 1), 8))
            elif kind == GAMMA:
                values = values * gamma_gain(values, m)
            elif kind == GAUSSIAN_NOISE:
                values = clamp01(values + m * noise_of(draw, channel * size + pixel, values))
            elif kind == CUTOUT:
                half, vertical, horizontal = inside_square(row, column, m, draw, draw_step, height, width)
                values = tl.where((vertical < half) & (horizontal < half), FILL, values)
            elif kind == SAMPLE_PAIRING:
                other = others + (tl.load(partner + image) * CHANNELS + channel) * size + pixel
                values = clamp01(values + m * (read(other, valid, COMPUTE) - values))
            write(target + channel * size + pixel, values + broken, valid)
