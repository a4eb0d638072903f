import hashlib

import pytest
import torch
from sklearn import datasets

from augrad.data.digits import load_digits
from augrad.data.types import Split
from augrad.errors import UserError

PARTS = ("train", "validation", "selection", "test")


def contents(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def test_sizes_types_and_range():
    splits = load_digits()
    assert [len(getattr(splits, part)) for part in PARTS] == [1000, 300, 150, 347]
    assert splits.class_count == 10
    assert splits.image_shape == (1, 16, 16)
    assert splits.name == "digits"
    for part in PARTS:
        split = getattr(splits, part)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert split.images.max() == 255
        assert split.images.min() == 0


def test_the_splits_hold_every_image_exactly_once():
    splits = load_digits(seed=3)
    everything = sorted(
        (image.numpy().tobytes(), label)
        for part in PARTS
        for image, label in zip(getattr(splits, part).images, getattr(splits, part).labels.tolist(), strict=True)
    )
    other = load_digits(seed=4)
    again = sorted(
        (image.numpy().tobytes(), label)
        for part in PARTS
        for image, label in zip(getattr(other, part).images, getattr(other, part).labels.tolist(), strict=True)
    )
    assert everything == again
    assert len(everything) == 1797
    # The few images that occur twice in the source aside, no image is in two splits.
    total = sum(len(contents(getattr(splits, part))) for part in PARTS)
    assert total == len({image for image, _ in everything})


def test_stratified_by_class():
    splits = load_digits(seed=1)
    share = torch.from_numpy(datasets.load_digits().target).bincount() / 1797
    for part in PARTS:
        labels = getattr(splits, part).labels
        assert (labels.bincount(minlength=10) - share * len(labels)).abs().max() <= 2


def test_the_seed_decides_the_split_and_nothing_else_does():
    first, again, other = load_digits(seed=0), load_digits(seed=0), load_digits(seed=1)
    for part in PARTS:
        assert torch.equal(getattr(first, part).images, getattr(again, part).images)
        assert torch.equal(getattr(first, part).labels, getattr(again, part).labels)
    assert not torch.equal(first.train.images, other.train.images)
    assert first.sha256 == again.sha256 == other.sha256


def test_the_global_generator_is_not_used():
    state = torch.get_rng_state()
    load_digits()
    assert torch.equal(torch.get_rng_state(), state)


def test_enlarged_bilinearly_by_hand():
    source = torch.from_numpy(datasets.load_digits().images)
    # At twice the size, a pixel is 3/4 of the nearer and 1/4 of the farther one, along each axis.
    rows = 0.75 * source[:, :-1] + 0.25 * source[:, 1:]
    pixels = 0.75 * rows[:, :, :-1] + 0.25 * rows[:, :, 1:]
    expected = (pixels * 255 / 16).round().to(torch.uint8)
    corner = (source[:, 0, 0] * 255 / 16).round().to(torch.uint8)
    splits = load_digits()
    everything = torch.cat([getattr(splits, part).images for part in PARTS])
    inner = sorted(image.numpy().tobytes() for image in everything[:, 0, 1:-1:2, 1:-1:2].contiguous())
    assert inner == sorted(image.numpy().tobytes() for image in expected)
    assert everything[:, 0, 0, 0].bincount().tolist() == corner.bincount().tolist()


def test_sha256_is_of_the_image_bytes():
    source = torch.from_numpy(datasets.load_digits().images)[:, None]
    enlarged = torch.nn.functional.interpolate(source, size=(24, 24), mode="bilinear")
    images = (enlarged * 255 / 16).round().to(torch.uint8)
    assert load_digits(size=24).sha256 == hashlib.sha256(images.numpy().tobytes()).hexdigest()
    assert load_digits(size=24).sha256 != load_digits().sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 15}, "^size: expected at least 16 pixels, got 15"),
        ({"train_size": 1500}, "at least 10 images for test.*got -153"),
        ({"selection_size": 9}, "at least 10 images for selection.*got 9"),
        ({"validation_size": -5}, "at least 10 images for validation.*got -5"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(UserError, match=message):
        load_digits(**arguments)


def test_moves_between_devices_and_indexes():
    splits = load_digits()
    moved = splits.to("meta")
    for part in PARTS:
        assert getattr(moved, part).images.device.type == getattr(moved, part).labels.device.type == "meta"
        assert len(getattr(moved, part)) == len(getattr(splits, part))
    assert splits.train.images.device.type == "cpu"
    assert moved.sha256 == splits.sha256
    batch = splits.train[torch.tensor([7, 2])]
    assert torch.equal(batch.images[0], splits.train.images[7])
    assert batch.labels.tolist() == splits.train.labels[[7, 2]].tolist()


@pytest.mark.parametrize("size", [100_000, 10**30])
def test_more_pixels_than_memory_are_refused_before_they_are_made(size):
    with pytest.raises(UserError, match=r"^size: 1,797 images of 1 x \d+ x \d+ pixels need .* GiB .* lower it"):
        load_digits(size=size)
