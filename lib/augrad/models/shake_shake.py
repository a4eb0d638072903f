"""Shake-Shake networks: Gastaldi, Shake-Shake regularization, 2017."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from augrad.checks import checked
from augrad.errors import UserError
from augrad.models.batch_norm import BatchNorm2d
from augrad.models.shake import Shake


@checked
class ShakeShake(nn.Module):
    """Shake-Shake 26 2x{width}d: a 3 x 3 convolution to 16 channels, three groups of blocks, a linear layer.

    depth: d = 6n + 2 with n blocks in a group, 26 in the paper. width: channels of the first group, 32, 96 or 112 in
    the paper; the groups have width, 2 width and 4 width, and strides 1, 2, 2. A block is two branches of two
    convolutions beside a shortcut; `augrad.models.shake.Shake` mixes the branches. Global average pooling at the end,
    so images of any size from 8 x 8 on are taken. Convolutions are initialised as in He et al., 2015, by the number of
    outputs. Raises UserError for a depth that is not 6n + 2, and for a width that is no even number of at least 2.
    """

    def __init__(self, in_channels: int, class_count: int, depth: int = 26, width: int = 32) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise UserError(f"ShakeShake: expected depth = 6n + 2, got {depth}; choose 8, 14, 20, 26 or on")
        if width < 2 or width % 2:
            raise UserError(f"ShakeShake: expected an even width of at least 2, got {width}; choose, for instance, 32")
        widths = [16, width, 2 * width, 4 * width]
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), BatchNorm2d(16))
        self.groups = nn.Sequential(
            *(
                _Block(inputs if first else outputs, outputs, stride if first else 1)
                for inputs, outputs, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
                for first in [True] + [False] * ((depth - 2) // 6 - 1)
            )
        )
        self.head = nn.Linear(widths[-1], class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Images in [0, 1] -> logits of the K classes."""
        return self.head(relu(self.groups(self.stem(images))).mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two branches, each two times ReLU, 3 x 3 convolution, BatchNorm, mixed, beside the shortcut (section 2.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = (_branch(inputs, outputs, stride) for _ in range(2))
        self.shake = Shake()
        if stride == 2:
            self.shortcut = _Halving(inputs, outputs)
        elif inputs != outputs:
            self.shortcut = nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), BatchNorm2d(outputs))
        else:
            self.shortcut = nn.Identity()

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        return self.shortcut(features) + self.shake(self.first(features), self.second(features))


class _Halving(nn.Module):
    """A shortcut of half the sides: every second pixel, and those one pixel further in both directions, each through a
    1 x 1 convolution to half of the channels (section 2.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even, self.odd = (nn.Conv2d(inputs, outputs // 2, 1, bias=False) for _ in range(2))
        self.norm = BatchNorm2d(outputs)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        activated = relu(features)
        shifted = pad(activated[:, :, 1:, 1:], (0, 1, 0, 1))
        return self.norm(torch.cat([self.even(activated[:, :, ::2, ::2]), self.odd(shifted[:, :, ::2, ::2])], 1))


def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        BatchNorm2d(outputs),
    )
