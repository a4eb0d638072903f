"""Dropout whose masks are part of the module's state."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from augrad.models.shake import is_shaken


class SeededDropout(nn.Module):
    """In training, sets each value to zero with probability `rate` and divides the others by 1 - rate.

    As `torch.nn.Dropout`, but the mask comes from the module's own seed and from how many masks it has made: the global
    generator is not used, and `state_dict` has what a resumed run needs to go on with the same masks. The seed is drawn
    from torch's default generator when the module is made, as initial weights are. Source: Srivastava et al., Dropout,
    JMLR 2014. Passes that must share a mask (a finite difference) need `count` set back between them, as
    `augrad.learning.classifier.untouched` does.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.seed = int(torch.randint(2**62, (), device="cpu"))
        self.count = 0

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training:
            return values
        generator = torch.Generator(values.device).manual_seed(self.seed + self.count)
        self.count += 1
        kept = torch.rand(values.shape, generator=generator, device=values.device) >= self.rate
        return values * (kept / (1 - self.rate)).to(values.dtype)

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.seed, self.count])

    def set_extra_state(self, state: Tensor) -> None:
        self.seed, self.count = state.tolist()


def random_layers(model: nn.Module) -> list[str]:
    """The names of the layers, PyTorch's or augrad's, that draw random numbers in training mode."""
    return [name for name, module in model.named_modules() if is_random(module)]


def is_random(module: nn.Module) -> bool:
    """Whether this layer, one of PyTorch's or augrad's, draws random numbers in training mode."""
    if isinstance(module, SeededDropout):
        return module.rate > 0
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    if is_shaken(module):
        return True
    return isinstance(module, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d)
