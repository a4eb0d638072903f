"""One affine map of the colours for all operations of that shape, each image with its own coefficients."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from augrad.engines.grouped.members import Members, of_members
from augrad.ops import levels
from augrad.ops.clamped import clamp01
from augrad.ops.color import LUMA, luma
from augrad.ops.meaning import known_finite
from augrad.ops.numeric import constant, per_image
from augrad.ops.spec import AffineColor, Op


def _coefficients(magnitude: Float[Tensor, " N"], drawn: Members) -> tuple[Tensor, ...]:
    """gain, grey, mean, offset [N], as of `augrad.ops.spec.AffineColor`."""
    return of_members(lambda op, own: _shape(op).coefficients(own), magnitude, drawn.member, drawn.ops)


def _shape(op: Op) -> AffineColor:
    assert isinstance(op.shape, AffineColor)
    return op.shape


def _of_place(values: tuple[bool, ...], member: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    return constant(values, torch.bool, member.device)[member.clamp(0, len(values) - 1)]


def _leaves_alone(channels: int, drawn: Members) -> Bool[Tensor, " N"] | None:
    """Which images stay as they are, because they have no colour; None: none."""
    needing = tuple(_shape(op).needs_color for op in drawn.ops)
    return _of_place(needing, drawn.member) if channels == 1 and any(needing) else None


def affine_color(
    images: Float[Tensor, "N C H W"], magnitude: Float[Tensor, " N"], drawn: Members
) -> Float[Tensor, "N C H W"]:
    """Each image through its own colour operation, clamped to [0, 1] unless it is one that leaves C = 1 alone.

    What becomes of images without an operation is of no use.
    """
    member, ops, present = drawn
    gain, grey, mean, offset = _coefficients(magnitude, drawn)
    alone = _leaves_alone(images.shape[1], drawn)
    if alone is not None:  # what is computed for them has no gradient by the magnitude
        gain, grey = torch.where(alone, 1.0, gain), torch.where(alone, 0.0, grey)
    for place, op in enumerate(ops):
        if op.name in present and _shape(op).counts[2]:
            part = present[op.name]
            level = luma(images[part]).mean((1, 2, 3)).to(mean.dtype)
            share = torch.where(member[part] == place, mean[part] * level, 0.0)
            offset = offset + pad(share, (part.start, len(images) - part.stop))
    if known_finite(images):
        result = _by_matrix(images, gain, grey, offset)
    else:
        # Nothing is multiplied by 0 that the operation does not multiply: it may not be finite.
        by_value, by_grey = (_of_place(tuple(_shape(op).counts[i] for op in ops), member) for i in (0, 1))
        shown = torch.where(by_value[:, None, None, None], images, 0.0)
        level = torch.where(by_grey[:, None, None, None], luma(images), 0.0)
        result = torch.addcmul(per_image(offset, images), shown, per_image(gain, images))
        result = torch.addcmul(result, level, per_image(grey, images))
    return clamp01(result) if alone is None else torch.where(alone[:, None, None, None], images, clamp01(result))


def affine_levels(
    images: Float[Tensor, "N C H W"], magnitude: Float[Tensor, " N"], drawn: Members
) -> Float[Tensor, "N C H W"]:
    """The same on levels, as `augrad.ops.levels` says."""
    result = levels.affine(images, *_coefficients(magnitude.to(torch.float64), drawn))
    alone = _leaves_alone(images.shape[1], drawn)
    return result if alone is None else torch.where(alone[:, None, None, None], images, result)


def _by_matrix(images: Tensor, gain: Tensor, grey: Tensor, offset: Tensor) -> Tensor:
    """The map as one matrix product over the channels: on a CPU the fewest passes, forward and backward."""
    channels = images.shape[1]
    weights = constant(LUMA if channels == 3 else (1.0,), gain.dtype, images.device)
    matrix = gain[:, None, None] * torch.eye(channels, dtype=gain.dtype, device=images.device)
    matrix = matrix + grey[:, None, None] * weights
    shift = offset.to(images.dtype)[:, None, None].expand(-1, channels, 1)
    return torch.baddbmm(shift, matrix.to(images.dtype), images.flatten(2)).view_as(images)
