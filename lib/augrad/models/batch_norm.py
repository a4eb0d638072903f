"""BatchNorm whose forward-mode derivative is fast, and can be differentiated again."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norm(layer: _BatchNorm, input: Float[Tensor, "B C *rest"], native: Callable[[Tensor], Tensor]) -> Tensor:
    """What `layer` computes; `native` is its own forward pass.

    PyTorch's forward-mode derivative of its kernel takes a dozen passes over the images, and treats the batch's mean
    and deviation as constants when it is itself differentiated: the gradient of a `torch.func.jvp` with respect to the
    images comes out wrong, with no error. In training mode with the batch's statistics alone (track_running_stats
    False) the derivative is therefore made of kernels that are right. With xhat = (x - mean) / deviation (Ioffe and
    Szegedy 2015, algorithm 1) and y = w xhat + b,

        dy = J dx + (dw xhat + db),     J = w / deviation (1 - 1 1' / n - xhat xhat' / n)   for each channel.

    J is symmetric, so J dx is what the backward kernel makes of dx; the rest is the forward kernel with dw and db in
    place of w and b. Forward mode over forward mode is not covered.
    """
    if not layer.training or layer.track_running_stats:
        return native(input)
    images, along = forward_ad.unpack_dual(input)
    (scale, of_scale), (shift, of_shift) = _unpacked(layer.weight), _unpacked(layer.bias)
    if along is None and of_scale is None and of_shift is None:
        return native(input)
    own = (None, None, True, 0.0, layer.eps)  # no running statistics: the batch's
    output, mean, inverse_deviation = torch.native_batch_norm(images, scale, shift, *own)
    moved: list[Tensor] = []
    if along is not None:
        statistics = (None, None, mean, inverse_deviation, True, layer.eps)
        only_images = [True, False, False]
        moved.append(torch.ops.aten.native_batch_norm_backward(along, images, scale, *statistics, only_images)[0])
    if scale is not None and shift is not None and not (of_scale is None and of_shift is None):
        of_scale = torch.zeros_like(scale) if of_scale is None else of_scale
        of_shift = torch.zeros_like(shift) if of_shift is None else of_shift
        moved.append(torch.native_batch_norm(images, of_scale, of_shift, *own)[0])
    return forward_ad.make_dual(output, moved[0] if len(moved) == 1 else moved[0] + moved[1])


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the forward-mode derivative of `batch_norm`."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return batch_norm(self, input, super().forward)


def _unpacked(value: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Value and tangent; None for what is not there."""
    if value is None:
        return None, None
    primal, tangent = forward_ad.unpack_dual(value)
    return primal, tangent
