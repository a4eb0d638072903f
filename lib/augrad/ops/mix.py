"""Operations that mix images of a batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.ops.clamped import clamp01
from augrad.ops.given import check_others
from augrad.ops.numeric import per_image, with_magnitude
from augrad.ops.spec import Op


def partners(batch: int, draw: Float[Tensor, "B D"] | None, device: torch.device) -> Int[Tensor, " B"]:
    """The other image for each one of a batch: every other image is equally likely, the next one without a draw."""
    own = torch.arange(batch, device=device)
    if draw is None:
        return (own + 1) % batch
    further = (draw[:, 0] * (batch - 1)).to(torch.int64)  # below batch - 1: the product is not rounded up that far
    return (own + 1 + further) % batch


@with_magnitude(least=0.0, most=1.0, draws=1)
def sample_pairing(
    images: Tensor, magnitude: Tensor, draw: Tensor | None = None, *, others: Tensor | None = None
) -> Tensor:
    """Blend with another image: (1 - magnitude) x + magnitude * other (Inoue 2018, arXiv:1801.02929).

    magnitude [B]: the other image's weight, in 0..1. draw [B, 1], uniform numbers in [0, 1): which other image of the
    batch, image (i + 1 + floor(draw * (B - 1))) mod B for image i; the next one without it, and the image itself in a
    batch of one. others [B, C, H, W], the type of `images`: the batch the other images come from, `images` itself
    without it. A policy gives the batch it was called with: an image then depends on its own draw alone, not on what
    was drawn for its partner. Exact gradients for both images and the magnitude.
    """
    if others is not None:
        check_others(others, images)
    source = images if others is None else others
    other = source.index_select(0, partners(len(images), draw, images.device))
    if other.dtype == torch.uint8:  # `images` are in [0, 1] here whatever they were
        other = other.to(images.dtype) / 255
    other = other.to(images.dtype)
    return clamp01(images + per_image(magnitude, images) * (other - images))


OPS = (Op("sample_pairing", sample_pairing, 0.0, 0.4, "weight", False, "exact", "mix", draws=1, options=("others",)),)
"""The rows of these operations in the table of all (`augrad.ops`)."""
