"""What was read is told in words, and what of it may spoil a run."""

import numpy as np
import pytest
import torch

from augrad.data.digits import load_digits
from augrad.data.summary import class_name, concerns, described, lines_about
from augrad.data.types import Split, Splits


def split(counts: dict[int, int]) -> Split:
    """So many images of each class."""
    labels = torch.cat([torch.full((count,), label) for label, count in counts.items()])
    red = torch.zeros(len(labels), 3, 8, 12, dtype=torch.uint8)
    red[:, 0] = 1
    return Split(red, labels)


def data(train: dict[int, int], test: dict[int, int], names: tuple[str, ...] = ()) -> Splits:
    even = split(dict.fromkeys(train, 4))
    return Splits("shapes", len(train), split(train), even, even, split(test), "", class_names=names)


def test_data_in_a_line() -> None:
    named = data({0: 30, 1: 1200}, {0: 100, 1: 150}, ("circle", "cross"))
    assert described(named) == (
        "shapes: 1,496 images, 2 classes (circle, cross) -> 1,230 train / 8 validation / 8 selection / 250 test, "
        "8 x 12 pixels, colour"
    )
    assert described(load_digits()) == (
        "digits: 1,797 images, 10 classes (0, 1, 2, 3, 4 and 5 more) -> 1,000 train / 300 validation / 150 selection / "
        "347 test, 16 x 16 pixels, grey"
    )
    assert "(a, b, c, d, e and 2 more)" in described(data(dict.fromkeys(range(7), 20), {0: 1}, tuple("abcdefg")))


def test_what_may_spoil_a_run_is_said() -> None:
    assert list(concerns(load_digits())) == []
    names = ("circle", "cross", "ring")
    assert list(concerns(data({0: 99, 1: 99, 2: 10}, dict.fromkeys(range(3), 70), names))) == []
    found = list(concerns(data({0: 100, 1: 50, 2: 9}, {0: 30, 1: 20}, names)))
    assert found == [
        "few training images of ring (9): little can be learned from fewer than 10 of a class",
        "classes of unequal sizes: 100 training images of circle, 9 of ring; accuracy says little of the small ones",
        "no test images of ring",
        "few test images: each of the 50 is 2.0 percentage points of accuracy; more of them, by test_fraction or a "
        "test set of your own, make the verdict sharper",
    ]
    assert lines_about(data({0: 20}, {0: 300})) == [described(data({0: 20}, {0: 300}))]


def test_a_class_without_a_name_is_told_by_its_number() -> None:
    assert class_name(data({0: 1, 1: 1}, {0: 1}), 1) == "class 1"
    assert class_name(data({0: 1, 1: 1}, {0: 1}, ("a", "b")), 1) == "b"


@pytest.mark.parametrize("grey", [False, True])
def test_grey_pictures_in_colour_are_told(grey: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    if grey:
        images[..., 1:] = images[..., :1]
    told = [words for words in concerns(Splits.from_arrays(images, np.arange(60) % 3)) if "grey" in words]
    expected = "all pictures are grey: channels=1 reads them so, and space=gray leaves out what changes colours alone"
    assert told == ([expected] if grey else [])
