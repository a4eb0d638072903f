"""Pyramidal residual networks: Han et al., Deep Pyramidal Residual Networks, CVPR 2017."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from augrad.checks import checked
from augrad.errors import UserError
from augrad.models.batch_norm import BatchNorm2d
from augrad.models.shake import ShakeDrop


@checked
class PyramidNet(nn.Module):
    """PyramidNet of bottlenecks, whose channels grow evenly from block to block, with ShakeDrop.

    depth: d = 9n + 2 with n blocks in each of three groups, of strides 1, 2, 2; 272 in the papers. alpha: by how much
    the channels of a block's 3 x 3 convolution grow altogether, from 16 (equation 3: block k of N has 16 + k alpha / N,
    and four times as many at its end); 200 in the papers. keep: the probability with which the last block's branch is
    kept as it is; it falls linearly from 1 before the first block (Yamada et al., 2018, equation 3). 1: no ShakeDrop.
    Global average pooling at the end, so images of any size from 8 x 8 on are taken. Convolutions are initialised as in
    He et al., 2015, by the number of outputs.
    Raises UserError for a depth that is not 9n + 2, alpha < 1, or keep outside [0, 1].
    """

    def __init__(
        self, in_channels: int, class_count: int, depth: int = 272, alpha: int = 200, keep: float = 0.5
    ) -> None:
        super().__init__()
        if depth < 11 or (depth - 2) % 9:
            raise UserError(f"PyramidNet: expected depth = 9n + 2, got {depth}; choose 11, 20, 29, 110, 164, 272 or on")
        if alpha < 1:
            raise UserError(f"PyramidNet: expected alpha >= 1, got {alpha}; choose, for instance, 200")
        if not 0 <= keep <= 1:
            raise UserError(f"PyramidNet: expected keep from 0 to 1, got {keep}; choose, for instance, 0.5")
        group = (depth - 2) // 9
        blocks = 3 * group
        widths = [round(16 + alpha * block / blocks) for block in range(1, blocks + 1)]
        ends = [16, *(4 * width for width in widths)]
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), BatchNorm2d(16))
        self.blocks = nn.Sequential(
            *(
                _Block(inputs, width, 2 if block in (group, 2 * group) else 1, 1 - (1 - keep) * (block + 1) / blocks)
                for block, (inputs, width) in enumerate(zip(ends[:-1], widths, strict=True))
            )
        )
        self.norm = BatchNorm2d(ends[-1])
        self.head = nn.Linear(ends[-1], class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Images in [0, 1] -> logits of the K classes."""
        return self.head(relu(self.norm(self.blocks(self.stem(images)))).mean(dim=(2, 3)))


class _Block(nn.Module):
    """A bottleneck that begins and ends with BatchNorm and has no ReLU at its beginning (figure 6d of the paper),
    beside the features, averaged over 2 x 2 pixels for stride 2, and with channels of zeros behind their own."""

    def __init__(self, inputs: int, width: int, stride: int, keep: float) -> None:
        super().__init__()
        self.stride, self.more = stride, 4 * width - inputs
        self.branch = nn.Sequential(
            BatchNorm2d(inputs),
            nn.Conv2d(inputs, width, 1, bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            BatchNorm2d(4 * width),
        )
        self.drop = ShakeDrop(keep) if keep < 1 else nn.Identity()

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        shortcut = features if self.stride == 1 else avg_pool2d(features, 2, ceil_mode=True)
        return pad(shortcut, (0, 0, 0, 0, 0, self.more)) + self.drop(self.branch(features))
