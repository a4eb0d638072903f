"""Between stored images (uint8) and the images that operations and classifiers take (float in [0, 1])."""

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor


def to_float(images: UInt8[Tensor, "B C H W"]) -> Float32[Tensor, "B C H W"]:
    """0 .. 255 to [0, 1]."""
    return images.to(torch.float32) / 255


def to_uint8(images: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
    """[0, 1] to the nearest of 0 .. 255; values outside are moved to the end they lie beyond."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
