"""One affine map of the colours for five operations: a gain, a share of the grey value and an offset for each image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from augrad.ops.clamped import clamp01
from augrad.ops.color import LUMA, luma
from augrad.ops.meaning import known_finite
from augrad.ops.numeric import constant, per_image

COLOR_MEMBERS = ("brightness", "color", "contrast", "grayscale", "invert")

# At magnitude m, x becomes (a + b m) x + (c + d m) luma(x) + e. Contrast subtracts m times
# the image's mean besides.
_COEFFICIENTS = {
    "brightness": (1.0, 1.0, 0.0, 0.0, 0.0),
    "color": (1.0, 1.0, 0.0, -1.0, 0.0),
    "contrast": (1.0, 1.0, 0.0, 0.0, 0.0),
    "grayscale": (0.0, 0.0, 1.0, 0.0, 0.0),
    "invert": (-1.0, 0.0, 0.0, 0.0, 1.0),
}


def affine_color(
    images: Float[Tensor, "N C H W"],
    magnitude: Float[Tensor, " N"],
    member: Int[Tensor, " N"],
    names: tuple[str, ...],
    contrasts: slice | None = None,
) -> Float[Tensor, "N C H W"]:
    """Each image through its own colour operation, clamped to [0, 1] unless it is one that leaves C = 1 alone.

    member: place of the image's operation in `names`, any number outside stands for none, whose result is of no use.
    contrasts: where in the batch images with contrast may be; None: nowhere.
    """
    place = member.clamp(0, len(names) - 1)
    coefficients = [_COEFFICIENTS[name] for name in names]

    def one_of(*some: str) -> Tensor:
        return constant(tuple(name in some for name in names), torch.bool, images.device)[place]

    if images.shape[1] == 1:
        magnitude = torch.where(one_of("color"), 0.0, magnitude)
    offset = constant(tuple(row[4] for row in coefficients), magnitude.dtype, images.device)[place]
    if contrasts is not None:
        mean = luma(images[contrasts]).mean((1, 2, 3)).to(magnitude.dtype)
        share = torch.where(member[contrasts] == names.index("contrast"), magnitude[contrasts] * mean, 0.0)
        offset = offset - pad(share, (contrasts.start, len(images) - contrasts.stop))
    if known_finite(images):
        result = _by_matrix(images, magnitude, place, offset, coefficients)
    else:
        # Nothing is multiplied by 0 that the operation does not multiply: it may not be finite.
        table = constant(tuple(coefficients), magnitude.dtype, images.device)
        gain, gain_slope, _, grey_slope, _ = table[place].unbind(1)
        grays, shown = one_of("grayscale"), images
        gain = torch.where(grays, 1.0, torch.addcmul(gain, gain_slope, magnitude))
        if "grayscale" in names:
            shown = torch.where(grays[:, None, None, None], luma(images), images)
        result = torch.addcmul(per_image(offset, images), shown, per_image(gain, images))
        if "color" in names:
            level = torch.where(one_of("color")[:, None, None, None], luma(images), 0.0)
            result = torch.addcmul(result, level, per_image(grey_slope * magnitude, images))
    if images.shape[1] == 3:
        return clamp01(result)
    return torch.where(one_of("color", "grayscale")[:, None, None, None], images, clamp01(result))


def _by_matrix(
    images: Tensor, magnitude: Tensor, place: Tensor, offset: Tensor, coefficients: list[tuple[float, ...]]
) -> Tensor:
    """The map as one matrix product over the channels: on a CPU the fewest passes, forward and backward."""
    channels = images.shape[1]
    weights = LUMA if channels == 3 else (1.0,)

    def matrices(gain: int, grey: int) -> Tensor:
        rows = [
            [row[gain] * (i == j) + row[grey] * weights[j] for i in range(channels) for j in range(channels)]
            for row in coefficients
        ]
        return constant(tuple(map(tuple, rows)), magnitude.dtype, images.device).index_select(0, place)

    matrix = torch.addcmul(matrices(0, 2), matrices(1, 3), magnitude[:, None]).unflatten(1, (channels, channels))
    shift = offset.to(images.dtype)[:, None, None].expand(-1, channels, 1)
    return torch.baddbmm(shift, matrix.to(images.dtype), images.flatten(2)).view_as(images)
