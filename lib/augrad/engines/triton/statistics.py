"""What a stage must know of a whole image before it can change a pixel: mean, range, histogram; and their gradients.

An image is summed in parts, each by a program of its own; whoever needs the whole adds the few parts up, in the same
order every time. Programs of images that drew another operation end at once.
"""

from typing import no_type_check

import triton.language as tl

import triton
from augrad.engines.triton.kernel import kernel
from augrad.engines.triton.pixels import (
    AUTO_CONTRAST,
    CONTRAST,
    EQUALIZE,
    grey_level,
    level_of,
    luma_weight,
    passes,
    range_of,
    read,
    total_of,
)


@triton.jit
@no_type_check
def part_of(chosen, kinds, size, part_size, splits):
    """The image of a program, the kind of its operation, which part of the image is the program's, and its pixels."""
    program = tl.program_id(0)
    image, part = (program // splits).to(tl.int64), program % splits
    start = part * part_size
    return image, tl.load(kinds + tl.load(chosen + image) + 1), part, start, tl.minimum(start + part_size, size)


@triton.jit
@no_type_check
def contrast_mean(
    statistics, image, size, splits, CHANNELS: tl.constexpr, SPLITS: tl.constexpr, EIGHT: tl.constexpr = False
):
    """The mean grey value of an image; of 8 bits (EIGHT) the mean grey level."""
    if EIGHT:
        return total_of(statistics, image * CHANNELS * 3, splits, SPLITS) / size
    COMPUTE: tl.constexpr = statistics.dtype.element_ty
    total = luma_weight(0, CHANNELS, COMPUTE) * total_of(statistics, image * CHANNELS * 3, splits, SPLITS)
    for channel in tl.static_range(1, CHANNELS):
        row = (image * CHANNELS + channel) * 3
        total += luma_weight(channel, CHANNELS, COMPUTE) * total_of(statistics, row, splits, SPLITS)
    return total / size


@kernel
@no_type_check
def statistics_kernel(
    images,
    statistics,
    histograms,
    chosen,
    kinds,
    size,
    part_size,
    splits,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
    EQUALIZES: tl.constexpr,
):
    """statistics [B, C, 3, S]: sum, least, greatest. histograms [B, C, S, 256]: how many pixels have each level."""
    image, kind, part, start, stop = part_of(chosen, kinds, size, part_size, splits)
    if (kind == CONTRAST) | (kind == AUTO_CONTRAST):
        for channel in tl.static_range(CHANNELS):
            plane = image * CHANNELS + channel
            total = tl.zeros([BLOCK], COMPUTE)
            lowest, highest = total + float("inf"), total - float("inf")
            for first in range(start, stop, BLOCK):
                pixel = first + tl.arange(0, BLOCK)
                valid = pixel < stop
                values = read(images + plane * size + pixel, valid, COMPUTE)
                if images.dtype.element_ty == tl.uint8:
                    total += grey_level(images + image * CHANNELS * size + pixel, size, valid, CHANNELS)
                else:
                    total += values
                lowest = tl.minimum(lowest, tl.where(valid, values, float("inf")))
                highest = tl.maximum(highest, tl.where(valid, values, float("-inf")))
            place = statistics + plane * 3 * splits + part
            tl.store(place, tl.sum(total))
            tl.store(place + splits, tl.min(lowest))
            tl.store(place + 2 * splits, tl.max(highest))
    if EQUALIZES:  # noqa: SIM102  (known when the kernel is compiled, unlike the kind)
        if kind == EQUALIZE:
            for channel in tl.static_range(CHANNELS):
                plane = image * CHANNELS + channel
                counts = tl.zeros([256], tl.int32)
                for first in range(start, stop, BLOCK):
                    pixel = first + tl.arange(0, BLOCK)
                    valid = pixel < stop
                    values = read(images + plane * size + pixel, valid, COMPUTE)
                    counts += tl.histogram(level_of(values), 256, mask=valid & (values == values))
                tl.store(histograms + (plane * splits + part) * 256 + tl.arange(0, 256), counts)


@kernel
@no_type_check
def curve_kernel(histograms, curves, chosen, kinds, size, splits, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr):
    """curves [B, C, 256]: what each level becomes under `augrad.ops.equalize`; -1 throughout where nothing changes.

    NaN throughout where a pixel has no level.
    """
    plane = tl.program_id(0).to(tl.int64)
    if tl.load(kinds + tl.load(chosen + plane // CHANNELS) + 1) == EQUALIZE:
        level = tl.arange(0, 256)
        counts = tl.zeros([256], tl.int32)
        for part in range(splits):
            counts += tl.load(histograms + (plane * splits + part) * 256 + level)
        last = tl.max(tl.where(counts > 0, level, 0))
        step = (size - tl.sum(tl.where(level == last, counts, 0))) // 255
        below = tl.cumsum(counts, 0) - counts
        curve = tl.minimum((below + step // 2) // tl.maximum(step, 1), 255).to(COMPUTE) / 255
        curve = tl.where(step == 0, -1.0, curve)
        tl.store(curves + plane * 256 + level, tl.where(tl.sum(counts) == size, curve, float("nan")))


@kernel
@no_type_check
def gradient_statistics_kernel(
    images,
    gradient,
    statistics,
    sums,
    chosen,
    kinds,
    magnitude,
    magnitude_stride,
    size,
    part_size,
    splits,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    SPLITS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """sums [B, C, 4, S], by channel.

    contrast: the sum of the gradient that the clamp lets through. auto_contrast: the gradients of the least and of the
    greatest value, and how many pixels have each.
    """
    image, kind, part, start, stop = part_of(chosen, kinds, size, part_size, splits)
    if kind == CONTRAST:
        strength = tl.load(magnitude + image * magnitude_stride).to(COMPUTE)
        mean = contrast_mean(statistics, image, size, splits, CHANNELS, SPLITS)
        for channel in tl.static_range(CHANNELS):
            plane = image * CHANNELS + channel
            total = tl.zeros([BLOCK], COMPUTE)
            for first in range(start, stop, BLOCK):
                pixel = first + tl.arange(0, BLOCK)
                valid = pixel < stop
                values = read(images + plane * size + pixel, valid, COMPUTE)
                values = values * (1 + strength) - strength * mean
                total += tl.where(passes(values), read(gradient + plane * size + pixel, valid, COMPUTE), 0.0)
            tl.store(sums + plane * 4 * splits + part, tl.sum(total))
    elif kind == AUTO_CONTRAST:
        for channel in tl.static_range(CHANNELS):
            plane = image * CHANNELS + channel
            lowest, highest = range_of(statistics, plane * 3 + 1, splits, SPLITS)
            spread = tl.where(highest == lowest, 1.0, highest - lowest)
            of_lowest, of_highest = tl.zeros([BLOCK], COMPUTE), tl.zeros([BLOCK], COMPUTE)
            low_count, high_count = tl.zeros([BLOCK], COMPUTE), tl.zeros([BLOCK], COMPUTE)
            for first in range(start, stop, BLOCK):
                pixel = first + tl.arange(0, BLOCK)
                valid = pixel < stop
                values = read(images + plane * size + pixel, valid, COMPUTE)
                scaled = read(gradient + plane * size + pixel, valid, COMPUTE) / (spread * spread)
                of_lowest += scaled * (values - highest)
                of_highest -= scaled * (values - lowest)
                low_count += tl.where(valid & (values == lowest), 1.0, 0.0)
                high_count += tl.where(valid & (values == highest), 1.0, 0.0)
            place = sums + plane * 4 * splits + part
            tl.store(place, tl.sum(of_lowest))
            tl.store(place + splits, tl.sum(of_highest))
            tl.store(place + 2 * splits, tl.sum(low_count))
            tl.store(place + 3 * splits, tl.sum(high_count))
