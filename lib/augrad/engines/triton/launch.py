"""What calls the kernels: sizes of programs, buffers, and one fixed sequence of launches for each kind of policy.

Nothing here looks at a value on the device.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton.language as tl
from torch import Tensor

import triton
from augrad.engines.triton.backward import stage_gradient_kernel
from augrad.engines.triton.blur import row_blur_gradient_kernel, row_blur_kernel
from augrad.engines.triton.forward import stage_kernel
from augrad.engines.triton.kinds import KINDS
from augrad.engines.triton.statistics import curve_kernel, gradient_statistics_kernel, statistics_kernel
from augrad.ops.mix import partners
from augrad.ops.numeric import constant

_TILE = 256
"""Pixels of a program that changes them, two a thread: with more, the registers do not suffice for a full processor."""

_SUMMED = 1024
"""Pixels that a program which sums up an image reads at a time."""

_PART = 4096
"""Pixels of an image that one program sums up, unless that made more than _MOST_PARTS parts."""

_MOST_PARTS = 64


@dataclass(frozen=True)
class Config:
    """What a stage's launches depend on besides its tensors.

    kinds: see `augrad.engines.triton.kinds.kinds_of`. fill, nearest: how resampling fills and interpolates.
    """

    kinds: tuple[int, ...]
    fill: float
    nearest: bool

    def has(self, *names: str) -> bool:
        """Whether the policy has one of these operations."""
        return any(KINDS[name] in self.kinds for name in names)


class Drawn(NamedTuple):
    """What a stage reads besides its images: operation [B] (index, -1 for none), magnitude [B], extra draws [B, D], the
    images [B, C, H, W] that others are paired with, and the matrices of `augrad.engines.triton.matrices`."""

    chosen: Tensor
    magnitude: Tensor
    draw: Tensor
    others: Tensor
    matrices: Tensor


class Kept(NamedTuple):
    """What a stage's backward pass reads again: sums and ranges of images, row-blurred images. Empty if not needed."""

    statistics: Tensor
    blurred: Tensor


class _Sizes:
    """The numbers of a launch."""

    def __init__(self, images: Tensor) -> None:
        self.batch, self.channels, self.height, self.width = images.shape
        self.size = self.height * self.width
        self.tiles = triton.cdiv(self.size, _TILE)
        self.splits = min(triton.cdiv(self.size, _PART), _MOST_PARTS)
        self.part = triton.cdiv(self.size, self.splits)
        self.next_power = triton.next_power_of_2(self.splits)
        double = images.dtype == torch.float64
        self.dtype = torch.float64 if double else torch.float32
        self.compute = tl.float64 if double else tl.float32


def _numbers(config: Config, device: torch.device) -> Tensor:
    return constant((config.kinds[-1], *config.kinds[:-1]), torch.int32, device)  # that of no operation first


def _extra(drawn: Drawn) -> Tensor:
    return drawn.draw if drawn.draw.shape[1] else drawn.magnitude[:, None]  # never read in that case


def _partner(config: Config, drawn: Drawn) -> Tensor:
    if not config.has("sample_pairing"):
        return drawn.chosen  # never read
    return partners(len(drawn.chosen), drawn.draw, drawn.chosen.device)


def run_stage(images: Tensor, drawn: Drawn, config: Config) -> tuple[Tensor, Kept]:
    """images [B, C, H, W], contiguous like `drawn.others` -> what became of them, and what the gradient needs again.

    1 launch; with contrast, auto_contrast or equalize in the policy 1 more, with equalize another, with gaussian_blur
    another, with sample_pairing those of `partners`.
    """
    sizes, numbers = _Sizes(images), _numbers(config, images.device)
    output = torch.empty_like(images)
    statistics = curves = blurred = images.new_empty(0, dtype=sizes.dtype)
    draw = _extra(drawn)
    # Products and sums of 8-bit levels are rounded one by one, as on a CPU: see `augrad.ops.levels`.
    rounding = {"enable_fp_fusion": images.dtype != torch.uint8}
    with torch.cuda.device_of(images):
        if config.has("contrast", "auto_contrast", "equalize"):
            planes = (sizes.batch, sizes.channels)
            statistics = statistics.new_empty(*planes, 3, sizes.splits)
            equalizes = config.has("equalize")
            counts = numbers.new_empty(*planes, sizes.splits, 256) if equalizes else numbers
            statistics_kernel[(sizes.batch * sizes.splits,)](
                images, statistics, counts, drawn.chosen, numbers, sizes.size, sizes.part, sizes.splits,
                CHANNELS=sizes.channels, BLOCK=_SUMMED, COMPUTE=sizes.compute, EQUALIZES=equalizes, **rounding,
            )  # fmt: skip
            if equalizes:
                curves = curves.new_empty(*planes, 256)
                curve_kernel[(sizes.batch * sizes.channels,)](
                    counts, curves, drawn.chosen, numbers, sizes.size, sizes.splits,
                    CHANNELS=sizes.channels, COMPUTE=sizes.compute, **rounding,
                )  # fmt: skip
        if config.has("gaussian_blur"):
            blurred = torch.empty_like(images, dtype=sizes.dtype)
            row_blur_kernel[(sizes.batch * sizes.tiles,)](
                images, blurred, drawn.chosen, numbers, drawn.magnitude, drawn.magnitude.stride(0),
                sizes.height, sizes.width, sizes.tiles,
                CHANNELS=sizes.channels, BLOCK=_TILE, COMPUTE=sizes.compute, **rounding,
            )  # fmt: skip
        stage_kernel[(sizes.batch * sizes.tiles,)](
            images, output, drawn.chosen, numbers, drawn.magnitude, drawn.magnitude.stride(0),
            draw, draw.stride(0), draw.stride(1), drawn.others, _partner(config, drawn), drawn.matrices,
            statistics, curves, blurred, sizes.height, sizes.width, sizes.tiles, sizes.splits,
            FILL=config.fill, NEAREST=config.nearest, CHANNELS=sizes.channels, BLOCK=_TILE,
            SPLITS=sizes.next_power, COMPUTE=sizes.compute, GIVEN=config.has("warp"), **rounding,
        )  # fmt: skip
    return output, Kept(statistics, blurred)


def run_gradient(
    images: Tensor,
    gradient: Tensor,
    drawn: Drawn,
    kept: Kept,
    config: Config,
    needs_images: bool,
    needs_magnitude: bool,
    needs_others: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """gradient [B, C, H, W], contiguous -> the gradients of images, magnitude and others that are needed.

    1 launch; with contrast or auto_contrast in the policy 1 more, with gaussian_blur another; for magnitudes a sum; for
    others an `index_add`, the only sum whose order may change from run to run.
    """
    sizes, numbers = _Sizes(images), _numbers(config, images.device)
    image_gradient = torch.empty_like(images) if needs_images else images
    slopes = kept.statistics.new_empty(sizes.batch, sizes.tiles)
    sums = blur_gradient = kept.statistics
    needs_others = needs_others and config.has("sample_pairing")
    other_gradient = torch.empty_like(images) if needs_others else images
    draw, partner = _extra(drawn), _partner(config, drawn)
    strength = (drawn.magnitude, drawn.magnitude.stride(0))
    with torch.cuda.device_of(images):
        if config.has("contrast", "auto_contrast") and needs_images:
            sums = sums.new_empty(sizes.batch, sizes.channels, 4, sizes.splits)
            gradient_statistics_kernel[(sizes.batch * sizes.splits,)](
                images, gradient, kept.statistics, sums, drawn.chosen, numbers, *strength,
                sizes.size, sizes.part, sizes.splits,
                CHANNELS=sizes.channels, BLOCK=_SUMMED, SPLITS=sizes.next_power, COMPUTE=sizes.compute,
            )  # fmt: skip
        if config.has("gaussian_blur"):
            blur_gradient = torch.empty_like(kept.blurred)
        stage_gradient_kernel[(sizes.batch * sizes.tiles,)](
            images, gradient, image_gradient, slopes, drawn.chosen, numbers, *strength,
            draw, draw.stride(0), draw.stride(1), drawn.others, partner, other_gradient,
            drawn.matrices, kept.statistics, sums, kept.blurred, blur_gradient,
            sizes.height, sizes.width, sizes.tiles, sizes.splits,
            FILL=config.fill, NEAREST=config.nearest, CHANNELS=sizes.channels, BLOCK=_TILE,
            SPLITS=sizes.next_power, COMPUTE=sizes.compute,
            IMAGES=needs_images, MAGNITUDES=needs_magnitude, OTHERS=needs_others, GIVEN=config.has("warp"),
        )  # fmt: skip
        if config.has("gaussian_blur"):
            row_blur_gradient_kernel[(sizes.batch * sizes.tiles,)](
                images, blur_gradient, image_gradient, slopes, drawn.chosen, numbers, *strength,
                sizes.height, sizes.width, sizes.tiles,
                CHANNELS=sizes.channels, BLOCK=_TILE, COMPUTE=sizes.compute,
                IMAGES=needs_images, MAGNITUDES=needs_magnitude,
            )  # fmt: skip
    of_others = torch.zeros_like(images).index_add_(0, partner, other_gradient) if needs_others else None
    of_magnitude = slopes.sum(1, dtype=drawn.magnitude.dtype) if needs_magnitude else None
    return image_gradient if needs_images else None, of_magnitude, of_others


def probe(device: torch.device) -> None:
    """Compile and run the smallest kernel on `device`; raises what Triton raises where that is impossible."""
    none = constant((0,), torch.int32, device)
    with torch.cuda.device_of(none):
        curve_kernel[(1,)](none, none, constant((-1,), torch.int64, device), none, 1, 1, CHANNELS=1, COMPUTE=tl.float32)
