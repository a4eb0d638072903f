"""Operations on the levels of 8-bit images, in the arithmetic of torchvision's tensors, whole levels between included.

Functions take levels 0..255 in float32 and magnitudes [B], and return what is rounded down afterwards. One thing is as
in PIL instead: the grey of a grey pixel is its own. (The weights that torchvision takes sum to 0.9999: it makes white
254.)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision has it

Levels = Float[Tensor, "B C H W"]


def _times(magnitude: Tensor, levels: Tensor) -> Tensor:
    return magnitude.to(levels.dtype)[:, None, None, None]


def _grey(levels: Levels) -> Tensor:
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.unbind(1)
    grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).floor()
    return torch.where((red == green) & (green == blue), red, grey)[:, None]


def _away_from(levels: Levels, other: Tensor | float, magnitude: Tensor) -> Levels:
    factor = 1 + magnitude.to(torch.float64)
    return (levels * _times(factor, levels) + other * _times(1 - factor, levels)).clamp(0, 255)


def brightness(levels: Levels, magnitude: Tensor) -> Levels:
    """Away from black."""
    return _away_from(levels, 0.0, magnitude)


def color(levels: Levels, magnitude: Tensor) -> Levels:
    """Away from the grey image, which has whole levels."""
    return levels if levels.shape[1] == 1 else _away_from(levels, _grey(levels), magnitude)


def contrast(levels: Levels, magnitude: Tensor) -> Levels:
    """Away from the mean of the grey image, which has whole levels."""
    return _away_from(levels, _grey(levels).mean((1, 2, 3), keepdim=True), magnitude)


def grayscale(levels: Levels, magnitude: Tensor) -> Levels:
    """The grey image."""
    return _grey(levels).expand(levels.shape)


def invert(levels: Levels, magnitude: Tensor) -> Levels:
    """255 minus each level."""
    return 255 - levels


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


_AFFINE = {"brightness": brightness, "color": color, "contrast": contrast, "grayscale": grayscale, "invert": invert}


def affine_color(
    levels: Levels, magnitude: Tensor, member: Int[Tensor, " B"], names: tuple[str, ...], contrasts: slice | None = None
) -> Levels:
    """Each image through its own of the operations `names`, as `augrad.engines.grouped.affine_color.affine_color`."""
    result = levels
    for place, name in enumerate(names):
        result = torch.where((member == place)[:, None, None, None], _AFFINE[name](levels, magnitude), result)
    return result
