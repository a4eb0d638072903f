"""Operations on the levels of 8-bit images, in the arithmetic of torchvision's tensors, whole levels between included.

Functions take levels 0..255 in float32 and magnitudes [B], and return what is rounded down afterwards. One thing is as
in PIL instead: the grey of a grey pixel is its own. (The weights that torchvision takes sum to 0.9999: it makes white
254.) And where torchvision adds two products, in color and sharpness, its result depends on whether the processor
rounds the first sum once or twice: a few values in a hundred, those that are all but whole, may then be another level,
by one. Here every product and every sum is rounded, on all processors alike.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision has it

Levels = Float[Tensor, "B C H W"]


Coefficient = Tensor | float
"""One number for all images, or one for each."""


def grey_of(levels: Levels) -> Float[Tensor, "B 1 H W"]:
    """The grey image, which has whole levels."""
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.unbind(1)
    grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).floor()
    return torch.where((red == green) & (green == blue), red, grey)[:, None]


def _times(coefficient: Coefficient, levels: Tensor) -> Coefficient:
    return coefficient.to(levels.dtype)[:, None, None, None] if isinstance(coefficient, Tensor) else coefficient


def affine(levels: Levels, gain: Coefficient, grey: Coefficient, mean: Coefficient, offset: Coefficient) -> Levels:
    """gain * x + grey * G + mean * M + 255 * offset: G is the grey image, and M the mean of its levels."""
    result, greys = levels * _times(gain, levels), grey_of(levels)
    result = result + greys * _times(grey, levels) + greys.mean((1, 2, 3), keepdim=True) * _times(mean, levels)
    return (result + 255 * _times(offset, levels)).clamp(0, 255)


def auto_contrast(levels: Levels, magnitude: Tensor) -> Levels:
    """Each channel stretched to 0..255."""
    lowest, highest = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    flat = lowest == highest
    scale = torch.where(flat, 1.0, (highest - lowest) * (1 / 255))
    return torch.where(flat, levels, ((levels - lowest) / scale).clamp(0, 255))


def sharpness(levels: Levels, magnitude: Tensor) -> Levels:
    """Away from the smoothed image, which has whole levels."""
    if min(levels.shape[-2:]) < 3:
        return levels
    rows = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = levels[..., 1:-1, 1:-1]
    detail = F.pad(inner - ((total + 4 * inner) / 13).round(), (1, 1, 1, 1))
    return (levels + _times(magnitude, levels) * detail).clamp(0, 255)
