"""Where results lie in memory: nowhere else, and in the order of what they came from."""

from collections.abc import Callable

import torch
from torch import Tensor


def _order_of(images: Tensor) -> torch.memory_format:
    """Channels last, also where `images` are a part of such ones, or expanded; else contiguous."""
    if images.is_contiguous() or (torch._C._are_functorch_transforms_active() and not torch.compiler.is_compiling()):
        return torch.contiguous_format
    last = images.stride(1) == 1 and images.stride(3) >= images.shape[1] > 1
    return torch.channels_last if last else torch.contiguous_format


def _in_memory_of(images: Tensor, result: Tensor) -> bool:
    if result is images:
        return True
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return result.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()


def in_own_memory(compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`compute(images)`, never in the memory of `images`, and channels last where they are, else contiguous.

    images: [B, C, H, W]. Their gradient lies as they do, too.
    """
    order = _order_of(images)
    if order is torch.channels_last and images.requires_grad and not torch.compiler.is_compiling():
        images = images.view_as(images)
        images.register_hook(lambda gradient: gradient.contiguous(memory_format=order))
    result = compute(images)
    if _in_memory_of(images, result):
        return result.clone(memory_format=order)
    return result.contiguous(memory_format=order)
