"""One resampling for every geometric operation that has a magnitude: a matrix for each image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.ops.geometric import Matrices, resample
from augrad.ops.numeric import constant

WARP_MEMBERS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


def warp_matrices(
    magnitude: Float[Tensor, " N"], member: Int[Tensor, " N"], names: tuple[str, ...], height: int, width: int
) -> Matrices:
    """The matrices of `augrad.ops.geometric.MATRICES`, of another operation in each row.

    member: place of the row's operation in `names`; a place outside of them stands for none, at magnitude 0.
    """
    magnitude, tall, wide = magnitude.to(torch.float64), height / width, width / height
    # Positions run from -1 to 1 along both sides; a shear is about the corner at (-1, -1).
    slopes = {
        "shear_x": (0.0, tall, tall, 0.0, 0.0, 0.0),
        "shear_y": (0.0, 0.0, 0.0, wide, 0.0, wide),
        "translate_x": (0.0, 0.0, -2.0, 0.0, 0.0, 0.0),
        "translate_y": (0.0, 0.0, 0.0, 0.0, 0.0, -2.0),
        "rotate": (0.0,) * 6,
    }
    dtype, device = magnitude.dtype, magnitude.device
    place = member.clamp(0, len(names) - 1)
    slope = constant(tuple(slopes[name] for name in names), dtype, device).index_select(0, place)
    identity = constant((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), dtype, device)
    matrices = torch.addcmul(identity, slope, magnitude[:, None])
    if "rotate" in names:
        turns = constant(tuple(float(name == "rotate") for name in names), dtype, device).index_select(0, place)
        angle = torch.deg2rad(magnitude * turns)
        turned = torch.stack([angle.cos() - 1, angle.sin()], -1)
        rotation = constant(((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, -tall, 0.0, wide, 0.0, 0.0)), dtype, device)
        matrices = torch.addmm(matrices, turned, rotation)
    return matrices.unflatten(-1, (2, 3))


def warp(
    images: Float[Tensor, "N C H W"],
    magnitude: Float[Tensor, " N"],
    member: Int[Tensor, " N"],
    names: tuple[str, ...],
    fill: float,
    interpolation: str,
) -> Float[Tensor, "N C H W"]:
    """Each image through its own geometric operation."""
    return resample(images, warp_matrices(magnitude, member, names, *images.shape[-2:]), fill, interpolation)
