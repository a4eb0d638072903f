"""The part of `augrad.ops.gaussian_blur` along the rows, and its transpose: a pass of its own besides the stage's."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.kernel import kernel
from augrad.engines.triton.pixels import GAUSSIAN_BLUR, drawn_for, read, tile_of, write
from augrad.ops.filters import BLUR_RADIUS

RADIUS = tl.constexpr(BLUR_RADIUS)


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
def within_reach(distance, sigma, total, slope):
    """Weight at a distance of either sign, 0 beyond the window."""
    weight, _ = blur_weight(distance, sigma, total, slope)
    return tl.where((distance <= RADIUS) & (distance >= -RADIUS), weight, 0.0)


@triton.jit
@no_type_check
def transposed_weight(source, target, count, sigma, total, slope):
    """How much of pixel `target` is in the blurred pixel `source`, along an axis of `count` pixels.

    Reflection puts a pixel at the positions period * n +- target for every whole n, once where both signs agree.
    """
    period = tl.maximum(2 * (count - 1), 1)
    result = within_reach(source - target, sigma, total, slope)
    twice = (target > 0) & (target < count - 1)
    mirrored = within_reach(source + target, sigma, total, slope)
    mirrored += within_reach(period - target - source, sigma, total, slope)
    if period <= 2 * RADIUS:  # in a small image a window reaches over several reflections
        folds = (period * 0 + 2 * RADIUS) // period + 1
        for fold in range(1, folds + 1):
            result += within_reach(period * fold + target - source, sigma, total, slope)
            result += within_reach(period * fold - target + source, sigma, total, slope)
            mirrored += within_reach(period * (fold + 1) - target - source, sigma, total, slope)
            mirrored += within_reach(period * fold + target + source, sigma, total, slope)
    return tl.where(count == 1, 1.0, result + tl.where(twice, mirrored, 0.0))


@triton.jit
@no_type_check
def blurred_along(line, place, count, step_size, valid, m, COMPUTE: tl.constexpr):
    """Blurred along one axis. line: the first of `count` pixels, which lie `step_size` apart; place: of each pixel."""
    sigma, weights, slope = blur_scale(m)
    total = tl.zeros(place.shape, COMPUTE)
    for step in range(-RADIUS, RADIUS + 1):
        weight, _ = blur_weight(step, sigma, weights, slope)
        total += weight * read(line + reflected(place + step, count) * step_size, valid, COMPUTE)
    return total


@triton.jit
@no_type_check
def blur_gradient_along(line, gradient, place, count, step_size, valid, m, COMPUTE: tl.constexpr):
    """The gradients by the pixels and by the magnitude, which each pixel's share is of. gradient: as `line`."""
    sigma, weights, slope = blur_scale(m)
    total, change = tl.zeros(place.shape, COMPUTE), tl.zeros(place.shape, COMPUTE)
    for step in range(-RADIUS, RADIUS + 1):
        _, weight_slope = blur_weight(step, sigma, weights, slope)
        change += weight_slope * read(line + reflected(place + step, count) * step_size, valid, COMPUTE)
        near = valid & (place + step >= 0) & (place + step < count)
        weight = transposed_weight(place + step, place, count, sigma, weights, slope)
        total += weight * read(gradient + (place + step) * step_size, near, COMPUTE)
    own = read(gradient + place * step_size, valid, COMPUTE)
    return total, tl.where(m >= 0.025, change * own, 0.0)


@kernel
@no_type_check
def row_blur_kernel(
    images,
    blurred,
    chosen,
    kinds,
    magnitude,
    magnitude_stride,
    height,
    width,
    tiles,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """blurred [B, C, H, W]: images that drew the blur, blurred along their rows; the others are left out."""
    image, pixel, row, column, valid = tile_of(tiles, height, width, BLOCK)
    kind, m, _, _ = drawn_for(image, chosen, kinds, magnitude, magnitude_stride, COMPUTE)
    if kind == GAUSSIAN_BLUR:
        for channel in tl.static_range(CHANNELS):
            plane = (image * CHANNELS + channel) * height * width
            total = blurred_along(images + plane + row * width, column, width, 1, valid, m, COMPUTE)
            tl.store(blurred + plane + pixel, total, mask=valid)


@kernel
@no_type_check
def row_blur_gradient_kernel(
    images,
    gradient,
    image_gradient,
    slopes,
    chosen,
    kinds,
    magnitude,
    magnitude_stride,
    height,
    width,
    tiles,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
    IMAGES: tl.constexpr,
    MAGNITUDES: tl.constexpr,
):
    """gradient: of `blurred`. Writes the gradient of the images that drew the blur, and adds to `slopes` [B, tiles]."""
    image, _, row, column, valid = tile_of(tiles, height, width, BLOCK)
    kind, m, _, broken = drawn_for(image, chosen, kinds, magnitude, magnitude_stride, COMPUTE)
    if kind == GAUSSIAN_BLUR:
        by_magnitude = tl.zeros([BLOCK], COMPUTE)
        for channel in tl.static_range(CHANNELS):
            line = (image * CHANNELS + channel) * height * width + row * width
            total, change = blur_gradient_along(images + line, gradient + line, column, width, 1, valid, m, COMPUTE)
            by_magnitude += change
            if IMAGES:
                write(image_gradient + line + column, total + broken, valid)
        if MAGNITUDES:
            own = slopes + tl.program_id(0)
            tl.store(own, tl.load(own) + tl.sum(by_magnitude))
