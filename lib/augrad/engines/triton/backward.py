"""The gradient of `stage_kernel`: to the images, and one number for each tile to its image's magnitude.

Every gradient is gathered: a program reads the gradients that its own pixels contribute to, so that nothing is added
up in an order that changes. The formulas are the derivatives that the functions of `augrad.ops` document.
"""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.blur import transposed_weight
from augrad.engines.triton.forward import (
    affine,
    colour_of,
    gamma_gain,
    grey_of,
    hue_position,
    hue_wheel,
    inside_square,
    sharpened,
)
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
    RADIUS,
    SAMPLE_PAIRING,
    SHARPNESS,
    SHEAR_X,
    SOLARIZE,
    SOLARIZE_ADD,
    STRAIGHT,
    VERTICAL_FLIP,
    WARP,
    WINDOW,
    blur_scale,
    blur_weight,
    clamp01,
    coverage,
    is_finite,
    lost,
    luma_weight,
    matrix,
    matrix_slope,
    nearest,
    nearest_pixel,
    noise_of,
    passes,
    place_of,
    posterized,
    range_of,
    read,
    reflected,
    taps,
    total_of,
    write,
)
from augrad.engines.triton.statistics import contrast_mean


@triton.jit
@no_type_check
def warp_gradient(
    gradient, target, pixel, row, column, valid, size, kind, m, broken, height, width, given,
    FILL: tl.constexpr, NEAREST: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """The transpose of the resampling: all output pixels whose reading position is next to an input pixel."""
    a, b, s, c, d, t = matrix(kind, m, height, width, given, GIVEN)  # of the type of m: double for the nearest pixel
    middle_x, middle_y = (width - 1) * 0.5, (height - 1) * 0.5
    u, v = column - middle_x - s, row - middle_y - t
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
    middle_x, middle_y = (width - 1) * 0.5, (height - 1) * 0.5
    x, y = column - middle_x, row - middle_y
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


@triton.jit
@no_type_check
def hue_gradient(source, gradient, target, pixel, size, valid, m, broken, COMPUTE: tl.constexpr, IMAGES: tl.constexpr):
    """Writes the image's gradient; returns the magnitude's."""
    red, green = read(source + pixel, valid, COMPUTE), read(source + size + pixel, valid, COMPUTE)
    blue = read(source + 2 * size + pixel, valid, COMPUTE)
    highest, spread, divisor, part, position = hue_position(red, green, blue)
    lowest = tl.minimum(tl.minimum(red, green), blue)
    by_highest, by_spread, by_position = red * 0, red * 0, red * 0
    for channel in tl.static_range(3):
        own = read(gradient + channel * size + pixel, valid, COMPUTE)
        k = hue_wheel(position, m, 5 - 2 * channel)
        by_highest += own
        by_spread -= own * clamp01(tl.minimum(k, 4 - k))
        by_position -= own * spread * tl.where(k <= 1, 1.0, tl.where((k >= 3) & (k <= 4), -1.0, 0.0))
    by_spread -= tl.where(spread > 1e-20, by_position * part / divisor, 0.0)
    by_highest += by_spread
    # As many as share the highest or the lowest value share its gradient.
    is_red, is_green, is_blue = highest == red, highest == green, highest == blue
    low_red, low_green, low_blue = lowest == red, lowest == green, lowest == blue
    by_highest /= is_red.to(COMPUTE) + is_green.to(COMPUTE) + is_blue.to(COMPUTE)
    by_lowest = -by_spread / tl.maximum(low_red.to(COMPUTE) + low_green.to(COMPUTE) + low_blue.to(COMPUTE), 1.0)
    step = by_position / divisor
    of_red = tl.where(is_red, 0.0, tl.where(is_green, -step, step))
    of_green = tl.where(is_red, step, tl.where(is_green, 0.0, -step))
    of_blue = tl.where(is_red, -step, tl.where(is_green, step, 0.0))
    of_red += tl.where(is_red, by_highest, 0.0) + tl.where(low_red, by_lowest, 0.0)
    of_green += tl.where(is_green, by_highest, 0.0) + tl.where(low_green, by_lowest, 0.0)
    of_blue += tl.where(is_blue, by_highest, 0.0) + tl.where(low_blue, by_lowest, 0.0)
    broken += tl.where(highest == highest, 0.0, highest)
    of_red, of_green, of_blue = of_red + broken, of_green + broken, of_blue + broken
    if IMAGES:
        write(target + pixel, of_red, valid)
        write(target + size + pixel, of_green, valid)
        write(target + 2 * size + pixel, of_blue, valid)
    return 6 * by_position


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


@triton.jit
@no_type_check
def edge_slope(values):
    """The derivative of clamping to [0, 1]; at both ends the mean of both sides."""
    return tl.where((values > 0) & (values < 1), 1.0, tl.where((values == 0) | (values == 1), 0.5, 0.0))


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
    gradient += image * CHANNELS * size
    target = image_gradient + image * CHANNELS * size
    draw += image * draw_stride
    row, column = pixel // width, pixel % width
    slope = tl.zeros([BLOCK], COMPUTE)
    if OTHERS:  # noqa: SIM102  (known when the kernel is compiled, unlike the kind)
        if kind != SAMPLE_PAIRING:
            for channel in tl.static_range(CHANNELS):
                plane = (image * CHANNELS + channel) * size
                write(other_gradient + plane + pixel, slope, valid)

    if (kind >= SHEAR_X) & (kind <= WARP):
        if IMAGES:
            warp_gradient(
                gradient,
                target,
                pixel,
                row,
                column,
                valid,
                size,
                kind,
                exact if NEAREST else m,
                broken,
                height,
                width,
                matrices + image * 12,
                FILL,
                NEAREST,
                CHANNELS,
                COMPUTE,
                GIVEN,
            )
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
        gain, grey, offset = affine(kind, m, mean)
        level = grey_of(kind, source + pixel, size, valid, CHANNELS, COMPUTE)
        shared = slope
        middle = tl.where(kind == COLOR, level, mean)
        for channel in tl.static_range(CHANNELS):
            values = colour_of(kind, source + channel * size + pixel, valid, COMPUTE)
            own = read(gradient + channel * size + pixel, valid, COMPUTE)
            own = tl.where(passes(gain * values + (grey * level + offset)), own, 0.0)
            shared += own
            slope += own * (values - middle)
        if (kind == INVERT) | (kind == GRAYSCALE):
            slope = tl.zeros([BLOCK], COMPUTE)
        shared = grey * shared + tl.where(valid, by_mean, 0.0)
        for channel in tl.static_range(CHANNELS if IMAGES else 0):
            values = colour_of(kind, source + channel * size + pixel, valid, COMPUTE)
            own = read(gradient + channel * size + pixel, valid, COMPUTE)
            own = tl.where(passes(gain * values + (grey * level + offset)), own, 0.0)
            moved = gain * own + luma_weight(channel, CHANNELS) * shared
            write(target + channel * size + pixel, moved + broken, valid)
    elif (kind == SHARPNESS) | (kind == GAUSSIAN_BLUR):
        if kind == SHARPNESS:
            for channel in tl.static_range(CHANNELS):
                slope += sharpness_gradient(
                    source + channel * size, gradient + channel * size, target + channel * size,
                    pixel, row, column, valid, height, width, m, broken, COMPUTE, IMAGES,
                )  # fmt: skip
        else:
            sigma, weights, weights_slope = blur_scale(m)
            for channel in tl.static_range(CHANNELS):
                plane = (image * CHANNELS + channel) * size
                own = read(gradient + channel * size + pixel, valid, COMPUTE)
                total = tl.zeros([BLOCK], COMPUTE)
                change = tl.zeros([BLOCK], COMPUTE)
                for step in range(-RADIUS, RADIUS + 1):
                    _, weight_slope = blur_weight(step, sigma, weights, weights_slope)
                    place = reflected(row + step, height) * width + column
                    change += weight_slope * tl.load(blurred + plane + place, mask=valid, other=0.0)
                    near = valid & (row + step >= 0) & (row + step < height)
                    weight = transposed_weight(row + step, row, height, sigma, weights, weights_slope)
                    total += weight * read(gradient + channel * size + pixel + step * width, near, COMPUTE)
                tl.store(blur_gradient + plane + pixel, total, mask=valid)
                slope += tl.where(m >= 0.025, change * own, 0.0)
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
        tl.store(slopes + program, tl.sum(slope) + broken)
