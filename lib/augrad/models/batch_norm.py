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
    x, weight, bias = (_unpacked(value) for value in (input, layer.weight, layer.bias))
    if x[1] is None and weight[1] is None and bias[1] is None:
        return native(input)
    images, scale = x[0], weight[0]
    output, mean, inverse_deviation = torch.native_batch_norm(images, scale, bias[0], None, None, True, 0.0, layer.eps)
    moved: list[Tensor] = []
    if x[1] is not None:
        statistics = (None, None, mean, inverse_deviation, True, layer.eps)
        only_images = [True, False, False]
        moved.append(torch.ops.aten.native_batch_norm_backward(x[1], images, scale, *statistics, only_images)[0])
    if weight[1] is not None or bias[1] is not None:
        of_scale, of_shift = (_tangent(*part) for part in (weight, bias))
        moved.append(torch.native_batch_norm(images, of_scale, of_shift, None, None, True, 0.0, layer.eps)[0])
    return forward_ad.make_dual(output, moved[0] if len(moved) == 1 else moved[0] + moved[1])


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the forward-mode derivative of `batch_norm`."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return batch_norm(self, input, super().forward)


def _unpacked(value: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Value and tangent; None for what is not there."""
    return (None, None) if value is None else tuple(forward_ad.unpack_dual(value))


def _tangent(value: Tensor | None, tangent: Tensor | None) -> Tensor | None:
    """The tangent, zeros for a value that does not move."""
    return torch.zeros_like(value) if value is not None and tangent is None else tangent
