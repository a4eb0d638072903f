"""Divisions of the train and validation images for cross-validation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from augrad.data.arrays import load_arrays
from augrad.data.digits import load_digits
from augrad.data.folder import load_folder
from augrad.data.folds import fold_of, folds_of, in_turn
from augrad.data.planted import Planted
from augrad.data.types import Split, Splits
from augrad.errors import UserError


def splits(train: int = 37, validation: int = 24) -> Splits:
    """Every image is its number."""
    total = train + validation
    images = torch.arange(total, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.arange(total) % 3
    parts = Split(images[:train], labels[:train]), Split(images[train:], labels[train:])
    return Splits("numbers", 3, *parts, parts[0], parts[1], "0" * 64)


def numbers(split: Split) -> list[int]:
    return split.images.flatten().tolist()


@pytest.mark.parametrize("count", [2, 3, 5, 61])
def test_every_image_but_a_few_validates_once_and_trains_otherwise(count: int) -> None:
    given = splits()
    validated: list[int] = []
    for index in range(count):
        one = fold_of(given, count, index, seed=0)
        train, validation = numbers(one.train), numbers(one.validation)
        assert sorted(train + validation) == list(range(61))
        assert len(validation) == 61 // count
        assert all(label == number % 3 for number, label in zip(train, one.train.labels.tolist(), strict=True))
        per_class = one.validation.labels.bincount(minlength=3)
        assert per_class.max() - per_class.min() <= 2
        assert one.selection is given.selection
        validated += validation
    assert len(set(validated)) == len(validated) == 61 // count * count


def test_the_seed_decides_and_turns_begin_again() -> None:
    given = splits()
    first, second, third, again = in_turn(given, 3, [0, 1, 2, 3], seed=4)
    assert again is first
    assert len({tuple(numbers(one.validation)) for one in (first, second, third)}) == 3
    assert numbers(fold_of(given, 3, 1, seed=4).validation) == numbers(second.validation)
    assert numbers(fold_of(given, 3, 1, seed=5).validation) != numbers(second.validation)
    assert in_turn(given, None, [0, 5], seed=4) == [given, given]


def test_images_that_are_the_same_stay_together() -> None:
    given = splits()
    images = given.validation.images.clone()
    images[:5] = given.train.images[3]
    copied = replace(given, validation=Split(images, given.validation.labels))
    for index in range(3):
        one = fold_of(copied, 3, index, seed=0)
        train, validation = numbers(one.train), numbers(one.validation)
        assert not set(train) & set(validation)
        assert len(train) + len(validation) == 61
        assert (validation.count(3) == 6) != (train.count(3) == 6)
        assert len(set(validation)) == 56 // 3


def test_by_itself_three_unless_validation_has_a_source_of_its_own() -> None:
    given = splits()
    assert folds_of("auto", given) == 3
    assert folds_of("auto", replace(given, own_validation=True)) is None
    assert folds_of(5, replace(given, own_validation=True)) == 5
    assert folds_of(None, given) is None


def test_data_say_whether_validation_has_a_source_of_its_own(tmp_path: Path) -> None:
    assert not load_digits().own_validation
    assert load_digits(planted=Planted("invert", 0.0, 0.0)).own_validation
    generator = np.random.default_rng(0)
    pairs = {name: (generator.random((40, 8, 8, 1)), np.arange(40) % 2) for name in ("train", "val", "test")}
    assert not Splits.from_arrays(*pairs["train"], test=pairs["test"]).own_validation
    assert Splits.from_arrays(*pairs["train"], pairs["val"], pairs["test"]).own_validation
    for names in (("train", "test"), ("train", "val")):
        file, root = tmp_path / f"{names[1]}.npz", tmp_path / names[1]
        eight = {name: ((255 * pairs[name][0]).astype(np.uint8), pairs[name][1]) for name in names}
        np.savez(file, **{f"{n}_images": eight[n][0] for n in names}, **{f"{n}_labels": eight[n][1] for n in names})
        for name, (images, labels) in eight.items():
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                (root / name / str(label)).mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(image[..., 0]).save(root / name / str(label) / f"{index}.png")
        assert load_arrays(file).own_validation == ("val" in names)
        assert load_folder(root, size=8, channels=1).own_validation == ("val" in names)


@pytest.mark.parametrize("count", [1, 0, 62])
def test_counts_that_cannot_be_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"folds: expected 2 to 61 parts .*, got {count}; null"):
        fold_of(splits(), count, 0, seed=0)
