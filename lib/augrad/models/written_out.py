"""InstanceNorm and LayerNorm whose forward-mode derivatives can be differentiated again.

As for BatchNorm (see `augrad.models.batch_norm`), the derivative that `torch.func.jvp` returns is right, and its
gradient with respect to the layer's input is wrong, with no error: PyTorch's formula treats mean and deviation as
constants when it is itself differentiated. This is so where the layer takes mean and deviation from its input
(LayerNorm always; InstanceNorm but for evaluation mode with running statistics) and the direction moves its input or
its weight. A direction of the bias alone does no harm, and GroupNorm and RMSNorm are right. Seen in PyTorch 2.11 and
2.14, in float64 against finite differences.

Where there is a derivative along a direction, these layers are therefore written out in operations whose derivatives
are right, at least in float32; otherwise they are PyTorch's own.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.instancenorm import _InstanceNorm


def instance_norm(layer: _InstanceNorm, input: Tensor, native: Callable[[Tensor], Tensor]) -> Tensor:
    """What `layer` computes, images [B, C, ...] or [C, ...]; `native` is its own forward pass.

    Written out, it leaves the running statistics as they are.
    """
    uses_running = layer.track_running_stats and not layer.training
    if uses_running or not _along(input, layer.weight, layer.bias):
        return native(input)
    batched = input.dim() == layer._get_no_batch_dim() + 1
    places = tuple(range(1 + batched, input.dim()))
    column = (-1, *[1] * len(places))
    scale, shift = (None if value is None else value.view(column) for value in (layer.weight, layer.bias))
    return _normalised(input, places, layer.eps, scale, shift)


def layer_norm(layer: nn.LayerNorm, input: Tensor, native: Callable[[Tensor], Tensor]) -> Tensor:
    """What `layer` computes; `native` is its own forward pass."""
    if not _along(input, layer.weight, layer.bias):
        return native(input)
    places = tuple(range(-len(layer.normalized_shape), 0))
    return _normalised(input, places, layer.eps, layer.weight, layer.bias)


def _along(*values: Tensor | None) -> bool:
    return any(value is not None and forward_ad.unpack_dual(value).tangent is not None for value in values)


def _normalised(
    input: Tensor, places: tuple[int, ...], eps: float, scale: Tensor | None, shift: Tensor | None
) -> Tensor:
    wide = input.to(torch.promote_types(input.dtype, torch.float32))  # as the kernels do, under autocast too
    centred = wide - wide.mean(places, keepdim=True)
    output = centred * (centred.square().mean(places, keepdim=True) + eps).rsqrt()
    output = output if scale is None else output * scale
    return (output if shift is None else output + shift).to(input.dtype)
