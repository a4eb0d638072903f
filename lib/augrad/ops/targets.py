"""Masks, boxes and key points move with their images, by the same matrices."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.geometric import MATRICES, Matrices, position_grid
from augrad.ops.spec import Op
from augrad.types import PolicySample


class Augmented(NamedTuple):
    """What a policy returns for images with targets; targets that were not given are None."""

    images: Tensor
    masks: Tensor | None = None
    boxes: Tensor | None = None
    keypoints: Tensor | None = None


def check_targets(given: Augmented, ops: Sequence[Op]) -> None:
    """Raise UserError for targets that do not fit the images, or that an operation of `ops` cannot move.

    masks: [B, H, W] or [B, C, H, W], the height and width of the images, any type. boxes: [B, N, 4]. keypoints:
    [B, N, 2]. All on the images' device.
    """
    batch, _, height, width = given.images.shape
    expected = {
        "masks": f"[{batch}, {height}, {width}] or [{batch}, C, {height}, {width}]",
        "boxes": f"[{batch}, N, 4]",
        "keypoints": f"[{batch}, N, 2]",
    }
    fits = {
        "masks": lambda shape: len(shape) in (3, 4) and shape[0] == batch and shape[-2:] == (height, width),
        "boxes": lambda shape: len(shape) == 3 and shape[0] == batch and shape[2] == 4,
        "keypoints": lambda shape: len(shape) == 3 and shape[0] == batch and shape[2] == 2,
    }
    for name, described in expected.items():
        target = getattr(given, name)
        if target is None:
            continue
        if not isinstance(target, Tensor) or not fits[name](target.shape):
            got = f"shape {tuple(target.shape)}" if isinstance(target, Tensor) else type(target).__name__
            raise UserError(
                f"{name}: expected a tensor {described} for images {tuple(given.images.shape)}, got {got}; "
                "pad to the largest number of an image where numbers differ"
            )
        if target.is_complex() or (name != "masks" and target.dtype == torch.bool):
            raise UserError(f"{name}: expected numbers, got {target.dtype}; convert them first")
        if target.device != given.images.device:
            raise UserError(
                f"{name}: expected the images' device {given.images.device}, got {target.device}; move it there"
            )
        for op in ops:
            if op.kind == "mix" or (op.kind == "geometric" and op.name not in MATRICES):
                hint = "; if it moves no pixels, say kind: color where it is defined" if "." in op.name else ""
                raise UserError(
                    f"{op.name} cannot move {name}: take it out of the policy, or call it without {name}{hint}"
                )


def move_targets(given: Augmented, output: Tensor, ops: Sequence[Op], sample: PolicySample) -> Augmented:
    """`output` with the targets of `given` moved as the draw moves the images.

    Masks go stage by stage, as the images do: the nearest value, 0 where there was none. Corners of boxes and key
    points go through all stages at once; boxes are the hulls of their moved corners, cut at the border of the image.
    """
    height, width = output.shape[-2:]
    with torch.autocast(output.device.type, enabled=False):
        count = sample.op.shape[1] if any(op.name in MATRICES for op in ops) else 0
        stages = [_stage_matrices(ops, sample, stage, height, width) for stage in range(count)]
        masks, boxes, keypoints = given.masks, given.boxes, given.keypoints
        if masks is not None:
            precision = torch.float64 if output.dtype == torch.float64 else torch.float32
            for matrices in stages:
                masks = _nearest(masks, matrices.to(precision))
        if boxes is not None:
            boxes = _moved_boxes(boxes, stages, height, width)
        if keypoints is not None:
            # The centre of the pixel in row 0 and column 0 is the key point (0, 0), and half a pixel from both edges.
            points = keypoints.to(torch.float64) + 0.5
            keypoints = _in_dtype_of(_moved_points(points, stages, height, width) - 0.5, keypoints)
    return Augmented(output, masks, boxes, keypoints)


def _stage_matrices(ops: Sequence[Op], sample: PolicySample, stage: int, height: int, width: int) -> Matrices:
    """The matrix of what was drawn for each image, the identity where nothing moves."""
    chosen, magnitude = sample.op[:, stage], (sample.magnitude * sample.sign)[:, stage]
    matrices = torch.eye(2, 3, dtype=magnitude.dtype, device=magnitude.device).expand(len(sample), 2, 3)
    for index, op in enumerate(ops):
        if op.name in MATRICES:
            acting = (chosen == index) & sample.gate[:, stage]
            matrices = torch.where(acting[:, None, None], MATRICES[op.name](magnitude, height, width), matrices)
    return matrices


def _nearest(masks: Shaped[Tensor, "B *C H W"], matrices: Matrices) -> Shaped[Tensor, "B *C H W"]:
    height, width = masks.shape[-2:]
    grid = position_grid(matrices, height, width)
    column = (((grid[..., 0] + 1) * width - 1) / 2).round()  # the rounding of grid_sample
    row = (((grid[..., 1] + 1) * height - 1) / 2).round()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    position = torch.where(inside, row * width + column, 0).to(torch.int64)
    layers = masks.reshape(len(masks), -1, height * width)
    moved = layers.gather(2, position.reshape(len(masks), 1, -1).expand(layers.shape))
    return torch.where(inside.reshape(len(masks), 1, -1), moved, torch.zeros_like(moved)).reshape(masks.shape)


def _moved_points(
    points: Float[Tensor, "B N 2"], stages: Sequence[Matrices], height: int, width: int
) -> Float[Tensor, "B N 2"]:
    """Where points of the image come to lie, in pixels from its top left corner, in the order x, y."""
    x, y = 2 * points[..., 0] / width - 1, 2 * points[..., 1] / height - 1
    for matrices in stages:  # they map output to input positions: the other way round
        a, b, shift_x, c, d, shift_y = matrices.to(points.dtype).flatten(1)[:, None].unbind(-1)
        x, y, determinant = x - shift_x, y - shift_y, a * d - b * c
        x, y = (d * x - b * y) / determinant, (a * y - c * x) / determinant
    return torch.stack([(x + 1) * width / 2, (y + 1) * height / 2], -1)


def _moved_boxes(boxes: Shaped[Tensor, "B N 4"], stages: Sequence[Matrices], height: int, width: int) -> Tensor:
    batch, count, _ = boxes.shape
    left, top, right, bottom = boxes.to(torch.float64).unbind(-1)
    corners = torch.stack([left, top, right, top, right, bottom, left, bottom], -1).reshape(batch, 4 * count, 2)
    x, y = _moved_points(corners, stages, height, width).reshape(batch, count, 4, 2).unbind(-1)
    x, y = x.clamp(0, width), y.clamp(0, height)
    return _in_dtype_of(torch.stack([x.amin(2), y.amin(2), x.amax(2), y.amax(2)], -1), boxes)


def _in_dtype_of(values: Float[Tensor, "B N D"], like: Tensor) -> Tensor:
    return (values if like.is_floating_point() else values.round()).to(like.dtype)
