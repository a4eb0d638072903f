"""BatchNorm whose forward-mode derivative is fast, and can be differentiated again."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm


class Shares(NamedTuple):
    """By how much each image of a pass has more than an even share in the batch's statistics.

    more: zeros, a leaf of autograd: the derivative with respect to it is what counts. among: the statistics are those
    of the first `among` images, and the others are normalised with them.
    """

    more: Float[Tensor, " N"]
    among: int


def batch_norm(
    layer: _BatchNorm,
    input: Float[Tensor, "B C *rest"],
    native: Callable[[Tensor], Tensor],
    shares: Shares | None = None,
) -> Tensor:
    """What `layer` computes; `native` is its own forward pass.

    PyTorch's forward-mode derivative of its kernel takes a dozen passes over the images, and treats the batch's mean
    and deviation as constants when it is itself differentiated: the gradient of a `torch.func.jvp` with respect to the
    images comes out wrong, with no error. In training mode with the batch's statistics alone (track_running_stats
    False) the derivative is therefore made of kernels that are right. With xhat = (x - mean) / deviation (Ioffe and
    Szegedy 2015, algorithm 1) and y = w xhat + b,

        dy = J dx + (dw xhat + db),     J = w / deviation (1 - 1 1' / n - xhat xhat' / n)   for each channel.

    J is symmetric, so J dx is what the backward kernel makes of dx; the rest is the forward kernel with dw and db in
    place of w and b. Forward mode over forward mode is not covered.
    shares: see `Shares`. With p_i the mean of image i's xhat and q_i that of its xhat squared, minus what it is over
    the batch, a little more m_i for each image moves mean and variance, and with them

        w <- w (1 - sum_i m_i q_i / 2),     b <- b - w sum_i m_i p_i     to first order.
    """
    if not uses_batch_statistics(layer):
        return native(input)
    scale, shift = layer.weight, layer.bias
    if shares is not None and len(shares.more) == len(input):
        scale, shift, mean, root = _moved(layer, input, shares)
        if shares.among < len(input):
            column = (-1, *[1] * (input.dim() - 2))
            rest = (input[shares.among :] - mean.view(column)) * (scale * root).view(column) + shift.view(column)
            return torch.cat([_native(layer.eps, input[: shares.among], scale, shift), rest])
    elif not _along(input, scale, shift):
        return native(input)
    return _native(layer.eps, input, scale, shift)


def uses_batch_statistics(layer: _BatchNorm) -> bool:
    """Whether `layer` normalises with the batch's statistics and writes to no running ones."""
    return layer.running_mean is None or (layer.training and not layer.track_running_stats)


def _native(eps: float, input: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Native kernels with the batch's statistics, and their derivative along a direction where there is one."""
    images, along = forward_ad.unpack_dual(input)
    (scale, of_scale), (shift, of_shift) = _unpacked(scale), _unpacked(shift)
    own = (None, None, True, 0.0, eps)  # no running statistics: the batch's
    output, mean, inverse_deviation = torch.native_batch_norm(images, scale, shift, *own)
    moved: list[Tensor] = []
    if along is not None:
        statistics = (None, None, mean, inverse_deviation, True, eps)
        only_images = [True, False, False]
        moved.append(torch.ops.aten.native_batch_norm_backward(along, images, scale, *statistics, only_images)[0])
    if scale is not None and shift is not None and not (of_scale is None and of_shift is None):
        of_scale = torch.zeros_like(scale) if of_scale is None else of_scale
        of_shift = torch.zeros_like(shift) if of_shift is None else of_shift
        moved.append(torch.native_batch_norm(images, of_scale, of_shift, *own)[0])
    if not moved:
        return output
    return forward_ad.make_dual(output, moved[0] if len(moved) == 1 else moved[0] + moved[1])


def _moved(layer: _BatchNorm, input: Tensor, shares: Shares) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale and shift as the shares move them; the mean [C], and one over the deviation [C]."""
    places = tuple(range(2, input.dim()))
    with torch.no_grad():  # what they are multiplied with is zero: they have no derivative of their own
        # One image's mean is near that of all, so that no digits are lost in the squares; a constant in derivatives.
        origin = _mean(forward_ad.unpack_dual(input).primal[:1].detach(), places, keepdim=True).to(input.dtype)
        values = input - origin
        first, second = _mean(values, places), _mean(values.square(), places)
        mean = first[: shares.among].mean(0)
        variance = second[: shares.among].mean(0) - mean.square()
        root = (variance + layer.eps).rsqrt()
        p = (first - mean) * root
        q = (second - 2 * first * mean + mean.square() - variance) * root.square()
    scale = torch.ones_like(root) if layer.weight is None else layer.weight
    shift = torch.zeros_like(root) if layer.bias is None else layer.bias
    more = shares.more.to(root.dtype)
    return scale * (1 - more @ q / 2), shift - scale * (more @ p), mean + origin.flatten(), root


def _mean(values: Tensor, places: tuple[int, ...], keepdim: bool = False) -> Tensor:
    wide = torch.promote_types(values.dtype, torch.float32)
    return values.mean(places, keepdim=keepdim, dtype=wide) if places else values.to(wide)


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the forward-mode derivative of `batch_norm`."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return batch_norm(self, input, super().forward)


def _along(*values: Tensor | None) -> bool:
    return any(value is not None and forward_ad.unpack_dual(value).tangent is not None for value in values)


def _unpacked(value: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Value and tangent; None for what is not there."""
    if value is None:
        return None, None
    primal, tangent = forward_ad.unpack_dual(value)
    return primal, tangent
