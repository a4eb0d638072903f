"""Masks, boxes and key points: where they go, that they go with the images, and who refuses to move them."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

import augrad
from augrad import Policy, PolicySample, UserError
from augrad.ops.space import make_space
from augrad.ops.spec import Warp
from augrad.policy.initial import initial_policy
from pictures import magnitudes

HEIGHT, WIDTH = 26, 34
GEOMETRIC = [name for name in augrad.ops.names() if augrad.ops.get(name).kind == "geometric"]
STILL = [name for name in augrad.ops.names() if augrad.ops.get(name).kind not in ("geometric", "mix")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_of(*names: str, stages: int = 1, interpolation: str = "bilinear") -> Policy:
    return initial_policy(
        make_space({name: {} for name in names}, interpolation=interpolation),  # type: ignore[arg-type]
        stages=stages,
        probability=0.95,
    )


def drawn(policy: Policy, batch: int, *stages: tuple[str, float]) -> PolicySample:
    """For every image the same operations with the same signed magnitudes."""
    sample = policy.sample(batch, generator=generator())
    op = torch.tensor([[op.name for op in policy.ops].index(name) for name, _ in stages])
    magnitude = torch.tensor([value for _, value in stages], dtype=torch.float64)
    return replace(
        sample,
        op=op.expand(batch, -1),
        gate=torch.ones_like(sample.gate),
        magnitude=magnitude.abs().expand(batch, -1),
        sign=torch.where(magnitude < 0, -1.0, 1.0).to(torch.float64).expand(batch, -1),
    )


def reference_function(name: str, magnitude: float) -> Callable[[Tensor], Tensor]:
    """What torchvision does with images and targets."""
    if name in ("horizontal_flip", "vertical_flip"):
        return getattr(reference, name)
    if name == "rotate":
        return lambda target: reference.rotate(target, magnitude, interpolation=InterpolationMode.NEAREST)
    shift, slope, scale = [0.0, 0.0], [0.0, 0.0], 1.0
    if name == "zoom":
        scale = math.exp(magnitude)
    elif name.startswith("translate"):
        shift["xy".index(name[-1])] = magnitude * (WIDTH if name[-1] == "x" else HEIGHT)
    else:
        slope["xy".index(name[-1])] = math.degrees(math.atan(magnitude))
    centre = {"center": [0, 0]} if any(slope) else {}
    return lambda target: reference.affine(target, 0, shift, scale, slope, **centre)


def random_boxes(batch: int, count: int = 5) -> Tensor:
    """Inside the image; the second is the image, the third touches its border."""
    corners = torch.rand(batch, count, 2, 2, generator=generator(1)) * torch.tensor([WIDTH, HEIGHT])
    boxes = torch.cat([corners.amin(2), corners.amax(2)], -1)
    boxes[:, 1:2] = torch.tensor([0.0, 0.0, WIDTH, HEIGHT])
    boxes[:, 2:3, :2] = 0.0
    return boxes


def random_points(batch: int, count: int = 6) -> Tensor:
    return torch.rand(batch, count, 2, generator=generator(2)) * torch.tensor([WIDTH - 1, HEIGHT - 1])


BLANK = torch.zeros(2, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_masks_agree_with_torchvision(name: str, dtype: torch.dtype) -> None:
    policy = policy_of(name)
    large = {torch.bool: 1, torch.uint8: 255}.get(dtype, 2000)
    masks = torch.randint(0, large + 1, (2, 4, HEIGHT, WIDTH), generator=generator()).to(dtype)
    for magnitude in magnitudes(name, 5, ties=False):
        sample = drawn(policy, 2, (name, magnitude))
        ours = policy(BLANK, params=sample, masks=masks).masks
        assert ours.dtype == dtype
        theirs = reference_function(name, magnitude)(tv_tensors.Mask(masks.double())).to(dtype)
        assert torch.equal(ours, torch.Tensor(theirs)), f"{name} at {magnitude}"
        assert torch.equal(policy(BLANK, params=sample, masks=masks[:, 0]).masks, ours[:, 0])  # not contiguous


@pytest.mark.parametrize("name", GEOMETRIC)
def test_boxes_agree_with_torchvision(name: str) -> None:
    policy, boxes = policy_of(name), random_boxes(2)
    for magnitude in magnitudes(name, 5):
        ours = policy(BLANK, params=drawn(policy, 2, (name, magnitude)), boxes=boxes).boxes
        assert ours.dtype == boxes.dtype
        given = tv_tensors.BoundingBoxes(boxes.reshape(-1, 4), format="XYXY", canvas_size=(HEIGHT, WIDTH))
        theirs = reference_function(name, magnitude)(given).reshape(2, -1, 4)
        torch.testing.assert_close(ours, torch.Tensor(theirs), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_keypoints_agree_with_torchvision(name: str) -> None:
    policy, points = policy_of(name), random_points(2)
    # torchvision flips centres of pixels, as we do, but rotates and shears positions counted from the image's edge.
    offset = 0.0 if name.endswith("flip") else 0.5
    for magnitude in magnitudes(name, 5):
        ours = policy(BLANK, params=drawn(policy, 2, (name, magnitude)), keypoints=points).keypoints
        given = tv_tensors.KeyPoints(points + offset, canvas_size=(HEIGHT, WIDTH))
        theirs = torch.Tensor(reference_function(name, magnitude)(given)) - offset
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_keypoint_stays_on_the_bright_dot(seed: int) -> None:
    # Rotations by less than 15 degrees and small shifts: what the dot's neighbours blend with stays in the image.
    space = {"rotate": {"high": 15.0}, "shear_x": {"high": 0.1}, "shear_y": {"high": 0.1}}
    space |= {"translate_x": {"high": 0.1}, "translate_y": {"high": 0.1}, "horizontal_flip": {}, "vertical_flip": {}}
    policy = initial_policy(make_space(space), stages=3)
    batch = 16
    points = torch.randint(12, 20, (batch, 1, 2), generator=generator(seed))
    column, row = torch.arange(32.0), torch.arange(40.0)[:, None]
    x, y = points[:, 0, 0, None, None], points[:, 0, 1, None, None]
    images = torch.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)[:, None]
    output = policy(images, keypoints=points.double(), generator=generator(seed))
    weight = output.images[:, 0].double()
    total = weight.sum((1, 2))
    centroid = torch.stack([(weight * column).sum((1, 2)), (weight * row).sum((1, 2))], -1) / total[:, None]
    assert (output.keypoints[:, 0] - points[:, 0]).abs().max() > 5  # they did move
    assert (output.keypoints[:, 0] - centroid).abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_masks_are_bit_identical_to_images_of_nearest_pixels(dtype: torch.dtype) -> None:
    policy = policy_of(*GEOMETRIC, stages=3, interpolation="nearest")
    images = torch.randint(0, 256, (40, 3, HEIGHT, WIDTH), generator=generator())
    images = images.to(torch.uint8) if dtype == torch.uint8 else images.to(dtype) / 255
    output = policy(images, masks=images, generator=generator(5))
    assert torch.equal(output.masks, output.images)
    assert not torch.equal(output.images, images)


def test_a_box_holds_what_its_object_covers() -> None:
    policy = policy_of(*GEOMETRIC, stages=3)
    batch = 60
    boxes = random_boxes(batch, 1).round()
    column, row = torch.arange(WIDTH) + 0.5, (torch.arange(HEIGHT) + 0.5)[:, None]
    left, top, right, bottom = boxes[:, 0, :, None, None].unbind(1)
    masks = (column > left) & (column < right) & (row > top) & (row < bottom)
    output = policy(BLANK[:1].expand(batch, -1, -1, -1), masks=masks, boxes=boxes, generator=generator())
    left, top, right, bottom = output.boxes[:, 0, :, None, None].unbind(1)
    outside = (column < left - 1) | (column > right + 1) | (row < top - 1) | (row > bottom + 1)
    assert output.masks.any()
    assert not (output.masks & outside).any()
    assert (output.boxes >= 0).all()
    assert (output.boxes <= torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])).all()
    assert (output.boxes[..., 2:] >= output.boxes[..., :2]).all()


ROUND_TRIPS = {
    "rotate": 27.0,
    "shear_x": 0.2,
    "shear_y": -0.3,
    "translate_x": 0.4,
    "translate_y": -6 / HEIGHT,
    "horizontal_flip": 0.0,
    "vertical_flip": 0.0,
}


@pytest.mark.parametrize(("name", "magnitude"), ROUND_TRIPS.items())
def test_there_and_back(name: str, magnitude: float) -> None:
    policy = policy_of(name, stages=2)
    sample = drawn(policy, 2, (name, magnitude), (name, -magnitude))
    boxes, points = (
        torch.tensor([[[12.0, 9.0, 20.0, 17.0], [14.5, 10.25, 17.0, 15.5]]]).expand(2, 2, 4),
        random_points(2),
    )
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.int64)
    object = masks[:, 9:17, 12:20]  # far from the border; labels that float32 cannot tell apart
    object.copy_((1 << 40) + torch.arange(4).reshape(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1))
    output = policy(BLANK, params=sample, masks=masks, boxes=boxes, keypoints=points)
    torch.testing.assert_close(output.boxes, boxes, rtol=0, atol=1e-4)
    torch.testing.assert_close(output.keypoints, points, rtol=0, atol=1e-4)
    if name in ("rotate", "shear_x", "shear_y"):  # twice to the nearest pixel
        assert (output.masks[:, 9:17, 12:20] == object).double().mean() > 0.8
        assert (output.masks == masks).double().mean() > 0.98
    else:
        assert torch.equal(output.masks, masks)


def test_what_leaves_the_image() -> None:
    policy = policy_of("translate_x")
    boxes = torch.tensor([[[30, 3, 34, 9], [0, 0, 34, 26]]]).expand(2, 2, 4)
    output = policy(
        BLANK,
        params=drawn(policy, 2, ("translate_x", 17 / WIDTH)),
        boxes=boxes,
        keypoints=torch.tensor([[[20, 4]]]).expand(2, 1, 2),
        masks=torch.ones(2, HEIGHT, WIDTH),
    )
    assert output.boxes.tolist() == [[[34, 3, 34, 9], [17, 0, 34, 26]]] * 2
    assert output.boxes.dtype == torch.int64
    assert output.keypoints.tolist() == [[[37, 4]]] * 2
    assert not output.masks[..., :17].any()
    assert output.masks[..., 17:].all()


@pytest.mark.parametrize("name", STILL)
def test_other_operations_leave_targets_alone(name: str) -> None:
    policy = policy_of(name, "rotate")
    sample = drawn(policy, 2, (name, augrad.ops.get(name).high or 0.0))
    masks = torch.randint(0, 9, (2, HEIGHT, WIDTH), generator=generator())
    boxes, points = random_boxes(2), random_points(2)
    output = policy(
        torch.rand(BLANK.shape, generator=generator()), params=sample, masks=masks, boxes=boxes, keypoints=points
    )
    assert torch.equal(output.masks, masks)
    torch.testing.assert_close(output.boxes, boxes, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.keypoints, points, rtol=0, atol=1e-5)


def test_images_and_targets_share_one_draw() -> None:
    policy = policy_of(*GEOMETRIC, "invert", "identity", stages=2)
    images = torch.rand(12, 3, HEIGHT, WIDTH, generator=generator())
    points = random_points(12)
    plain = policy(images, generator=generator(3))
    output, sample = policy(images, keypoints=points, generator=generator(3), return_params=True)
    assert type(output).__name__ == "Augmented"
    assert output._fields == ("images", "masks", "boxes", "keypoints")
    assert torch.equal(output.images, plain)
    assert output.masks is None
    assert output.boxes is None
    replayed = policy(images, params=sample, keypoints=points, boxes=random_boxes(12))
    assert torch.equal(replayed.images, plain)
    assert torch.equal(replayed.keypoints, output.keypoints)
    same = policy(images, keypoints=points[:1].expand(12, -1, -1), same_on_batch=True)
    assert (same.keypoints == same.keypoints[:1]).all()
    assert len(output.keypoints.detach().round(decimals=3).unique(dim=0)) > 6
    masks = torch.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH).expand(12, -1, -1)
    moved = policy(images, params=sample, masks=masks).masks
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(policy(images, params=sample, masks=masks).masks, moved)
    closed = replace(sample, gate=torch.zeros_like(sample.gate))
    torch.testing.assert_close(policy(images, params=closed, keypoints=points).keypoints, points)


def test_keypoints_and_boxes_carry_the_gradient_of_magnitudes() -> None:
    policy = policy_of("rotate", "shear_x", "translate_y", stages=2)
    output = policy(BLANK.expand(2, 3, HEIGHT, WIDTH), keypoints=random_points(2), boxes=random_boxes(2))
    for target in (output.keypoints, output.boxes):
        (gradient,) = torch.autograd.grad(target.square().sum(), policy.magnitude_locations, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.any()


def targets(batch: int = 2) -> dict[str, Tensor]:
    masks = torch.zeros(batch, HEIGHT, WIDTH, dtype=torch.int64)
    return {"masks": masks, "boxes": random_boxes(batch), "keypoints": random_points(batch)}


@pytest.mark.parametrize("target", ["masks", "boxes", "keypoints"])
def test_who_cannot_move_a_target_refuses_before_drawing(target: str) -> None:
    given = {target: targets()[target]}
    mixing = policy_of("rotate", "sample_pairing")
    source = generator()
    before = source.get_state()
    with pytest.raises(UserError, match=f"sample_pairing cannot move {target}"):
        mixing(BLANK, generator=source, **given)
    # Whatever was drawn: also where it does not act.
    with pytest.raises(UserError, match="sample_pairing"):
        mixing(BLANK, params=drawn(mixing, 2, ("rotate", 3.0)), **given)
    rotating = policy_of("rotate")
    twirl = replace(rotating.ops[0], name="twirl")
    with pytest.raises(UserError, match=f"twirl cannot move {target}"):
        Policy([twirl], rotating.slots, rotating.params)(BLANK, generator=source, **given)
    assert torch.equal(source.get_state(), before)
    with pytest.raises(UserError, match="relaxed"):
        rotating(BLANK, params=rotating.rsample(2), **given)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("masks", torch.zeros(2, WIDTH, HEIGHT), r"expected a tensor \[2, 26, 34\] or \[2, C, 26, 34\]"),
        ("masks", torch.zeros(3, HEIGHT, WIDTH), r"got shape \(3, 26, 34\)"),
        ("masks", torch.zeros(HEIGHT, WIDTH), r"got shape \(26, 34\)"),
        ("boxes", torch.zeros(2, 4), r"\[2, N, 4\]"),
        ("boxes", torch.zeros(2, 1, 5), r"\[2, N, 4\]"),
        ("boxes", torch.zeros(2, 1, 4, dtype=torch.bool), "expected a dense tensor of numbers, got torch.bool"),
        ("keypoints", torch.zeros(2, 1, 3), r"\[2, N, 2\]"),
        ("keypoints", torch.zeros(1, 1, 2), r"\[2, N, 2\]"),
        ("keypoints", torch.zeros(2, 1, 2, device="meta"), "images' device cpu, got meta"),
    ],
)
def test_targets_that_do_not_fit_are_refused(name: str, target: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        policy_of("rotate")(BLANK, **{name: target})
    assert str(caught.value).startswith(f"{name}:")


def test_no_boxes_and_no_keypoints_are_fine() -> None:
    output = policy_of("rotate")(BLANK, boxes=torch.zeros(2, 0, 4), keypoints=torch.zeros(2, 0, 2))
    assert output.boxes.shape == (2, 0, 4)
    assert output.keypoints.shape == (2, 0, 2)


def test_every_geometric_operation_has_its_matrix() -> None:
    assert all(isinstance(augrad.ops.get(name).shape, Warp) for name in GEOMETRIC)


SIZES = {"shear_x": 0.3, "shear_y": 0.3, "translate_x": 0.3, "translate_y": 0.3, "rotate": 40.0, "zoom": 0.3}


def way_of(generator: torch.Generator, stages: int) -> list[tuple[str, float]]:
    """Random geometric operations, of both signs."""
    names = [GEOMETRIC[int(torch.randint(len(GEOMETRIC), (), generator=generator))] for _ in range(stages)]
    return [(name, SIZES.get(name, 0.0) * float(torch.rand((), generator=generator) * 2 - 1)) for name in names]


def hull_of(mask: Tensor) -> list[float] | None:
    """Left, top, right, bottom of what is set, None where nothing is."""
    rows, columns = mask.nonzero().unbind(1)
    if not len(rows):
        return None
    return [float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1]


def mask_of(boxes: Tensor, height: int, width: int) -> Tensor:
    """[B, 4] -> [B, H, W]: the pixels whose centres lie inside."""
    column, row = torch.arange(width) + 0.5, (torch.arange(height) + 0.5)[:, None]
    left, top, right, bottom = boxes[:, :, None, None].unbind(1)
    return (column > left) & (column < right) & (row > top) & (row < bottom)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_a_box_and_its_mask_stay_together(seed: int, stages: int) -> None:
    """Fine pixels, so that the mask's own rounding, half a pixel a stage, is small beside the boxes."""
    source, height, width = generator(seed), 120, 150
    way = way_of(source, stages)
    policy = policy_of(*dict.fromkeys(name for name, _ in way), stages=stages)
    corners = torch.rand(8, 2, 2, generator=source, dtype=torch.float64) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], -1).round()
    masks = mask_of(boxes, height, width)
    images = torch.zeros(8, 1, height, width)
    sample = drawn(policy, 8, *way)
    output = policy(images, params=sample, masks=masks, boxes=boxes[:, None])
    # What is left before the last stage, and where its corners go: cut there, a corner's hull is larger than the rest.
    border = torch.tensor([0.0, 0.0, width, height])
    for box, mask in zip(output.boxes[:, 0].detach(), output.masks, strict=True):
        hull = hull_of(mask)
        if hull is None:
            assert (box[2:] - box[:2]).min() <= 1.5 * stages, (way, box)
            continue
        low, high = torch.tensor(hull[:2]) - box[:2], box[2:] - torch.tensor(hull[2:])
        assert torch.stack([low, high]).min() >= -0.75 * stages, (way, box, hull)  # nothing outside of the box
        if not ((box - border).abs() < 1e-9).any():
            assert torch.stack([low, high]).max() <= 1 + 0.75 * stages, (way, box, hull)


@pytest.mark.parametrize("share", [0.5, -0.5, 0.25])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_box_does_not_bring_back_what_its_mask_has_lost(axis: str, share: float) -> None:
    name = f"translate_{axis}"
    policy = policy_of(name, stages=2)
    boxes = torch.tensor([[0.0, 0.0, WIDTH, HEIGHT]]).expand(2, 1, 4)
    sample = drawn(policy, 2, (name, share), (name, -share))
    output = policy(BLANK, params=sample, boxes=boxes, masks=torch.ones(2, HEIGHT, WIDTH))
    assert output.boxes[0, 0].tolist() == pytest.approx(hull_of(output.masks[0]), abs=0.5 + 1e-4)
    still = drawn(policy, 2, (name, share), (name, 0.0))  # a stage that moves nothing changes nothing
    alone = drawn(policy, 2, (name, 0.0), (name, share))
    assert torch.equal(policy(BLANK, params=still, boxes=boxes).boxes, policy(BLANK, params=alone, boxes=boxes).boxes)


NO_AREA = [
    [5, 5, 5, 9],
    [5, 5, 9, 5],
    [9, 5, 5, 9],
    [9, 9, 3, 3],
    [3, 3, 3, 3],
    [-9, -9, -2, -2],
    [40, 2, 50, 9],
    [0, 30, 34, 40],
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.int16])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_no_area_comes_from_none(stages: int, dtype: torch.dtype) -> None:
    source = generator(stages)
    boxes = torch.tensor(NO_AREA).to(dtype).expand(2, -1, 4)
    for _ in range(12):
        way = way_of(source, stages)
        policy = policy_of(*dict.fromkeys(name for name, _ in way), stages=stages)
        output = policy(BLANK, params=drawn(policy, 2, *way), boxes=boxes).boxes
        assert output.dtype == dtype
        side = output[..., 2:] - output[..., :2]
        assert (side >= 0).all(), way
        assert (side.amin(-1) == 0).all(), way
        assert (output >= 0).all()
        assert (output <= torch.tensor([WIDTH, HEIGHT] * 2)).all()


def test_a_box_that_has_left_has_no_area_whatever_comes_after() -> None:
    policy = policy_of("translate_x", "rotate", stages=2)
    boxes = torch.tensor([[2.0, 3.0, 20.0, 25.0]]).expand(2, 1, 4)
    for share in (1.0, -1.0, 0.95, 2.5):
        output = policy(BLANK, params=drawn(policy, 2, ("translate_x", share), ("rotate", 40.0)), boxes=boxes).boxes
        assert (output[..., 2:] - output[..., :2]).min() == 0


def test_boxes_and_key_points_that_are_no_numbers() -> None:
    policy = policy_of("rotate")
    given = torch.tensor([[[math.nan, 1.0, 2.0, 3.0], [1.0, 2.0, 8.0, 9.0], [-math.inf, 2.0, math.inf, 8.0]]]).expand(
        2, 3, 4
    )
    output = policy(BLANK, params=drawn(policy, 2, ("rotate", 20.0)), boxes=given, keypoints=given[..., :2])
    assert output.boxes[:, 0].isnan().all()
    assert output.boxes[:, 1:].isfinite().all()
    assert output.keypoints[:, 0].isnan().all()
    assert output.keypoints[:, 1].isfinite().all()
    lost = policy(BLANK, params=drawn(policy, 2, ("rotate", math.nan)), boxes=given.nan_to_num(), masks=BLANK + 1)
    assert lost.images.isnan().all()
    assert lost.boxes.isnan().all()
    assert not lost.masks.any()


@pytest.mark.parametrize(
    ("name", "dtype", "size", "message"),
    [
        ("boxes", torch.uint8, 300, "holds numbers up to 300"),
        ("boxes", torch.int8, 200, "holds numbers up to 200"),
        ("keypoints", torch.uint8, 20, "signed type"),
    ],
)
def test_types_that_cannot_hold_what_may_come_are_refused(
    name: str, dtype: torch.dtype, size: int, message: str
) -> None:
    target = torch.ones(1, 1, 4 if name == "boxes" else 2, dtype=dtype)
    with pytest.raises(UserError, match=message):
        policy_of("rotate")(torch.zeros(1, 1, 6, size), **{name: target})


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.int16, torch.int32, torch.bfloat16, torch.float32, torch.uint16, torch.uint32, torch.uint64],
)
def test_masks_of_any_type(dtype: torch.dtype) -> None:
    policy = policy_of(*GEOMETRIC, stages=2)
    masks = torch.randint(0, 100, (6, HEIGHT, WIDTH), generator=generator())
    images, sample = BLANK[:1].expand(6, -1, -1, -1), policy.sample(6, generator=generator(1))
    output = policy(images, params=sample, masks=masks.to(dtype)).masks
    assert output.dtype == dtype
    assert torch.equal(output.to(torch.int64), policy(images, params=sample, masks=masks).masks)


def test_key_points_of_images_that_stay_are_left_alone() -> None:
    """Markers of what is missing, too, and to the last bit."""
    still = initial_policy(make_space({"rotate": None, "translate_x": None}), stages=2, probability=0.0)
    points = torch.tensor([[[math.inf, 3.0], [math.nan, 2.0], [0.1, 1 / 3]]], dtype=torch.float64)
    moved = still(torch.rand(1, 3, 16, 16), keypoints=points, generator=torch.Generator()).keypoints
    torch.testing.assert_close(moved, points, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["brightness", "rotate", "identity"])
def test_outputs_lie_in_memory_of_their_own(name: str) -> None:
    policy = policy_of(name)
    given = {"masks": torch.ones(2, HEIGHT, 1).expand(2, HEIGHT, WIDTH), "boxes": random_boxes(2)}
    given["keypoints"] = random_points(2)
    before = {key: target.clone() for key, target in given.items()}
    output = policy(torch.rand(BLANK.shape), **given)
    for key in given:
        getattr(output, key).fill_(7)
        assert torch.equal(given[key], before[key])
