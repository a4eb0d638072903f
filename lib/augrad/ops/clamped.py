"""Clamping to [0, 1] with a cheap backward pass, the same in every release of torch."""

from typing import Any

import torch
from torch import Tensor

from augrad.ops.meaning import known_finite
from augrad.ops.numeric import transformed


class _Clamp(torch.autograd.Function):
    """`clamp(0, 1)` without the Boolean masks that make its backward pass slow on a CPU; see `clamp01`."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        if values.device.type == "cpu" and not known_finite(values):  # in vectors the derivative at NaN is another
            return gradient.masked_fill((values < 0) | (values > 1), 0)
        # hardtanh's derivative is 0 at its limits: the limits are one rounding further out.
        information = torch.finfo(values.dtype)
        return torch.ops.aten.hardtanh_backward(gradient, values, -information.tiny, 1 + information.eps)


def clamp01(values: Tensor) -> Tensor:
    """`values.clamp(0, 1)`; values of exactly 0 and 1, black and white pixels, pass the gradient on, and so does NaN.

    That of `Tensor.clamp` they pass in some releases of torch (2.11), and lose in others (2.14).
    """
    if not values.requires_grad and not transformed():
        return values.clamp(0, 1)
    if transformed():
        return torch.where((values < 0) | (values > 1), values.detach().clamp(0, 1), values)
    return _Clamp.apply(values)  # type: ignore[no-any-return]
