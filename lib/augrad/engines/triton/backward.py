"""The gradient of `stage_kernel`: to the images, and one number for each tile to its image's magnitude.

Every gradient is gathered: a program reads the gradients that its own pixels contribute to, so that nothing is added
up in an order that changes. The formulas are the derivatives that the functions of `augrad.ops` document.
"""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.blur import blur_gradient_along
from augrad.engines.triton.forward import affine, colour_of, gamma_gain, grey_of, inside_square
from augrad.engines.triton.hue import hue_gradient
from augrad.engines.triton.kernel import kernel
from augrad.engines.triton.pixels import (
    AUTO_CONTRAST,
    BRIGHTNESS,
    COLOR,
    CONTRAST,
    CUTOUT,
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
    WINDOW,
    clamp01,
    drawn_for,
    luma_weight,
    nearest,
    noise_of,
    passes,
    posterized,
    range_of,
    read,
    tile_of,
    total_of,
    write,
)
from augrad.engines.triton.resampling import warp_gradient, warp_slope
from augrad.engines.triton.sharpness import sharpness_gradient
from augrad.engines.triton.statistics import contrast_mean


@triton.jit
@no_type_check
def edge_slope(values):
    """The derivative of clamping to [0, 1]; at both ends the mean of both sides."""
    return tl.where((values > 0) & (values < 1), 1.0, tl.where((values == 0) | (values == 1), 0.5, 0.0))


@triton.jit
@no_type_check
def let_through(kind, source, gradient, place, valid, gain, shift, COMPUTE: tl.constexpr):
    """The values that a colour map takes the gain of, and what its clamp lets through of their gradient."""
    values = colour_of(kind, source + place, valid, COMPUTE)
    own = read(gradient + place, valid, COMPUTE)
    return values, tl.where(passes(gain * values + shift), own, 0.0)


@kernel
@no_type_check
def stage_gradient_kernel(
    images,
    gradient,
    image_gradient,
    slopes,
    chosen,
    kinds,
    magnitude,
    magnitude_stride,
    draw,
    draw_stride,
    draw_step,
    others,
    partner,
    other_gradient,
    matrices,
    statistics,
    sums,
    blurred,
    blur_gradient,
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
    IMAGES: tl.constexpr,
    MAGNITUDES: tl.constexpr,
    OTHERS: tl.constexpr,
    GIVEN: tl.constexpr,
):
    """gradient, image_gradient (where IMAGES) [B, C, H, W], contiguous. slopes [B, tiles]: the magnitude's gradient.

    other_gradient [B, C, H, W], where OTHERS: what goes to each image's partner. blur_gradient [B, C, H, W]: the
    gradient of `blurred`, from which the kernel after this one makes the images'. The rest is as in `stage_kernel`.
    """
    image, pixel, row, column, valid = tile_of(tiles, height, width, BLOCK)
    size = height * width
    kind, m, exact, broken = drawn_for(image, chosen, kinds, magnitude, magnitude_stride, COMPUTE)
    source = images + image * CHANNELS * size
    gradient += image * CHANNELS * size
    target = image_gradient + image * CHANNELS * size
    draw += image * draw_stride
    slope = tl.zeros([BLOCK], COMPUTE)
    if OTHERS:  # noqa: SIM102  (known when the kernel is compiled, unlike the kind)
        if kind != SAMPLE_PAIRING:
            for channel in tl.static_range(CHANNELS):
                plane = (image * CHANNELS + channel) * size
                write(other_gradient + plane + pixel, slope, valid)

    if (kind >= SHEAR_X) & (kind <= WARP):
        if IMAGES:
            warp_gradient(
                gradient, target, pixel, row, column, valid, size, kind, exact if NEAREST else m, broken, height, width,
                matrices + image * 12, FILL, NEAREST, CHANNELS, COMPUTE, GIVEN,
            )  # fmt: skip
        if MAGNITUDES and not NEAREST:
            slope = warp_slope(
                source, gradient, pixel, row, column, valid, size, kind, m, height, width, matrices + image * 12,
                FILL, CHANNELS, COMPUTE, GIVEN,
            )  # fmt: skip
    elif (kind >= BRIGHTNESS) & (kind <= GRAYSCALE):
        mean = m * 0
        by_mean = m * 0
        if kind == CONTRAST:
            mean = contrast_mean(statistics, image, size, splits, CHANNELS, SPLITS).to(COMPUTE)
            for channel in tl.static_range(CHANNELS):
                by_mean -= m * total_of(sums, (image * CHANNELS + channel) * 4, splits, SPLITS).to(COMPUTE) / size
        gain, grey, offset = affine(kind, m, mean, 1.0)
        level = grey_of(kind, source + pixel, size, valid, CHANNELS, COMPUTE)
        shift, shared = grey * level + offset, slope
        middle = tl.where(kind == COLOR, level, mean)
        for channel in tl.static_range(CHANNELS):
            values, own = let_through(kind, source, gradient, channel * size + pixel, valid, gain, shift, COMPUTE)
            shared += own
            slope += own * (values - middle)
        if (kind == INVERT) | (kind == GRAYSCALE):
            slope = tl.zeros([BLOCK], COMPUTE)
        shared = grey * shared + tl.where(valid, by_mean, 0.0)
        for channel in tl.static_range(CHANNELS if IMAGES else 0):
            _, own = let_through(kind, source, gradient, channel * size + pixel, valid, gain, shift, COMPUTE)
            moved = gain * own + luma_weight(channel, CHANNELS, COMPUTE) * shared
            write(target + channel * size + pixel, moved + broken, valid)
    elif (kind == SHARPNESS) | (kind == GAUSSIAN_BLUR):
        if kind == SHARPNESS:
            for channel in tl.static_range(CHANNELS):
                slope += sharpness_gradient(
                    source + channel * size, gradient + channel * size, target + channel * size,
                    pixel, row, column, valid, height, width, m, broken, COMPUTE, IMAGES,
                )  # fmt: skip
        else:
            for channel in tl.static_range(CHANNELS):
                plane = (image * CHANNELS + channel) * size
                total, change = blur_gradient_along(
                    blurred + plane + column, gradient + channel * size + column, row, height, width, valid, m, COMPUTE
                )
                tl.store(blur_gradient + plane + pixel, total, mask=valid)
                slope += change
    elif kind == HUE:
        if CHANNELS == 3:
            slope = hue_gradient(source, gradient, target, pixel, size, valid, m, broken, COMPUTE, IMAGES)
    else:
        place = pixel
        if kind == HORIZONTAL_FLIP:
            place = row * width + (width - 1 - column)
        elif kind == VERTICAL_FLIP:
            place = (height - 1 - row) * width + column
        for channel in tl.static_range(CHANNELS):
            own = read(gradient + channel * size + place, valid, COMPUTE)
            values = read(source + channel * size + pixel, valid, COMPUTE)
            if kind == AUTO_CONTRAST:
                plane = image * CHANNELS + channel
                lowest, highest = range_of(statistics, plane * 3 + 1, splits, SPLITS)
                if highest != lowest:  # NaN, too
                    by_lowest = total_of(sums, plane * 4, splits, SPLITS)
                    by_lowest /= total_of(sums, plane * 4 + 2, splits, SPLITS)
                    by_highest = total_of(sums, plane * 4 + 1, splits, SPLITS)
                    by_highest /= total_of(sums, plane * 4 + 3, splits, SPLITS)
                    own = own / (highest - lowest) + (by_lowest + by_highest) * 0  # NaN where the range is infinite
                    own += tl.where(values == lowest, by_lowest, 0.0) + tl.where(values == highest, by_highest, 0.0)
            elif kind == SOLARIZE:
                near = tl.abs(values - m) <= WINDOW
                slope += tl.where(near, own * (2 * values - 1) / (2 * WINDOW), 0.0)
                own = tl.where(values >= m, tl.where(m < 1, -own, own), own)
            elif kind == SOLARIZE_ADD:
                dark = values < 0.5
                own = tl.where(dark & (passes(values + m) == 0), 0.0, own)
                slope += tl.where(dark, own, 0.0)
            elif kind == POSTERIZE:
                bits = tl.minimum(tl.maximum(nearest(m), 1), 8)
                above, below = tl.minimum(bits + 1, 8), tl.maximum(bits - 1, 1)
                slope += own * (posterized(values, above) - posterized(values, below)) / (above - below)
            elif kind == GAMMA:
                gain = gamma_gain(values, m)
                base = tl.where(values < STRAIGHT, STRAIGHT, tl.where(values > 2, 2.0, values))
                slope += own * values * gain * tl.log(base) * tl.exp(m)
                own = own * gain * tl.where((values < STRAIGHT) | (values > 2), 1.0, tl.exp(m))
            elif kind == GAUSSIAN_NOISE:
                noise = noise_of(draw, channel * size + pixel, values)
                own = tl.where(passes(values + m * noise), own, 0.0)
                slope += own * noise
            elif kind == CUTOUT:
                half, vertical, horizontal = inside_square(row, column, m, draw, draw_step, height, width)
                down, across = half - vertical + 0.5, half - horizontal + 0.5
                edge = edge_slope(down) * clamp01(across) + edge_slope(across) * clamp01(down)
                slope += own * (FILL - values) * edge * (tl.minimum(height, width) / 2)
                own = tl.where((vertical < half) & (horizontal < half), 0.0, own)
            elif kind == SAMPLE_PAIRING:
                other = read(others + (tl.load(partner + image) * CHANNELS + channel) * size + pixel, valid, COMPUTE)
                own = tl.where(passes(values + m * (other - values)), own, 0.0)
                slope += own * (other - values)
                if OTHERS:
                    write(other_gradient + (image * CHANNELS + channel) * size + pixel, m * own, valid)
                own = (1 - m) * own
            if IMAGES:
                write(target + channel * size + pixel, own + broken, valid)
    if MAGNITUDES:
        tl.store(slopes + tl.program_id(0), tl.sum(slope) + broken)
