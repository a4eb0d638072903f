"""The kernel of a stage: every image through its own operation, each pixel read and written once where that can be."""

from typing import no_type_check

import triton.language as tl

import triton
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
    RADIUS,
    SAMPLE_PAIRING,
    SHARPNESS,
    SHEAR_X,
    SOLARIZE,
    SOLARIZE_ADD,
    STRAIGHT,
    VERTICAL_FLIP,
    WARP,
    blur_scale,
    blur_weight,
    clamp01,
    counting,
    coverage,
    grey_level,
    is_finite,
    level,
    level_of,
    lost,
    luma,
    matrix,
    nearest,
    nearest_pixel,
    noise_of,
    place_of,
    posterized,
    range_of,
    read,
    reflected,
    taps,
    write,
    write_level,
)
from augrad.engines.triton.statistics import contrast_mean


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
def affine(kind, strength, mean):
    """The colour map gain * x + grey * luma(x) + offset."""
    gain = tl.where(kind == INVERT, -1.0, tl.where(kind == GRAYSCALE, 0.0, 1 + strength))
    grey = tl.where(kind == COLOR, -strength, tl.where(kind == GRAYSCALE, 1.0, 0.0))
    offset = tl.where(kind == INVERT, 1.0, tl.where(kind == CONTRAST, -strength * mean, 0.0))
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
def hue_position(red, green, blue):
    """Highest value, spread, a divisor that is not 0, the position on the wheel before and after its third's offset."""
    highest = tl.maximum(tl.maximum(red, green), blue)
    missing = (red != red) | (green != green) | (blue != blue)
    highest = tl.where(missing, float("nan"), highest)  # comparisons pass over it
    spread = highest - tl.minimum(tl.minimum(red, green), blue)
    divisor = tl.where(spread > 1e-20, spread, 1.0)
    is_red, is_green = highest == red, highest == green
    part = tl.where(is_red, green - blue, tl.where(is_green, blue - red, red - green)) / divisor
    return highest, spread, divisor, part, part + tl.where(is_red, 0.0, tl.where(is_green, 2.0, 4.0))


@triton.jit
@no_type_check
def hue_wheel(position, magnitude, offset: tl.constexpr):
    """Distance k along the wheel, in [0, 6), for the channel with this offset."""
    turned = position + 6 * magnitude + offset
    k = turned - 6 * tl.floor(turned / 6)
    return tl.where(k >= 6, 0.0, k)  # a tiny negative number rounds up to 6


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
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    size = height * width
    pixel = (program % tiles) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < size
    kind = tl.load(kinds + tl.load(chosen + image) + 1)
    m = tl.load(magnitude + image * magnitude_stride).to(COMPUTE)
    broken = lost(kind, m)
    exact = tl.where(is_finite(m), tl.load(magnitude + image * magnitude_stride).to(tl.float64), 0.0)
    m = tl.where(is_finite(m), m, 0.0)
    source = images + image * CHANNELS * size
    target = output + image * CHANNELS * size
    draw += image * draw_stride
    row, column = pixel // width, pixel % width

    if (kind >= SHEAR_X) & (kind <= WARP):
        # The nearest pixel in double precision, as everywhere: rounding must not decide which one it is.
        a, b, s, c, d, t = matrix(kind, exact if NEAREST else m, height, width, matrices + image * 12, GIVEN)
        middle_x, middle_y = (width - 1) * 0.5, (height - 1) * 0.5
        x, y = column - middle_x, row - middle_y
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
    elif (kind >= BRIGHTNESS) & (kind <= GRAYSCALE):
        mean = m * 0
        if kind == CONTRAST:
            mean = contrast_mean(
                statistics, image, size, splits, CHANNELS, SPLITS, source.dtype.element_ty == tl.uint8
            ).to(COMPUTE)
        if source.dtype.element_ty == tl.uint8:  # as `augrad.ops.levels`
            gain = tl.where(kind == GRAYSCALE, 0.0, tl.where(kind == INVERT, -1.0, 1 + m))
            other = tl.where(kind == INVERT, 255.0, tl.where(kind == CONTRAST, -m * mean, 0.0))
            share = tl.where(kind == GRAYSCALE, 1.0, tl.where(kind == COLOR, -m, 0.0))
            shift = grey_level(source + pixel, size, valid, CHANNELS) * share + other
            if (CHANNELS == 1) & ((kind == COLOR) | (kind == GRAYSCALE)):
                gain, shift = gain * 0 + 1, shift * 0
            for channel in tl.static_range(CHANNELS):
                levels = level(source + channel * size + pixel, valid) * gain + shift
                write_level(target + channel * size + pixel, levels, valid)
        else:
            gain, grey, offset = affine(kind, m, mean)
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
            sigma, weights, slope = blur_scale(m)
            for channel in tl.static_range(CHANNELS):
                total = tl.zeros([BLOCK], COMPUTE)
                across = blurred + (image * CHANNELS + channel) * size + column
                for step in range(-RADIUS, RADIUS + 1):
                    weight, _ = blur_weight(step, sigma, weights, slope)
                    total += weight * tl.load(across + reflected(row + step, height) * width, mask=valid, other=0.0)
                write(target + channel * size + pixel, total + broken, valid)
    elif kind == HUE:
        if CHANNELS == 3:
            red, green = read(source + pixel, valid, COMPUTE), read(source + size + pixel, valid, COMPUTE)
            blue = read(source + 2 * size + pixel, valid, COMPUTE)
            highest, spread, _, _, position = hue_position(red, green, blue)
            for channel in tl.static_range(3):
                k = hue_wheel(position, m, 5 - 2 * channel)
                values = highest - spread * clamp01(tl.minimum(k, 4 - k))
                write(target + channel * size + pixel, values + broken, valid)
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
