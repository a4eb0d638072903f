"""Operations that add noise."""

import math

import torch
from torch import Tensor

from augrad.ops.clamped import clamp01
from augrad.ops.counter import uniform_numbers
from augrad.ops.numeric import per_image, with_magnitude
from augrad.ops.spec import Op


def normal_numbers(seed: Tensor, images: Tensor) -> Tensor:
    """Standard normal numbers like `images`, a function of each image's `seed` [B] and of the place of the pixel.

    Numbers 2 i and 2 i + 1 of the seed's sequence (`augrad.ops.counter`) make those of pixels 2 i and 2 i + 1, counted
    over channels, rows and columns (Box and Muller 1958).
    """
    count = images[0].numel()
    uniform = uniform_numbers(seed, count + count % 2, 0).unflatten(1, (-1, 2))
    length, angle = torch.sqrt(-2 * torch.log1p(-uniform[..., 0])), 2 * math.pi * uniform[..., 1]
    pairs = torch.stack([length * angle.cos(), length * angle.sin()], -1)
    return pairs.flatten(1)[:, :count].to(images.dtype).view_as(images)


@with_magnitude(least=0.0, draws=1)
def gaussian_noise(images: Tensor, magnitude: Tensor, draw: Tensor | None = None) -> Tensor:
    """Add normal noise, of every value its own, with the standard deviation `magnitude` [B], at least 0.

    draw [B, 1], a uniform number in [0, 1): the seed of the image's noise, the same in every engine and on every
    device; 0 without it. Values are clamped to [0, 1]. Exact gradients: the noise is a part of the draw.
    """
    seed = images.new_zeros(len(images)) if draw is None else draw[:, 0]
    return clamp01(images + per_image(magnitude, images) * normal_numbers(seed, images))


OPS = (Op("gaussian_noise", gaussian_noise, 0.0, 0.1, "fraction", False, "exact", draws=1),)
"""The rows of these operations in the table of all (`augrad.ops`)."""
