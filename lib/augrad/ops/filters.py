"""Neighbourhood operations."""

import torch.nn.functional as F
from torch import Tensor

from augrad.ops.numeric import in_own_dtype, per_image


@in_own_dtype
def sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move away from the smoothed image by `magnitude` [B] times the distance (-1: smooth, positive: sharper).

    Smoothing is the 3 x 3 kernel (1 1 1; 1 5 1; 1 1 1) / 13; the outermost pixels stay as they are, and so do images
    with a side below 3.
    """
    if min(images.shape[-2:]) < 3:
        return images
    inner = images[..., 1:-1, 1:-1]
    smooth = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * inner) / 13
    detail = F.pad(inner - smooth, (1, 1, 1, 1))
    return (images + per_image(magnitude, images) * detail).clamp(0, 1)
