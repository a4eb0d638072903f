"""A policy as a torchvision transform."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import augrad
from augrad import Policy, UserError
from pictures import every_kind, in_levels

SIDE = 24


def policy_of(names: tuple[str, ...] = ("rotate", "shear_x", "color", "cutout")) -> Policy:
    return Policy.over(names, stages=2, probability=0.9)


def picture(mode: str = "RGB") -> Image.Image:
    pixels = (every_kind(3, SIDE, SIDE)[2] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).convert(mode)


def seeded(seed: int, call: Callable[..., Any], *given: Any, **options: Any) -> Any:
    torch.manual_seed(seed)
    return call(*given, **options)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_becomes_what_the_policy_makes_of_it(channels: int, dtype: torch.dtype) -> None:
    policy = policy_of()
    transform = policy.to_torchvision()
    images = every_kind(channels, SIDE, SIDE)
    images = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
    for seed, image in enumerate(images):
        assert torch.equal(seeded(seed, transform, image), seeded(seed, policy, image[None])[0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_becomes_what_the_policy_makes_of_its_pixels(mode: str) -> None:
    policy = policy_of()
    given = picture(mode)
    before = given.tobytes()
    for seed in range(20):
        output = seeded(seed, policy.to_torchvision(), given)
        expected = seeded(seed, policy, v2.functional.pil_to_tensor(given)[None])[0]
        assert output.mode == mode
        assert torch.equal(v2.functional.pil_to_tensor(output), expected)
    assert given.tobytes() == before


@pytest.mark.parametrize(
    ("mode", "result"),
    [("P", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("1", "L"), ("RGBA", "RGBA"), ("LA", "LA"),
     ("PA", "RGBA"), ("RGBa", "RGBA")],
)  # fmt: skip
def test_pictures_of_every_8_bit_mode_are_read_as_a_person_sees_them(mode: str, result: str) -> None:
    given = picture("RGBA" if mode == "RGBa" else "L" if mode in ("LA", "1") else "RGB").convert(mode)
    output = augrad.load_policy("identity").to_torchvision()(given)
    assert output.mode == result
    assert np.array_equal(np.asarray(output), np.asarray(given.convert(result)))


def test_transparency_moves_with_its_picture() -> None:
    flip = Policy.over(["horizontal_flip"], probability=1.0).to_torchvision()
    given = picture()
    alpha = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE))
    given.putalpha(alpha)
    assert np.array_equal(np.asarray(flip(given)), np.asarray(given)[:, ::-1])
    away = Policy.over({"translate_x": {"low": 0.5, "high": 0.5}}, probability=1.0, magnitude="point")
    uncovered = np.asarray(away.to_torchvision()(given))[..., 3]
    assert (uncovered == 0).all(0).sum() >= SIDE // 2  # what was not there is transparent
    palette = picture("P")
    palette.info["transparency"] = 3
    assert flip(palette).mode == "RGBA"


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_pictures_of_more_than_8_bits_are_refused(mode: str) -> None:
    with pytest.raises(UserError, match=rf"expected a picture of 8 bits, got mode '{mode}'"):
        policy_of().to_torchvision()(Image.new(mode, (8, 8)))


def test_masks_boxes_and_key_points_move_with_their_image() -> None:
    policy = policy_of()
    image = in_levels(every_kind(3, SIDE, SIDE))[2]
    masks = torch.arange(2 * SIDE * SIDE).view(2, SIDE, SIDE)
    boxes, points = torch.tensor([[2.0, 3.0, 10.0, 12.0]]), torch.tensor([[[4.0, 5.0], [6.0, 7.0]]])
    sample = {
        "image": tv_tensors.Image(image),
        "masks": tv_tensors.Mask(masks),
        "one": tv_tensors.Mask(masks[0]),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(SIDE, SIDE)),
        "sized": tv_tensors.BoundingBoxes([[2.0, 3.0, 8.0, 9.0]], format="XYWH", canvas_size=(SIDE, SIDE)),
        "points": tv_tensors.KeyPoints(points, canvas_size=(SIDE, SIDE)),
        "label": 7,
    }
    for seed in range(20):
        output = seeded(seed, policy.to_torchvision(), sample)
        expected = seeded(seed, policy, image[None], masks=masks[None], boxes=boxes[None], keypoints=points)
        assert {name: type(value) for name, value in output.items()} == {n: type(v) for n, v in sample.items()}
        assert torch.equal(output["image"], expected.images[0])
        assert torch.equal(output["masks"], expected.masks[0])
        assert torch.equal(output["one"], expected.masks[0, 0])
        assert torch.allclose(output["boxes"], expected.boxes[0])
        corners = v2.functional.convert_bounding_box_format(output["sized"], new_format="XYXY")
        assert torch.allclose(corners.as_subclass(Tensor), expected.boxes[0])
        assert torch.allclose(output["points"], expected.keypoints)
        assert output["label"] == 7


def test_all_frames_of_a_video_and_all_images_of_a_sample_share_one_draw() -> None:
    transform = policy_of().to_torchvision()
    frame = in_levels(every_kind(3, SIDE, SIDE))[2]
    output = transform({"video": tv_tensors.Video(frame.expand(2, 5, -1, -1, -1)), "image": tv_tensors.Image(frame)})
    assert output["video"].shape == (2, 5, 3, SIDE, SIDE)
    assert (output["video"] == output["image"]).all()


def test_boxes_that_are_turned_and_other_tensors_are_refused() -> None:
    transform = policy_of().to_torchvision()
    turned = tv_tensors.BoundingBoxes([[5.0, 5.0, 3.0, 4.0, 30.0]], format="CXCYWHR", canvas_size=(SIDE, SIDE))
    with pytest.raises(UserError, match="expected boxes as XYXY, XYWH, CXCYWH, got CXCYWHR"):
        transform(tv_tensors.Image(torch.zeros(3, SIDE, SIDE)), turned)
    with pytest.raises(UserError, match=r"expected images \[..., C, H, W\], got shape \(4, 4\)"):
        transform(torch.zeros(4, 4))


def test_it_is_a_copy_without_gradients_that_keeps_no_other_image() -> None:
    policy = policy_of()
    transform = policy.to_torchvision()
    assert isinstance(transform, v2.Transform)
    assert not any(parameter.requires_grad for parameter in transform.parameters())
    assert policy.gate_logits.requires_grad
    with torch.no_grad():
        policy.gate_logits.fill_(-1e9)  # a search that goes on
    image = torch.rand(3, SIDE, SIDE)
    assert any(not torch.equal(transform(image), image) for _ in range(20))
    with pytest.raises(UserError, match="expected operations on one image, got sample_pairing"):
        Policy.over(["rotate", "sample_pairing"]).to_torchvision()


def test_parameters_that_are_loaded_or_changed_count_at_once() -> None:
    image = in_levels(every_kind(3, SIDE, SIDE))[2]
    transform = Policy.over(["invert"], probability=1.0).to_torchvision()
    never = Policy.over(["invert"], probability=0.0).to_torchvision()
    for _ in range(2):  # the second time by the kernels alone
        assert torch.equal(transform(image), 255 - image)
    copy = pickle.loads(pickle.dumps(transform))
    transform.load_state_dict(never.state_dict())
    assert torch.equal(transform(image), image)
    assert torch.equal(copy(image), 255 - image)
    with torch.no_grad():
        transform.policy.gate_logits.fill_(1e150)
    assert torch.equal(transform(image), 255 - image)


@pytest.mark.parametrize("name", augrad.PolicyParams.names())
def test_a_policy_that_diverged_is_refused_by_the_kernels_alone_too(name: str) -> None:
    policy, image = policy_of(), in_levels(every_kind(3, SIDE, SIDE))[2]
    transform = policy.to_torchvision()
    transform(image)
    with torch.no_grad():
        getattr(transform.policy, name).fill_(math.nan)
    with pytest.raises(UserError, match="NaN"):
        _ = [transform(image) for _ in range(20)]  # a closed gate hides a magnitude


def test_boxes_of_whole_numbers_stay_where_nothing_moves() -> None:
    identity = augrad.load_policy("identity").to_torchvision()
    for kind, box in {"XYXY": [6, 7, 11, 10], "XYWH": [6, 7, 5, 4], "CXCYWH": [6, 7, 5, 4]}.items():
        boxes = tv_tensors.BoundingBoxes([box], format=kind, canvas_size=(SIDE, SIDE))
        assert torch.equal(identity(boxes), boxes)


def test_two_transforms_in_a_pipeline_draw_apart_and_a_seed_repeats() -> None:
    policy = Policy.over(["invert"], probability=0.5)
    both = v2.Compose([policy.to_torchvision(), pickle.loads(pickle.dumps(policy.to_torchvision()))])
    image = torch.zeros(3, 2, 2)
    changed = [bool(seeded(seed, both, image).any()) for seed in range(400)]
    assert 150 < sum(changed) < 250  # one of the two, not both or none
    assert changed == [bool(seeded(seed, both, image).any()) for seed in range(400)]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_a_data_loader_draw_apart_and_repeat(method: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for index in range(8):
        picture().save(tmp_path / "a" / f"{index}.png")
    transform = v2.Compose([policy_of().to_torchvision(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    data = ImageFolder(str(tmp_path), transform=transform)

    def epoch() -> Tensor:
        torch.manual_seed(3)
        loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=method)
        return torch.cat([images for images, _ in loader])

    first = epoch()
    assert len({image.numpy().tobytes() for image in first}) == 8  # the same picture, eight draws
    assert torch.equal(first, epoch())


def test_numbers_that_are_written_past_autograd_count() -> None:
    """`.data`, as moving averages of weights write it, changes no version."""
    policy = Policy.over({"invert": None}, probability=0.5)
    policy.gate_logits.data.fill_(-40.0)
    transform, black = policy.to_torchvision(), torch.zeros(3, 4, 4, dtype=torch.uint8)
    assert transform(black).max() == 0
    transform.policy.gate_logits.data.fill_(40.0)
    assert transform(black).min() == 255
    transform.policy.gate_logits.data = torch.full_like(transform.policy.gate_logits, -40.0)
    assert transform(black).max() == 0
