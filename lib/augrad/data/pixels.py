"""Between stored images (uint8) and the images that operations and classifiers take (float in [0, 1])."""

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from augrad.data.stored import StoredImages, level_counts
from augrad.data.types import Images


def to_float(images: UInt8[Tensor, "B C H W"]) -> Float32[Tensor, "B C H W"]:
    """0 .. 255 to [0, 1]."""
    return images.to(torch.float32) / 255


def to_uint8(images: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
    """[0, 1] to the nearest of 0 .. 255; values outside are moved to the end they lie beyond."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def channel_statistics(images: Images) -> tuple[Float32[Tensor, " C"], Float32[Tensor, " C"]]:
    """Mean and standard deviation per channel of 8-bit images, on the scale of [0, 1]; the latter at least 1/255."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = (images.level_counts if isinstance(images, StoredImages) else level_counts(images)).double()
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ levels
    deviation = (share @ levels**2 - mean**2).clamp(min=0).sqrt()
    return mean.float(), deviation.float().clamp(min=1 / 255)
