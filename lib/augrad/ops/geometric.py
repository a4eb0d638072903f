"""Geometric operations: each is a 2x3 matrix that maps output to input positions, and all share one resampling.

Positions are measured in pixels from the image's centre, x to the right, y down. The matrices are returned in the
normalised coordinates of `torch.nn.functional.affine_grid` (align_corners=False), so that products of matrices compose.
Exact gradients for images and magnitudes (through bilinear resampling; almost everywhere).

Nearest pixel: a position halfway between two pixels reads the one to the right, and the one below, as PIL does. What
lies within HALFWAY pixels of the middle counts as halfway, because rounding decides on which side it falls; so images,
in every engine, and masks take the same pixel.
"""

import math
from functools import partial
from typing import Any, no_type_check

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from augrad.ops.meaning import known_finite
from augrad.ops.numeric import in_own_dtype, transformed, with_magnitude
from augrad.ops.spec import Op, Warp
from augrad.ops.twice import asks_for_more, gradients_of

Matrices = Float[Tensor, "B 2 3"]

HALFWAY = 2.0**-19
"""Pixels. What lies so far to the left of the middle between two pixels, or above it, counts as the middle."""

COUNTS = 2.0**-16
"""A NaN or infinite neighbour of a reading position counts where its weight along both axes is larger than this."""


@no_type_check
def _rotation(degrees, height, width):
    angle = degrees * (math.pi / 180)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return cosine, -sine * (height / width), 0.0, sine * (width / height), cosine, 0.0


@no_type_check
def _shear_x(factor, height, width):
    slope = factor * (height / width)
    return 1.0, slope, slope, 0.0, 1.0, 0.0


@no_type_check
def _shear_y(factor, height, width):
    slope = factor * (width / height)
    return 1.0, 0.0, 0.0, slope, 1.0, slope


@no_type_check
def _translation_x(fraction, height, width):
    return 1.0, 0.0, -2.0 * fraction, 0.0, 1.0, 0.0


@no_type_check
def _translation_y(fraction, height, width):
    return 1.0, 0.0, 0.0, 0.0, 1.0, -2.0 * fraction


@no_type_check
def _scaling(log_scale, height, width):
    share = torch.exp(-log_scale)
    return share, 0.0, 0.0, 0.0, share, 0.0


@no_type_check
def _mirror_x(ignored, height, width):
    return -1.0, 0.0, 0.0, 0.0, 1.0, 0.0


@no_type_check
def _mirror_y(ignored, height, width):
    return 1.0, 0.0, 0.0, 0.0, -1.0, 0.0


def matrices_of(shape: Warp, magnitude: Float[Tensor, " B"], height: int, width: int) -> Matrices:
    """The matrix of each image."""
    entries = shape.matrix(magnitude, height, width)
    columns = [entry if isinstance(entry, Tensor) else torch.full_like(magnitude, entry) for entry in entries]
    return torch.stack(columns, -1).unflatten(-1, (2, 3))


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


_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""What has the same bits, of types that older versions of PyTorch cannot gather."""


def read_nearest(images: Shaped[Tensor, "B *C H W"], matrices: Matrices, fill: float) -> Shaped[Tensor, "B *C H W"]:
    """For every output pixel the nearest one to its matrix's position, `fill` where that lies outside; any type."""
    if signed := _SIGNED.get(images.dtype):
        return read_nearest(images.view(signed), matrices, fill).view(images.dtype)
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
    """The two pixels of `count` along an axis around each position, and their weights, 0 where there is no such one, as
    around a position that is NaN."""
    first = position.detach().floor()
    share = position - first
    return [
        (
            pixel.clamp(0, count - 1).nan_to_num(0)[:, None],
            torch.where((pixel >= 0) & (pixel < count), weight, 0.0)[:, None],
        )
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


def _warped(images: Tensor, magnitude: Tensor, shape: Warp, fill: float, interpolation: str) -> Tensor:
    matrices = matrices_of(shape, magnitude.to(torch.float64), *images.shape[-2:])
    return resample(images, matrices, fill, interpolation)


@with_magnitude()
def shear_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear horizontally about the top-left corner by the factor `magnitude` [B]: a pixel at height y reads from
    x + magnitude * y."""
    return _warped(images, magnitude, Warp(_shear_x), fill, interpolation)


@with_magnitude()
def shear_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shear vertically about the top-left corner by the factor `magnitude` [B]: a pixel at x reads from
    y + magnitude * x."""
    return _warped(images, magnitude, Warp(_shear_y), fill, interpolation)


@with_magnitude()
def translate_x(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift right by `magnitude` [B] times the width; negative shifts left."""
    return _warped(images, magnitude, Warp(_translation_x), fill, interpolation)


@with_magnitude()
def translate_y(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Shift down by `magnitude` [B] times the height; negative shifts up."""
    return _warped(images, magnitude, Warp(_translation_y), fill, interpolation)


@with_magnitude()
def rotate(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Rotate about the centre by `magnitude` [B] degrees, counter-clockwise positive."""
    return _warped(images, magnitude, Warp(_rotation), fill, interpolation)


@with_magnitude(least=-10.0, most=10.0)
def zoom(images: Tensor, magnitude: Tensor, *, fill: float = 0.0, interpolation: str = "bilinear") -> Tensor:
    """Scale about the centre by exp(`magnitude`) [B]: above 0 the image grows, and loses its border; below it shrinks,
    and what it uncovers is `fill`. A magnitude and its opposite undo each other."""
    return _warped(images, magnitude, Warp(_scaling), fill, interpolation)


@in_own_dtype
def horizontal_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror left and right; the magnitude is ignored."""
    return images.flip(-1)


@in_own_dtype
def vertical_flip(images: Tensor, magnitude: Tensor) -> Tensor:
    """Mirror top and bottom; the magnitude is ignored."""
    return images.flip(-2)


_moving = partial(Op, kind="geometric")
_warping = partial(_moving, signed=True, magnitude_grad="exact", options=("fill", "interpolation"))

OPS = (
    _warping("shear_x", shear_x, 0.0, 0.3, "factor", shape=Warp(_shear_x)),
    _warping("shear_y", shear_y, 0.0, 0.3, "factor", shape=Warp(_shear_y)),
    _warping("translate_x", translate_x, 0.0, 0.45, "fraction", shape=Warp(_translation_x)),
    _warping("translate_y", translate_y, 0.0, 0.45, "fraction", shape=Warp(_translation_y)),
    _warping("rotate", rotate, 0.0, 30.0, "degree", shape=Warp(_rotation)),
    _warping("zoom", zoom, 0.0, 0.4, "strength", shape=Warp(_scaling)),
    _moving("horizontal_flip", horizontal_flip, shape=Warp(_mirror_x)),
    _moving("vertical_flip", vertical_flip, shape=Warp(_mirror_y)),
)
"""The rows of these operations in the table of all (`augrad.ops`)."""
