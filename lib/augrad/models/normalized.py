"""Standardised inputs: policies and files speak of images in [0, 1], networks learn from centred ones."""

from jaxtyping import Float
from torch import Tensor, nn


class Normalized(nn.Module):
    """A network behind (image - mean) / deviation, per channel. mean, deviation [C]: in units of images in [0, 1]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, mean: Float[Tensor, " C"], deviation: Float[Tensor, " C"]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("deviation", deviation[:, None, None])

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Images in [0, 1] -> logits."""
        return self.network((images - self.mean) / self.deviation)
