"""Standardised inputs: policies and files speak of images in [0, 1], networks learn from centred ones."""

import torch
from jaxtyping import Float, UInt8
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


def channel_statistics(images: UInt8[Tensor, "N C H W"]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and standard deviation per channel of 8-bit images, on the scale of [0, 1]; the latter at least 1/255."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = (
        torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double().cpu()
    )
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ levels
    deviation = (share @ levels**2 - mean**2).clamp(min=0).sqrt()
    return mean.float(), deviation.float().clamp(min=1 / 255)
