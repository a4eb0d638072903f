"""What people hand over instead of a batch of images, or of one number: refused, with the way to what is expected."""

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.meaning import may_look

_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8)


def require_tensor(images: object) -> None:
    """Raise UserError unless `images` is a dense tensor of a type that operations take: float16, bfloat16, float32,
    float64 or uint8."""
    if not isinstance(images, Tensor):
        raise UserError(f"expected images as a tensor [B, C, H, W], got {_described(images)}; {_way_from(images)}")
    if images.is_nested or images.layout != torch.strided:
        raise UserError(
            f"expected images as a dense tensor, got {'a nested one' if images.is_nested else images.layout}; "
            "call to_dense(), or bring images to one size"
        )
    if images.dtype not in _KINDS:
        raise UserError(
            f"expected floating point images in [0, 1] or uint8 images, got {images.dtype}; convert them first: "
            "images.to(torch.uint8) for levels of 0..255, else divide by the largest value there can be"
        )


def is_dense(tensor: Tensor) -> bool:
    """Whether numbers lie in memory one for one: neither nested nor sparse nor quantized, none of 8 bits or fewer that
    floats, none complex."""
    floats = not tensor.is_floating_point() or tensor.dtype in _KINDS
    plain = not (tensor.is_nested or tensor.is_quantized or tensor.is_complex())
    return floats and plain and tensor.layout == torch.strided


def require_numbers(magnitude: object) -> None:
    """Raise UserError unless `magnitude` is a dense tensor of numbers."""
    if not isinstance(magnitude, Tensor):
        raise UserError(
            f"expected magnitudes as a tensor [B], one for each image, got {magnitude!r}; "
            "torch.full((len(images),), 0.5) is the same one for all, torch.tensor(numbers) one of a list"
        )
    if not is_dense(magnitude) or magnitude.dtype == torch.bool:
        raise UserError(
            f"expected magnitudes as a dense tensor of numbers, got {_kind_of(magnitude)}; convert them first"
        )


def _kind_of(tensor: Tensor) -> str:
    return "a nested one" if tensor.is_nested else f"{tensor.dtype}, {tensor.layout}"


def fractions_hold(draw: Tensor) -> bool:
    """Whether all numbers are in 0..1; NaN is not. 1 itself may come from rounding to fewer bits."""
    low, high = torch.aminmax(draw.detach())
    return bool(low >= 0) and bool(high <= 1)


def check_draw(draw: object, shape: tuple[int, int], name: str) -> None:
    """Raise UserError unless `draw` is a tensor of floating point numbers in 0..1 of `shape` [B, D]; values are looked
    at on the CPU only. name: of the operation."""
    expected = f"{name}: expected draw as a tensor of uniform numbers in [0, 1) of shape {list(shape)}"
    if not isinstance(draw, Tensor):
        raise UserError(f"{expected}, got {_described(draw)}; torch.rand({shape[0]}, {shape[1]}) is one")
    if not is_dense(draw) or not draw.is_floating_point() or tuple(draw.shape) != shape:
        raise UserError(f"{expected}, got {_kind_of(draw)}, shape {tuple(draw.shape)}")
    if may_look(draw) and not fractions_hold(draw):
        raise UserError(f"{expected}, got numbers outside, or NaN")


def check_others(others: object, images: Tensor) -> None:
    """Raise UserError unless `others` is a batch like `images` that other images are taken from."""
    require_tensor(others)
    if others.shape != images.shape:  # type: ignore[attr-defined]
        got = tuple(others.shape)  # type: ignore[attr-defined]
        raise UserError(f"others: expected a batch of the shape of images, {tuple(images.shape)}, got {got}")


def _is_picture(images: object) -> bool:
    return type(images).__module__.split(".")[0] == "PIL"


def _described(images: object) -> str:
    if _is_picture(images):
        return "a PIL image"
    if isinstance(images, np.ndarray):
        return f"a NumPy array {images.shape}"
    if isinstance(images, list | tuple) and images:
        return f"a {type(images).__name__} that begins with {_described(images[0])}"
    return "None" if images is None else f"a {type(images).__name__}"


def _way_from(images: object) -> str:
    """How to make a batch of it."""
    if _is_picture(images):
        return "torchvision.transforms.v2.functional.pil_to_tensor(image.convert('RGB'))[None] is one"
    if isinstance(images, np.ndarray):
        order = "permute(2, 0, 1)[None]" if images.ndim == 3 else "permute(0, 3, 1, 2)"
        return f"torch.from_numpy(array) is a tensor, and .{order} puts channels that are last where they belong"
    if isinstance(images, list | tuple):
        return "torch.stack(images) is one, of tensors [C, H, W] of one size"
    return "give the pictures themselves"


def checked_fill(fill: Any) -> float:
    """The value, in [0, 1], of what resampling and cutout uncover. Raises UserError for what is not one such number."""
    if isinstance(fill, Real) and not isinstance(fill, bool) and 0 <= float(fill) <= 1:
        return float(fill)
    several = hasattr(fill, "__len__") and not isinstance(fill, str)
    way = "give one number, the same for all channels" if several else "give a number, 0 for black and 1 for white"
    raise UserError(f"expected a fill in 0..1, got {fill!r}; {way}")


def check_interpolation(interpolation: object) -> None:
    """Raise UserError for an interpolation other than bilinear or nearest."""
    if not isinstance(interpolation, str) or interpolation not in ("bilinear", "nearest"):
        raise UserError(f"expected interpolation bilinear or nearest, got {interpolation!r}")
