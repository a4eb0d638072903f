"""BatchNorm whose forward-mode derivative can be differentiated again."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, right also where a backward pass goes through a forward-mode pass.

    The native kernel's forward-mode derivative is right, but treats the batch's mean and deviation as constants when it
    is itself differentiated: the gradient of a `torch.func.jvp` with respect to the images comes out wrong, with no
    error. There, in training mode with the batch's statistics alone (track_running_stats False), the formula is written
    out in elementary operations: Ioffe and Szegedy 2015, algorithm 1. It takes some 2.5 times as long; every other pass
    goes through the native kernel. Forward mode over forward mode is not covered without gradients enabled.
    """

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not (self.training and not self.track_running_stats and torch.is_grad_enabled()):
            return super().forward(features)
        if not any(forward_ad.unpack_dual(value).tangent is not None for value in (features, self.weight, self.bias)):
            return super().forward(features)
        wide = features.to(torch.promote_types(features.dtype, torch.float32))  # the native kernel's precision
        variance, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0, keepdim=True)
        normal = (wide - mean) * torch.rsqrt(variance + self.eps)
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(features.dtype)
