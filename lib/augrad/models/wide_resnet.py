"""Wide residual networks: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from augrad.checks import checked
from augrad.errors import UserError
from augrad.models.batch_norm import BatchNorm2d
from augrad.models.dropout import SeededDropout


@checked
class WideResNet(nn.Module):
    """WRN-d-k: a 3 x 3 convolution to 16 channels, three groups of (d - 4) / 6 pre-activation blocks, a linear layer.

    depth: d = 6n + 4, e.g. 16, 28, 40. widen_factor: k; the groups have 16k, 32k and 64k channels and strides 1, 2, 2.
    dropout: rate between a block's two convolutions. Global average pooling at the end, so images of any size from
    8 x 8 on are taken. Convolutions are initialised as in He et al., 2015, by the number of outputs.
    Raises UserError for a depth that is not 6n + 4, widen_factor < 1, or dropout outside [0, 1).
    """

    def __init__(
        self, in_channels: int, class_count: int, depth: int = 40, widen_factor: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UserError(f"WideResNet: expected depth = 6n + 4, got {depth}; choose 10, 16, 22, 28, 34, 40 or on")
        if widen_factor < 1:
            raise UserError(f"WideResNet: expected widen_factor >= 1, got {widen_factor}; choose, for instance, 2")
        if not 0 <= dropout < 1:
            raise UserError(f"WideResNet: expected dropout from 0 to below 1, got {dropout}; choose, for instance, 0.3")
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.groups = nn.Sequential(
            *(
                _Block(inputs if first else outputs, outputs, stride if first else 1, dropout)
                for inputs, outputs, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
                for first in [True] + [False] * ((depth - 4) // 6 - 1)
            )
        )
        self.norm = BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Images in [0, 1] -> logits of the K classes."""
        features = relu(self.norm(self.groups(self.stem(images))))
        return self.head(features.mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two times BatchNorm, ReLU, 3 x 3 convolution, beside an identity or, where shapes change, beside a 1 x 1
    convolution of the first activation (figure 1 and table 1 of the paper)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = BatchNorm2d(outputs)
        self.dropout = SeededDropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        activated = relu(self.norm1(features))
        residual = self.conv2(self.dropout(relu(self.norm2(self.conv1(activated)))))
        return residual + (features if self.shortcut is None else self.shortcut(activated))
