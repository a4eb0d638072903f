"""What people hand over instead of a batch of images, or of one number: refused, with the way to what is expected."""

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augrad.errors import UserError

_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8)


def require_tensor(images: object) -> None:
    """Raise UserError unless `images` is a dense tensor of a type that operations take: float16, bfloat16, float32,
    float64 or uint8."""
    if not isinstance(images, Tensor):
        got, way = _described(images)
        raise UserError(f"expected images as a tensor [B, C, H, W], got {got}; {way}")
    if images.is_nested or images.layout is not torch.strided:
        raise UserError(
            f"expected images as a dense tensor, got {'a nested one' if images.is_nested else images.layout}; "
            "make it dense, images of different sizes one by one or resized"
        )
    if images.dtype not in _KINDS:
        raise UserError(
            f"expected floating point images in [0, 1] or uint8 images, got {images.dtype}; convert them first, levels of "
            "0..255 by images.to(torch.uint8), others by images.to(torch.float32) and a division by the largest value"
        )


def _described(images: object) -> tuple[str, str]:
    """What it is, and how to make a batch of it."""
    if type(images).__module__.split(".")[0] == "PIL":
        return "a PIL image", "torchvision.transforms.v2.functional.pil_to_tensor(image.convert('RGB'))[None] makes one"
    if isinstance(images, np.ndarray):
        order = "permute(2, 0, 1)[None]" if images.ndim == 3 else "permute(0, 3, 1, 2)"
        return (
            f"a NumPy array {images.shape}",
            f"torch.from_numpy(array) makes one, .{order} where the channels are last",
        )
    if isinstance(images, list | tuple):
        first = f" of {_described(images[0])[0]}" if len(images) > 0 and not isinstance(images[0], Tensor) else ""
        return f"a {type(images).__name__}{first}", "torch.stack(images) makes one of tensors [C, H, W] of one size"
    return f"a {type(images).__name__}" if images is not None else "None", "give a batch of pictures"


def checked_fill(fill: Any) -> float:
    """The value, in [0, 1], of what resampling and cutout uncover. Raises UserError for what is not one such number."""
    if isinstance(fill, Real) and not isinstance(fill, bool) and 0 <= float(fill) <= 1:
        return float(fill)
    several = hasattr(fill, "__len__") and not isinstance(fill, str)
    way = "give one number, the same for all channels" if several else "give a number, 0 for black and 1 for white"
    raise UserError(f"expected a fill in 0..1, got {fill!r}; {way}")
