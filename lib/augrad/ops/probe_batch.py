"""The small batch that operations are tried on."""

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.spec import Op

FRACTIONS = (0.1873, 0.3719, 0.5277, 0.6431, 0.8157)
"""Where in the range the magnitudes lie, one for each image: not on round numbers, where a derivative may jump."""
BATCH = len(FRACTIONS)
SIZE = (24, 20)


def probe_images(channels: int) -> Float[Tensor, "B C H W"]:
    """Smooth shapes under fine noise, float64 in [0, 1], with a few pixels that are exactly 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(BATCH, channels, 4, 4, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic", align_corners=True)
    noise = torch.rand(BATCH, channels, *SIZE, generator=generator, dtype=torch.float64)
    images = (0.1 + 0.55 * smooth + 0.25 * noise).clamp(0.02, 0.98)
    images[:, :, 3, 4:7], images[:, :, 17, 9:12] = 0.0, 1.0
    return images


def magnitudes_of(op: Op) -> Float[Tensor, " B"]:
    """Inside the range, of both signs where it is signed."""
    fraction = torch.tensor(FRACTIONS, dtype=torch.float64)
    if op.low is None or op.high is None:
        return torch.zeros_like(fraction)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64) if op.signed else 1.0
    return (op.low + (op.high - op.low) * fraction) * sign


def ends_of(op: Op) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The two ends of the range."""
    low, high = (torch.full((BATCH,), end or 0.0, dtype=torch.float64) for end in (op.low, op.high))
    return low, high


def draws_of(op: Op) -> tuple[Tensor, ...]:
    """The further argument of an operation that draws: different numbers for each image, [B, D].

    float32, whatever the images are: so a policy hands them.
    """
    numbers = torch.linspace(0.05, 0.95, BATCH * op.draws, dtype=torch.float32)
    return (numbers.reshape(BATCH, op.draws),) if op.draws else ()


def call(op: Op, images: Float[Tensor, "B C H W"], magnitude: Float[Tensor, " B"]) -> Tensor:
    """What `op` makes of the batch."""
    return op.apply(images, magnitude, *draws_of(op))


def require_alike(images: Tensor, output: object) -> Tensor:
    """`output`; raises UserError unless it is a tensor of the shape and type of `images`."""
    if isinstance(output, Tensor) and output.shape == images.shape and output.dtype == images.dtype:
        return output
    came = f"{list(output.shape)} {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
    raise UserError(
        f"expected images of the shape and type that came in, {list(images.shape)} {images.dtype}, got {came}"
    )
