"""Random weights of residual branches that differ between the forward and the backward pass.

In training every image has draws of its own, from PyTorch's global generators, as dropout has; in evaluation mode the
weights are their expectations. Forward-mode and reverse-mode derivatives have the same weights, those of the backward
pass, so that the scores of a search are products with the gradients by which such a network is trained. A difference
of losses has those of the forward pass.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Shake(nn.Module):
    """a x + (1 - a) y of two branches x and y, with a from 0 to 1 evenly for each image, and b in its place backward.

    In evaluation mode (x + y) / 2. Source: Gastaldi, Shake-Shake regularization, 2017, equations 2 to 4
    ("Shake-Shake-Image").
    """

    def forward(self, first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training:
            return (first + second) / 2
        return second + _weighted(first - second, _evenly(first), _evenly(first))


class ShakeDrop(nn.Module):
    """(b + a - b a) x of a residual branch x, with b 1 with probability `keep`, or else 0, and a from -1 to 1 evenly.

    Backward b + c - b c, with the same b, and c from 0 to 1 evenly. Every image has its own a, b and c. In evaluation
    mode `keep` x, the expectation. Source: Yamada et al., ShakeDrop Regularization for Deep Residual Learning, 2018,
    equation 6.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training:
            return values * self.keep
        kept = _evenly(values) < self.keep
        forward, backward = 2 * _evenly(values) - 1, _evenly(values)
        return _weighted(values, torch.where(kept, 1.0, forward), torch.where(kept, 1.0, backward))


def is_shaken(module: nn.Module) -> bool:
    """Whether this layer's backward pass, in training mode, is not the derivative of its forward pass."""
    return isinstance(module, Shake) or (isinstance(module, ShakeDrop) and module.keep < 1)


def shaken_layers(model: nn.Module) -> list[str]:
    """The names of such layers."""
    return [name for name, module in model.named_modules() if is_shaken(module)]


def _evenly(values: Tensor) -> Float[Tensor, "B 1 1 1"]:
    """A number from 0 to 1 for each image."""
    return torch.rand(len(values), 1, 1, 1, device=values.device)


def _weighted(values: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """`forward` times the values, bit for bit, with the derivative of `backward` times the values."""
    constant = values.detach()
    return constant * forward.to(values.dtype) + (values - constant) * backward.to(values.dtype)
