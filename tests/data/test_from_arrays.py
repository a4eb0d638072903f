"""Splits of a user's own arrays, tensors and data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

from augrad import Splits, UserError
from augrad.data.arrays import load_arrays
from problems import shapes_unchecked

PARTS = ("train", "validation", "selection", "test")


def images(count: int = 60, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 10, 12, channels), dtype=np.uint8)


def labels(count: int = 60) -> np.ndarray:
    return np.arange(count) % 3


def same(one: Splits, other: Splits) -> bool:
    return one.class_count == other.class_count and all(
        torch.equal(getattr(getattr(one, part), what), getattr(getattr(other, part), what))
        for part in PARTS
        for what in ("images", "labels")
    )


def as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


class Pictures(list[tuple[Any, int]]):
    """A data set of (image, label)."""


FORMS: dict[str, Callable[[np.ndarray, np.ndarray], Splits]] = {
    "tensor [N, C, H, W]": lambda x, y: Splits.from_arrays(as_tensor(x), torch.from_numpy(y)),
    "floating point": lambda x, y: Splits.from_arrays(x / 255, y.astype(np.uint8)),
    "half precision": lambda x, y: Splits.from_arrays((as_tensor(x).float() / 255).double(), y.tolist()),
    "nested lists": lambda x, y: Splits.from_arrays((x / 255).tolist(), y.tolist()),
    "TensorDataset": lambda x, y: Splits.from_datasets(TensorDataset(as_tensor(x), torch.from_numpy(y))),
    "pictures": lambda x, y: Splits.from_datasets([(Image.fromarray(i), int(c)) for i, c in zip(x, y, strict=True)]),
    "ToTensor": lambda x, y: Splits.from_datasets(
        [(v2.functional.to_image(Image.fromarray(i)).float() / 255, int(c)) for i, c in zip(x, y, strict=True)]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_splits_of_the_file(form: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=images(), train_labels=labels())
    of_the_file = load_arrays(tmp_path / "x.npz")
    assert same(Splits.from_arrays(images(), labels()), of_the_file)
    assert same(FORMS[form](images(), labels()), of_the_file)


def test_arrays_that_must_not_be_written_to_are_read_without_a_word() -> None:
    """Of a memory map, say; warnings are errors in these tests."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    labels = np.arange(60) % 3
    images.flags.writeable = labels.flags.writeable = False
    assert len(Splits.from_arrays(images, labels).train) > 0


def test_grey_images_have_one_channel() -> None:
    grey = images(channels=1)
    found = Splits.from_arrays(grey[..., 0], labels())
    assert found.image_shape == (1, 10, 12)
    assert same(found, Splits.from_arrays(torch.from_numpy(grey[..., 0]), labels()))
    assert same(
        found,
        Splits.from_datasets([(Image.fromarray(one[..., 0]), int(c)) for one, c in zip(grey, labels(), strict=True)]),
    )


def test_sets_that_are_given_are_used() -> None:
    held_out, test = (images(30, seed=1), labels(30)), (images(9, seed=2), labels(9))
    found = Splits.from_arrays(images(), labels(), held_out, test, selection_fraction=0.05, validation_fraction=0.2)
    assert [len(getattr(found, part)) for part in PARTS] == [60, 24, 6, 9]
    assert torch.equal(found.train.images, as_tensor(images()))
    assert torch.equal(found.test.images, as_tensor(test[0]))
    other = Splits.from_arrays(images(), labels(), test=(test[0], 2 - test[1]))
    assert other.sha256 != Splits.from_arrays(images(), labels(), test=test).sha256


def test_a_data_set_of_torchvision(tmp_path: Path) -> None:
    for label in range(3):
        (tmp_path / f"class {label}").mkdir()
        for index in range(12):
            Image.fromarray(images(1, seed=12 * label + index)[0]).save(tmp_path / f"class {label}" / f"{index}.png")
    found = Splits.from_datasets(datasets.ImageFolder(tmp_path))
    assert (found.image_shape, found.class_count) == ((3, 10, 12), 3)
    assert sum(len(getattr(found, part)) for part in PARTS) == 36


X, Y = images(), labels()
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a tensor the other way": (lambda: Splits.from_arrays(torch.from_numpy(X), Y), r"images: .*permute\(0, 3, 1, 2\)"),
    "an array the other way": (lambda: Splits.from_arrays(as_tensor(X).numpy(), Y), r"images .*moveaxis"),
    "too many": (lambda: Splits.from_arrays(X.astype(np.int16), Y), "images .*int16; convert them"),
    "out of range": (lambda: Splits.from_arrays(X.astype(float), Y), r"images in 0 .. 1, got 0.0 .. 255.0"),
    "several sizes": (lambda: Splits.from_arrays([[1], [1, 2]], Y), "images: expected an array"),
    "labels": (lambda: Splits.from_arrays(X, Y[:-1]), "60 labels, one for each image, got 59"),
    "gaps": (lambda: Splits.from_arrays(X, 2 * Y), "labels 0 .. n - 1 without gaps"),
    "words": (lambda: Splits.from_arrays(X, Y.astype(str)), "integers in labels"),
    "no pair": (lambda: Splits.from_arrays(X, Y, test=X), r"test set: expected a pair \(images, labels\), got ndarray"),
    "other size": (lambda: Splits.from_arrays(X, Y, test=(X[:, 1:], Y)), "test images of the same size as images"),
    "other classes": (lambda: Splits.from_arrays(X, Y, (X, Y + 1)), "validation labels in 0 .. 2"),
    "fraction": (lambda: Splits.from_arrays(X, Y, test_fraction=1.5), "test_fraction: expected a number between"),
    "no data set": (lambda: Splits.from_datasets(3), "train: expected a data set"),
    "an empty one": (lambda: Splits.from_datasets([]), "train: expected at least one image"),
    "no labels": (lambda: Splits.from_datasets([X[0]]), r"train\[0\]: expected \(image, label\)"),
    "no image": (lambda: Splits.from_datasets([("a.png", 0)]), r"train\[0\]: expected a picture"),
    "no class": (lambda: Splits.from_datasets([(X[0], {"box": 1})]), r"train\[0\]: expected a whole number as label"),
    **{
        f"a picture of mode {mode}": (
            lambda mode=mode: Splits.from_datasets([(Image.new("L", (8, 8)), 0), (Image.new(mode, (8, 8)), 0)]),
            rf"train\[1\]: expected a picture of 8 bits, grey or RGB .*, got mode {mode}; .*{way}",
        )
        for modes, way in (
            (("P", "1", "LA", "PA", "RGBA", "CMYK", "HSV", "LAB", "YCbCr"), "convert"),
            (("I", "I;16", "F"), "divide"),
        )
        for mode in modes
    },
    **{
        f"the label {label!r}": (
            lambda label=label: Splits.from_datasets([(X[0], 0), (X[1], label)]),
            r"train\[1\]: expected a whole number as label, got ",
        )
        for label in (
            0.7,
            1.0,
            torch.tensor(0.5),
            np.float32(1),
            True,
            np.True_,
            torch.tensor(True),
            "1",
            b"1",
            None,
            [0, 1],
            torch.tensor([0, 1]),
            np.array([0.0, 1.0]),
            1 + 0j,
            torch.tensor(1 + 0j),
        )
    },
    "sizes": (
        lambda: Splits.from_datasets([(X[0], 0), (X[0, 1:], 1)]),
        r"train\[1\]: expected an image like the first",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_the_argument(mistake: str) -> None:
    call, words = MISTAKES[mistake]
    with shapes_unchecked(), pytest.raises(UserError, match=words):
        call()


@pytest.mark.parametrize(
    "kind", [int, np.int32, np.uint8, torch.tensor, np.array, lambda label: torch.tensor([label], dtype=torch.uint8)]
)
def test_one_whole_number_is_a_label_whoever_made_it(kind: Callable[[int], Any]) -> None:
    x, y = images(), labels()
    given = [(image, kind(int(label))) for image, label in zip(x, y, strict=True)]
    assert same(Splits.from_datasets(given), Splits.from_datasets(list(zip(x, y, strict=True))))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_what_is_done_to_the_arrays_afterwards_changes_nothing(kind: str, grey: bool) -> None:
    drawn = np.random.default_rng(0)
    shape = (8, 8) if grey else (8, 8, 3) if kind == "array" else (3, 8, 8)

    def some(count: int) -> tuple[Any, Any]:
        both = drawn.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 3
        return both if kind == "array" else tuple(map(torch.from_numpy, both))  # type: ignore[return-value]

    (images, labels), validation, test = some(60), some(30), some(30)
    data = Splits.from_arrays(images, labels, validation=validation, test=test)
    before = data.train.images.clone(), data.train.labels.clone(), data.test.images.clone()
    for given in (images, labels, *validation, *test):
        given[...] = 0
    assert torch.equal(data.train.images, before[0])
    assert torch.equal(data.train.labels, before[1])
    assert torch.equal(data.test.images, before[2])


def test_what_is_masked_is_not_used() -> None:
    images, labels = np.zeros((30, 8, 8), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None], np.arange(30) % 3
    with pytest.raises(
        UserError, match=r"labels: expected an array with all its values, got one of which 4 are masked"
    ):
        Splits.from_arrays(images, np.ma.masked_array(labels, np.arange(30) < 4))
    with pytest.raises(UserError, match="images: expected an array with all its values"):
        Splits.from_arrays(np.ma.masked_greater(images, 20), labels)
    assert len(Splits.from_arrays(np.ma.masked_array(images), labels).train)
