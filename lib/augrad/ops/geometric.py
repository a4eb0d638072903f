"""Geometric operations: each is a 2x3 matrix that maps output to input positions, and all share one resampling.

Positions are measured in pixels from the image's centre, x to the right, y down. The matrices are returned in the
normalised coordinates of `torch.nn.functional.affine_grid` (align_corners=False), so that products of matrices compose.
Exact gradients for images and magnitudes (through bilinear resampling; almost everywhere).

Nearest pixel: a position halfway between two pixels reads the one to the right, and the one below, as PIL does. What
lies within HALFWAY pixels of the middle counts as halfway, because rounding decides on which side it falls; so images,
in every engine, and masks take the same pixel.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from augrad.ops.meaning import known_finite
from augrad.ops.numeric import in_own_dtype, transformed, with_magnitude
from augrad.ops.twice import asks_for_more, gradients_of

Matrices = Float[Tensor, "B 2 3"]

HALFWAY = 2.0**-19
"""Pixels. What lies so far to the left of the middle between two pixels, or above it, counts as the middle."""

COUNTS = 2.0**-16
"""A NaN or infinite neighbour of a reading position counts where its weight along both axes is larger than this."""


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


def read_nearest(images: Shaped[Tensor, "B *C H W"], matrices: Matrices, fill: float) -> Shaped[Tensor, "B *C H W"]:
    """For every output pixel the nearest one to its matrix's position, `fill` where that lies outside; any type."""
    height, width = images.shape[-2:]
    grid = position_grid(matrices.detach().to(torch.float64), height, width)
    # From the image's left and upper edge: whole numbers lie halfway between two pixels.
    column = ((grid[..., 0] + 1) * (width / 2) + HALFWAY).floor()
    row = ((grid[..., 1] + 1) * (height / 2) + HALFWAY).floor()
    inside = ((column >= 0) & (column < width) & (row >= 0) & (row < height)).flatten(1)[:, None]
    place = torch.where(inside, (row * width + column).flatten(1)[:, None], 0).to(torch.int64)
    layers = images.reshape(len(images), -1, height * width)
    found = layers.gather(2, place.expand(layers.shape))
    return torch.where(inside, found, found.new_full((), fill)).reshape(images.shape)


def _neighbours(
    position: Float[Tensor, "B H W"], count: int
) -> list[tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]]:
    """The two pixels of `count` along an axis around each position, and their weights, 0 where there is no such one."""
    first = position.detach().floor()
    share = position - first
    return [
        (pixel.clamp(0, count - 1)[:, None], torch.where((pixel >= 0) & (pixel < count), weight, 0.0)[:, None])
        for pixel, weight in ((first, 1 - share), (first + 1, share))
    ]


def _counting(weight: Tensor, values: Tensor) -> Tensor:
    """weight * values, but 0 for what is not finite and does not count."""
    return weight * torch.where((weight > COUNTS) | values.isfinite(), values, 0.0)


def _bilinear(images: Float[Tensor, "B C H W"], grid: Float[Tensor, "B H W 2"]) -> Float[Tensor, "B C H W"]:
    """As `grid_sample` with zeros outside, for images with NaN or infinity: only those that count are read."""
    height, width = images.shape[-2:]
    x, y = ((grid[..., 0] + 1) * width - 1) / 2, ((grid[..., 1] + 1) * height - 1) / 2
    layers, result = images.flatten(2), 0.0
    for row, down in _neighbours(y, height):
        line: Tensor | float = 0.0
        for column, across in _neighbours(x, width):
            place = (row * width + column).to(torch.int64).flatten(2).expand(-1, layers.shape[1], -1)
            line = line + _counting(across.to(images.dtype), layers.gather(2, place).view_as(images))
        result = result + _counting(down.to(images.dtype), line)  # type: ignore[arg-type]
    return result  # type: ignore[return-value]


class _Sampled(torch.autograd.Function):
    """`grid_sample`, whose backward pass older releases of torch do not differentiate."""

    @staticmethod
    def forward(images: Tensor, grid: Tensor) -> Tensor:
        return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if asks_for_more(gradient):
            return tuple(gradients_of(_bilinear, ctx.saved_tensors, ctx.needs_input_grad, gradient))
        bilinear, zeros, align_corners = 0, 0, False
        options = (bilinear, zeros, align_corners, ctx.needs_input_grad)
        return torch.ops.aten.grid_sampler_2d_backward(gradient, *ctx.saved_tensors, *options)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _bilinear(images, grid) if transformed() else _Sampled.apply(images, grid)  # type: ignore[no-any-return]


def resample(images: Float[Tensor, "B C H W"], matrices: Matrices, fill: float, interpolation: str) -> Tensor:
    """Read every output pixel at its matrix's position; positions outside the image hold `fill`.

    A zero fill blends with black at the border. For any other fill the border follows torchvision's blending
    (`coverage * (sampled - fill) + fill`), so that pixels agree with it there too.
    A NaN in a blend makes the blend NaN, unless its weight is nothing but rounding (COUNTS). (Where values cannot be
    looked at, in `torch.compile`, under `torch.func`, and in plain PyTorch on a GPU, it counts even so.)
    """
    if interpolation == "nearest":
        return read_nearest(images, matrices, fill)
    grid = position_grid(matrices.to(images.dtype), *images.shape[-2:])
    given = images if fill == 0.0 else torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
    if known_finite(images) is False:
        sampled = _bilinear(given, position_grid(matrices.to(torch.float64), *images.shape[-2:]))
    else:
        sampled = _sampled(given, grid)
    if fill == 0.0:
        return sampled
    sampled, coverage = sampled[:, :-1], sampled[:, -1:]
    return coverage * (sampled - fill) + fill


def _warped(
    images: Tensor, magnitude: Tensor, matrix: Callable[..., Tensor], fill: float, interpolation: str
) -> Tensor:
    return resample(images, matrix(magnitude.to(torch.float64), *images.shape[-2:]), fill, interpolation)


@with_magnitude()
def rotate(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Rotate about the centre by `magnitude` [B] degrees, counter-clockwise positive."""
    return _warped(images, magnitude, rotate_matrix, fill, interpolation)


@with_magnitude()
def shear_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear horizontally about the top-left corner by the factor `magnitude` [B]."""
    return _warped(images, magnitude, shear_x_matrix, fill, interpolation)


@with_magnitude()
def shear_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear vertically about the top-left corner by the factor `magnitude` [B]."""
    return _warped(images, magnitude, shear_y_matrix, fill, interpolation)


@with_magnitude()
def translate_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift right by `magnitude` [B] times the width; negative shifts left."""
    return _warped(images, magnitude, translate_x_matrix, fill, interpolation)


@with_magnitude()
def translate_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift down by `magnitude` [B] times the height; negative shifts up."""
    return _warped(images, magnitude, translate_y_matrix, fill, interpolation)


@in_own_dtype
def horizontal_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror left and right; the magnitude is ignored."""
    return images.flip(-1)


@in_own_dtype
def vertical_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror top and bottom; the magnitude is ignored."""
    return images.flip(-2)
