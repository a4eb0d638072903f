"""InstanceNorm and LayerNorm whose forward-mode derivatives can be differentiated again.

As for BatchNorm (see `augrad.models.batch_norm`), PyTorch's forward-mode derivative treats mean and deviation as
constants when it is itself differentiated: the gradient of a `torch.func.jvp` with respect to the images comes out
wrong, with no error. Where there is a derivative along a direction, these layers are therefore written out in
operations whose derivatives are right; otherwise they are PyTorch's own. GroupNorm and RMSNorm do not need it.
"""

from collections.abc import Callable

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
    centred = input - input.mean(places, keepdim=True)
    output = centred * (centred.square().mean(places, keepdim=True) + eps).rsqrt()
    output = output if scale is None else output * scale
    return output if shift is None else output + shift
