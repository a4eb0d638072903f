"""Clamping to [0, 1] with a cheap backward pass."""

from typing import Any

import torch
from torch import Tensor


class _Clamp(torch.autograd.Function):
    """`clamp(0, 1)`, values and gradients, without the Boolean masks that make its backward pass slow on a CPU."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        # hardtanh's derivative is 0 at its limits and clamp's is 1: the limits are one rounding further out.
        information = torch.finfo(values.dtype)
        return torch.ops.aten.hardtanh_backward(gradient, values, -information.tiny, 1 + information.eps)


def clamp01(values: Tensor) -> Tensor:
    """`values.clamp(0, 1)`; values of exactly 0 and 1 pass the gradient on."""
    if values.device.type == "cpu" and values.requires_grad and not torch.compiler.is_compiling():
        return _Clamp.apply(values)  # type: ignore[no-any-return]
    return values.clamp(0, 1)
