"""Parts of a batch, and a batch of its parts: each the other's derivative, and one copy of every image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from augrad.ops.numeric import transformed

_SMALL = 4 * 2**20
"""Bytes of a batch below which copying twice costs less than a call for each part."""


def _widest(images: Tensor) -> Callable[[Tensor], Tensor]:
    """A view of a batch like `images` as rows of the widest elements that fit: copying takes time by their number."""
    size = images[0].numel() * images.element_size()
    for kind in (torch.complex128, torch.int64, torch.int32):
        if size % kind.itemsize == 0 and size and images.element_size() <= kind.itemsize:
            return lambda batch: batch.reshape(len(batch), -1).view(kind)
    return lambda batch: batch.reshape(len(batch), -1)


class _Split(torch.autograd.Function):
    """images, indices of each part -> the parts. Every image belongs to exactly one."""

    @staticmethod
    def forward(images: Tensor, *indices: Tensor) -> tuple[Tensor, ...]:
        return tuple(images.index_select(0, index) for index in indices)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.indices = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return join(gradients, ctx.indices), *[None] * len(ctx.indices)


class _Join(torch.autograd.Function):
    """indices of each part, the parts -> the batch."""

    @staticmethod
    def forward(indices: Sequence[Tensor], *parts: Tensor) -> Tensor:
        if len(parts) == 1 or sum(part.nbytes for part in parts) < _SMALL:
            return torch.cat(parts).index_select(0, torch.cat(list(indices)).argsort())
        whole = parts[0].new_empty(sum(len(index) for index in indices), *parts[0].shape[1:])
        view = _widest(whole)
        for index, part in zip(indices, parts, strict=True):
            view(whole).index_copy_(0, index, view(part))
        return whole

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.indices = inputs[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        return None, *split(gradient, ctx.indices)


def split(images: Tensor, indices: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The parts of `images` [B, ...] at `indices`, which hold each of 0 .. B - 1 once."""
    if transformed():
        return tuple(images.index_select(0, index) for index in indices)
    return _Split.apply(images, *indices)  # type: ignore[no-any-return]


def join(parts: Sequence[Tensor], indices: Sequence[Tensor]) -> Tensor:
    """The batch of which `parts` are the images at `indices`: undoes `split`."""
    if transformed():
        return torch.cat(list(parts)).index_select(0, torch.cat(list(indices)).argsort())
    return _Join.apply(indices, *parts)  # type: ignore[no-any-return]
