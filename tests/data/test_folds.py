"""Divisions of the train and validation images for cross-validation."""

import pytest
import torch

from augrad.data.folds import fold_of, in_turn
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


@pytest.mark.parametrize("count", [1, 0, 62])
def test_counts_that_cannot_be_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"folds: expected 2 to 61 parts .*, got {count}; null"):
        fold_of(splits(), count, 0, seed=0)
