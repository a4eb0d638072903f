"""Geometric operations: each is a 2x3 matrix that maps output to input positions, and all share one resampling.

Positions are measured in pixels from the image's centre, x to the right, y down. The matrices are returned in the
normalised coordinates of `torch.nn.functional.affine_grid` (align_corners=False), so that products of matrices compose.
Exact gradients for images and magnitudes (through bilinear resampling; almost everywhere).
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from augrad.ops.numeric import in_own_dtype

Matrices = Float[Tensor, "B 2 3"]


def _matrix(rows: list[list[Tensor | float]], like: Tensor) -> Matrices:
    ones = torch.ones_like(like)
    return torch.stack([torch.stack([ones * entry for entry in row], dim=-1) for row in rows], dim=-2)


def rotate_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Rotation about the centre by `magnitude` degrees, counter-clockwise positive."""
    angle = torch.deg2rad(magnitude)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return _matrix([[cosine, -sine * (height / width), 0.0], [sine * (width / height), cosine, 0.0]], magnitude)


def shear_x_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Horizontal shear about the top-left corner: an output pixel at height y reads from x + magnitude * y."""
    slope = magnitude * (height / width)
    return _matrix([[1.0, slope, slope], [0.0, 1.0, 0.0]], magnitude)


def shear_y_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Vertical shear about the top-left corner: an output pixel at x reads from y + magnitude * x."""
    slope = magnitude * (width / height)
    return _matrix([[1.0, 0.0, 0.0], [slope, 1.0, slope]], magnitude)


def translate_x_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Shift to the right by `magnitude` times the width."""
    return _matrix([[1.0, 0.0, -2.0 * magnitude], [0.0, 1.0, 0.0]], magnitude)


def translate_y_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Shift down by `magnitude` times the height."""
    return _matrix([[1.0, 0.0, 0.0], [0.0, 1.0, -2.0 * magnitude]], magnitude)


def horizontal_flip_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Left and right exchanged; the magnitude is ignored."""
    return _matrix([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], magnitude.detach())


def vertical_flip_matrix(magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """Top and bottom exchanged; the magnitude is ignored."""
    return _matrix([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], magnitude.detach())


MATRICES: Mapping[str, Callable[[Tensor, int, int], Tensor]] = {
    "shear_x": shear_x_matrix,
    "shear_y": shear_y_matrix,
    "translate_x": translate_x_matrix,
    "translate_y": translate_y_matrix,
    "rotate": rotate_matrix,
    "horizontal_flip": horizontal_flip_matrix,
    "vertical_flip": vertical_flip_matrix,
}
"""The matrix, as a function of magnitude, height and width, of every geometric operation."""


def position_grid(matrices: Matrices, height: int, width: int) -> Float[Tensor, "B H W 2"]:
    """Where each output pixel reads: `torch.nn.functional.affine_grid` (align_corners=False) by rows and columns.

    A fraction of its time, forward and backward, because the products are taken once for each row and each column.
    """
    like = {"dtype": matrices.dtype, "device": matrices.device}
    columns = (torch.arange(width, **like) * 2 + (1 - width)) / width
    rows = (torch.arange(height, **like) * 2 + (1 - height)) / height
    across = matrices[:, None, :, 0] * columns[:, None]
    down = torch.addcmul(matrices[:, None, :, 2], matrices[:, None, :, 1], rows[:, None])
    return across[:, None] + down[:, :, None]


def resample(images: Float[Tensor, "B C H W"], matrices: Matrices, fill: float, interpolation: str) -> Tensor:
    """Read every output pixel at its matrix's position; positions outside the image hold `fill`.

    A zero fill blends with black at the border. For any other fill the border follows torchvision's blending
    (`coverage * (sampled - fill) + fill`), so that pixels agree with it there too.
    """
    grid = position_grid(matrices.to(images.dtype), *images.shape[-2:])
    if fill == 0.0:
        return grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    with_coverage = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
    sampled = grid_sample(with_coverage, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    sampled, coverage = sampled[:, :-1], sampled[:, -1:]
    if interpolation == "nearest":
        return torch.where(coverage < 0.5, fill, sampled)
    return coverage * (sampled - fill) + fill


@in_own_dtype
def rotate(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Rotate about the centre by `magnitude` [B] degrees, counter-clockwise positive."""
    return resample(images, rotate_matrix(magnitude, *images.shape[-2:]), fill, interpolation)


@in_own_dtype
def shear_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear horizontally about the top-left corner by the factor `magnitude` [B]."""
    return resample(images, shear_x_matrix(magnitude, *images.shape[-2:]), fill, interpolation)


@in_own_dtype
def shear_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear vertically about the top-left corner by the factor `magnitude` [B]."""
    return resample(images, shear_y_matrix(magnitude, *images.shape[-2:]), fill, interpolation)


@in_own_dtype
def translate_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift right by `magnitude` [B] times the width; negative shifts left."""
    return resample(images, translate_x_matrix(magnitude, *images.shape[-2:]), fill, interpolation)


@in_own_dtype
def translate_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift down by `magnitude` [B] times the height; negative shifts up."""
    return resample(images, translate_y_matrix(magnitude, *images.shape[-2:]), fill, interpolation)


@in_own_dtype
def horizontal_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror left and right; the magnitude is ignored."""
    return images.flip(-1)


@in_own_dtype
def vertical_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror top and bottom; the magnitude is ignored."""
    return images.flip(-2)
