"""Masks, boxes and key points move with their images, by the same matrices."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from augrad.errors import UserError
from augrad.ops import shape_of
from augrad.ops.geometric import Matrices, matrices_of, read_nearest
from augrad.ops.given import is_dense
from augrad.ops.numeric import constant, without_autocast
from augrad.ops.spec import Op, Warp
from augrad.types import PolicySample

_NO_AREA = 1e-9
"""Square pixels that rounding may leave of a box that only touches the image."""


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
        if not is_dense(target) or (name != "masks" and target.dtype == torch.bool):
            got = "a nested tensor" if target.is_nested else f"{target.dtype}, {target.layout}"
            raise UserError(f"{name}: expected a dense tensor of numbers, got {got}; convert them first")
        largest = max(height, width)
        if name != "masks" and not target.is_floating_point() and torch.iinfo(target.dtype).max < largest:
            raise UserError(
                f"{name}: expected a type that holds numbers up to {largest}, got {target.dtype}; convert them"
            )
        if name == "keypoints" and not target.dtype.is_signed:
            raise UserError(
                f"{name}: expected a signed type, because they may leave the image, got {target.dtype}; convert them"
            )
        if target.device != given.images.device:
            raise UserError(
                f"{name}: expected the images' device {given.images.device}, got {target.device}; move it there"
            )
        for op in ops:
            if op.kind == "mix" or (op.kind == "geometric" and not isinstance(shape_of(op), Warp)):
                hint = "; if it moves no pixels, say kind: color where it is defined" if "." in op.name else ""
                raise UserError(
                    f"{op.name} cannot move {name}: take it out of the policy, or call it without {name}{hint}"
                )


def move_targets(given: Augmented, output: Tensor, ops: Sequence[Op], sample: PolicySample) -> Augmented:
    """`output` with the targets of `given` moved as the draw moves the images, one stage after another.

    Masks: the nearest value, by the rule of `augrad.ops.geometric`, 0 where there was none. Boxes: the hull of the
    moved corners, cut at the border of the image. What a stage moves out of the image, or what of a box is outside from
    the start, is lost to the stages after it, as it is to masks: they move the corners of what was left. A box without
    area stays without, also as a line across (its shorter side is 0), and one that has left lies at the border where it
    went; one with a coordinate that is NaN becomes NaN. Key points: they may leave the image, and come back.
    """
    height, width = output.shape[-2:]
    with without_autocast(output.device):
        count = sample.op.shape[1] if any(isinstance(shape_of(op), Warp) for op in ops) else 0
        stages = [_stage_matrices(ops, sample, stage, height, width) for stage in range(count)]
        masks, boxes, keypoints = given.masks, given.boxes, given.keypoints
        if masks is not None:
            for matrices in stages:
                masks = read_nearest(masks, matrices, 0.0)
            if not stages:  # in memory of their own all the same, as images are
                masks = masks.clone(memory_format=torch.contiguous_format)
        if boxes is not None:
            boxes = _moved_boxes(boxes, stages, height, width)
        if keypoints is not None:
            # The centre of the pixel in row 0 and column 0 is the key point (0, 0), and half a pixel from both edges.
            points, moved = keypoints.to(torch.float64) + 0.5, torch.zeros_like(sample.gate[:, 0])
            for matrices in stages:
                moves = (matrices != constant(_STAY, matrices.dtype, matrices.device)).flatten(1).any(1)
                points = torch.where(moves[:, None, None], _moved_points(points, matrices, height, width), points)
                moved |= moves
            keypoints = torch.where(moved[:, None, None], _in_dtype_of(points - 0.5, keypoints), keypoints)
    return Augmented(output, masks, boxes, keypoints)


def _stage_matrices(ops: Sequence[Op], sample: PolicySample, stage: int, height: int, width: int) -> Matrices:
    """The matrix of what was drawn for each image, the identity where nothing moves."""
    chosen, magnitude = sample.op[:, stage], (sample.magnitude * sample.sign)[:, stage]
    matrices = torch.eye(2, 3, dtype=magnitude.dtype, device=magnitude.device).expand(len(sample), 2, 3)
    for index, op in enumerate(ops):
        if isinstance(shape := shape_of(op), Warp):
            acting = (chosen == index) & sample.gate[:, stage]
            matrices = torch.where(acting[:, None, None], matrices_of(shape, magnitude, height, width), matrices)
    return matrices


_STAY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""The matrix of no movement."""


def _moved_points(
    points: Float[Tensor, "B N 2"], matrices: Matrices, height: int, width: int
) -> Float[Tensor, "B N 2"]:
    """Where points of the image come to lie, in pixels from its top left corner, in the order x, y."""
    x, y = 2 * points[..., 0] / width - 1, 2 * points[..., 1] / height - 1
    # They map output to input positions: the other way round.
    a, b, shift_x, c, d, shift_y = matrices.to(points.dtype).flatten(1)[:, None].unbind(-1)
    x, y, determinant = x - shift_x, y - shift_y, a * d - b * c
    x, y = (d * x - b * y) / determinant, (a * y - c * x) / determinant
    return torch.stack([(x + 1) * width / 2, (y + 1) * height / 2], -1)


def _moved_boxes(boxes: Shaped[Tensor, "B N 4"], stages: Sequence[Matrices], height: int, width: int) -> Tensor:
    left, top, right, bottom = boxes.to(torch.float64).unbind(-1)
    corners = torch.stack([left, top, right, top, right, bottom, left, bottom], -1).unflatten(-1, (4, 2))
    limits = corners.new_zeros(2), constant((float(width), float(height)), corners.dtype, corners.device)
    stay = constant(_STAY, corners.dtype, corners.device)
    polygon, there = corners.clamp(*limits), (right > left) & (bottom > top)
    for number, matrices in enumerate(stages):
        if number:  # where nothing moves the cut waits: an image that stays as it is changes no box
            left_over, inside = _clipped(polygon, height, width)
            moves = (matrices != stay).flatten(1).any(1)[:, None]
            polygon = torch.where(moves[..., None, None], left_over, _with_corners(polygon, left_over.shape[2]))
            there &= inside | ~moves
        polygon = _moved_points(polygon.flatten(1, 2), matrices, height, width).view_as(polygon)
    there &= _clipped(polygon, height, width)[1]
    polygon = polygon.clamp(*limits)
    low, high = polygon.amin(2), polygon.amax(2)
    # What has no area is at most a line: the hull of one that lies across would have some.
    middle, side = (low + high) / 2, high - low
    shorter = ~there[..., None] & torch.stack([side[..., 0] <= side[..., 1], side[..., 1] < side[..., 0]], -1)
    hull = torch.cat([torch.where(shorter, middle, low), torch.where(shorter, middle, high)], -1)
    missing = boxes.isnan() if boxes.is_floating_point() else torch.zeros_like(boxes, dtype=torch.bool)
    return _in_dtype_of(hull.masked_fill(missing.any(-1, keepdim=True), float("nan")), boxes)


def _with_corners(polygon: Float[Tensor, "B N P 2"], count: int) -> Float[Tensor, "B N Q 2"]:
    """The same polygons with `count` corners: the first one several times."""
    corners = polygon.shape[2]
    return torch.cat([polygon, polygon[:, :, :1].expand(-1, -1, count - corners, -1)], 2)


def _clipped(
    polygon: Float[Tensor, "B N P 2"], height: int, width: int
) -> tuple[Float[Tensor, "B N Q 2"], Bool[Tensor, "B N"]]:
    """What of convex polygons, their corners in order, lies in the image, and whether that has an area (Sutherland and
    Hodgman 1974). Each side of the image adds at most one corner. Of polygons outside, the nearest points of the image.
    """
    left_over, there = polygon, torch.ones(polygon.shape[:2], dtype=torch.bool, device=polygon.device)
    for axis, sign, limit in ((0, 1, 0), (0, -1, width), (1, 1, 0), (1, -1, height)):
        depth = sign * (left_over[..., axis] - limit)
        following, depth_there = left_over.roll(-1, 2), depth.roll(-1, 2)
        inside = depth >= 0
        crosses = inside != (depth_there >= 0)
        share = torch.where(crosses, depth, 0.0) / torch.where(crosses, depth - depth_there, 1.0)
        found = torch.stack([left_over, left_over + share[..., None] * (following - left_over)], 3).flatten(2, 3)
        kept = torch.stack([inside, crosses], 3).flatten(2, 3)
        order = torch.argsort(~kept, dim=2, stable=True)[..., : left_over.shape[2] + 1]
        real = kept.gather(2, order)
        place = torch.where(real, order, order[..., :1])  # where there are fewer, the first corner again
        left_over = found.gather(2, place[..., None].expand(*place.shape, 2))
        there = there & real[..., 0]
    x, y = left_over.unbind(-1)
    area = (x * y.roll(-1, 2) - y * x.roll(-1, 2)).sum(2).abs() / 2
    limits = polygon.new_zeros(2), constant((float(width), float(height)), polygon.dtype, polygon.device)
    nearest = _with_corners(polygon, left_over.shape[2]).clamp(*limits)
    return torch.where(there[..., None, None], left_over, nearest), there & (area > _NO_AREA)


def _in_dtype_of(values: Float[Tensor, "B N D"], like: Tensor) -> Tensor:
    if like.is_floating_point():
        return values.to(like.dtype)
    limits = torch.iinfo(like.dtype)
    # No whole number is NaN; what is far outside stays outside.
    return values.nan_to_num(nan=0.0).round().clamp(limits.min, limits.max).to(like.dtype)
