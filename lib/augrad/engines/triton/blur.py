"""The part of `augrad.ops.gaussian_blur` along the rows, and its transpose: a pass of its own besides the stage's."""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.kernel import kernel
from augrad.engines.triton.pixels import (
    GAUSSIAN_BLUR,
    RADIUS,
    blur_scale,
    blur_weight,
    is_finite,
    lost,
    read,
    reflected,
    write,
)


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
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    if tl.load(kinds + tl.load(chosen + image) + 1) == GAUSSIAN_BLUR:
        pixel = (program % tiles) * BLOCK + tl.arange(0, BLOCK)
        valid = pixel < height * width
        row, column = pixel // width, pixel % width
        sigma, weights, slope = blur_scale(tl.load(magnitude + image * magnitude_stride).to(COMPUTE))
        for channel in tl.static_range(CHANNELS):
            plane = (image * CHANNELS + channel) * height * width
            total = tl.zeros([BLOCK], COMPUTE)
            for step in range(-RADIUS, RADIUS + 1):
                weight, _ = blur_weight(step, sigma, weights, slope)
                place = row * width + reflected(column + step, width)
                total += weight * read(images + plane + place, valid, COMPUTE)
            tl.store(blurred + plane + pixel, total, mask=valid)


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
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    if tl.load(kinds + tl.load(chosen + image) + 1) == GAUSSIAN_BLUR:
        pixel = (program % tiles) * BLOCK + tl.arange(0, BLOCK)
        valid = pixel < height * width
        row, column = pixel // width, pixel % width
        m = tl.load(magnitude + image * magnitude_stride).to(COMPUTE)
        broken = lost(GAUSSIAN_BLUR, m)
        m = tl.where(is_finite(m), m, 0.0)
        sigma, weights, slope = blur_scale(m)
        by_sigma = tl.zeros([BLOCK], COMPUTE)
        for channel in tl.static_range(CHANNELS):
            plane = (image * CHANNELS + channel) * height * width
            total = tl.zeros([BLOCK], COMPUTE)
            change = tl.zeros([BLOCK], COMPUTE)
            for step in range(-RADIUS, RADIUS + 1):
                _, weight_slope = blur_weight(step, sigma, weights, slope)
                place = row * width + reflected(column + step, width)
                change += weight_slope * read(images + plane + place, valid, COMPUTE)
                near = valid & (column + step >= 0) & (column + step < width)
                weight = transposed_weight(column + step, column, width, sigma, weights, slope)
                total += weight * tl.load(gradient + plane + pixel + step, mask=near, other=0.0)
            by_sigma += change * tl.load(gradient + plane + pixel, mask=valid, other=0.0)
            if IMAGES:
                write(image_gradient + plane + pixel, total + broken, valid)
        if MAGNITUDES:
            added = tl.where(m >= 0.025, tl.sum(by_sigma), 0.0)
            tl.store(slopes + program, tl.load(slopes + program) + added)
