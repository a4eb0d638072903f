"""A convolutional network that takes milliseconds a step on one CPU core."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from augrad.checks import checked
from augrad.errors import UserError

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}
_POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@checked
class SmallConvNet(nn.Module):
    """Three convolutions with GroupNorm, global average pooling, a linear layer; meant for 16 x 16 to 32 x 32 pixels.

    The first convolution (5 x 5, stride 2) and a pooling bring the sides down to a quarter, and the two others (3 x 3)
    stay there. Channels: width / 2, width, 2 * width. An image's output does not depend on the batch it is in.
    activation="silu" with pool="average" makes a smooth function of images and weights, without the jumps in the
    gradient that ReLU and max pooling have (what those do to a learned magnitude: experiments/strength).
    Initialised as in He et al., Delving Deep into Rectifiers, 2015.
    Raises UserError unless width is a multiple of 8 and activation and pool are among the names above.
    """

    def __init__(
        self,
        in_channels: int,
        class_count: int,
        width: int = 32,
        activation: Literal["relu", "silu"] = "silu",
        pool: Literal["max", "average"] = "average",
    ) -> None:
        super().__init__()
        if width < 8 or width % 8:
            raise UserError(f"SmallConvNet: expected width to be a multiple of 8 above 0, got {width}; choose 16 or 32")
        if activation not in _ACTIVATIONS:
            raise UserError(f"SmallConvNet: expected activation relu or silu, got {activation!r}; choose one of them")
        if pool not in _POOLS:
            raise UserError(f"SmallConvNet: expected pool max or average, got {pool!r}; choose one of them")

        def stage(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            norm = nn.GroupNorm(math.gcd(8, outputs // 4), outputs)
            return nn.Sequential(convolution, norm, _ACTIVATIONS[activation]())

        self.features = nn.Sequential(
            stage(in_channels, width // 2, kernel=5, stride=2),
            _POOLS[pool](2),
            stage(width // 2, width, kernel=3),
            stage(width, 2 * width, kernel=3),
        )
        self.head = nn.Linear(2 * width, class_count)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Images in [0, 1] -> logits of the K classes."""
        return self.head(self.features(images).mean(dim=(2, 3)))
