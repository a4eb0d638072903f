"""What was read, in words: what a person should see before a run takes an hour."""

from collections.abc import Iterator
from itertools import chain

import torch

from augrad.checks import few
from augrad.data.types import Images, Split, Splits

_FEW = 10
"""Training images of a class below which little can be learned of it."""
_UNEQUAL = 10
"""How many times the smallest class the largest one may be."""
_FEW_TESTED = 200
"""Test images below which one of them is half a percentage point and more."""


def described(data: Splits) -> str:
    """The data in one line: how many images, which classes, the four splits, the size.

    As in "shapes: 360 images, 6 classes (circle, cross, ring and 3 more) -> 162 train / 90 validation / 36 selection /
    72 test, 64 x 64 pixels, colour".
    """
    channels, height, width = data.image_shape
    splits = _splits(data)
    names = f" ({few(data.class_names)})" if data.class_names else ""
    sizes = " / ".join(f"{len(split):,} {name}" for name, split in splits.items())
    total = sum(map(len, splits.values()))
    return (
        f"{data.name}: {total:,} images, {data.class_count} classes{names} -> {sizes}, {height} x {width} pixels, "
        f"{'grey' if channels == 1 else 'colour'}"
    )


def concerns(data: Splits) -> Iterator[str]:
    """What of the data may spoil a run, a sentence each: few images, unequal classes, classes that a split lacks."""
    counts = {name: _counts(split, data.class_count) for name, split in _splits(data).items()}
    train = counts["train"]
    small = [label for label, count in enumerate(train) if count < _FEW]
    if small:
        told = few(f"{class_name(data, label)} ({train[label]})" for label in small)
        yield f"few training images of {told}: little can be learned from fewer than {_FEW} of a class"
    if data.image_shape[0] == 3 and _are_grey(data.train.images):
        yield "all pictures are grey: channels=1 reads them so, and space=gray leaves out what changes colours alone"
    least, most = min(train), max(train)
    if most >= _UNEQUAL * max(least, 1):
        large, small_one = (class_name(data, train.index(count)) for count in (most, least))
        yield (
            f"classes of unequal sizes: {most:,} training images of {large}, {least:,} of {small_one}; accuracy says "
            "little of the small ones"
        )
    for name, count in counts.items():
        missing = [class_name(data, label) for label in range(data.class_count) if not count[label]]
        if missing:
            yield f"no {name} images of {few(missing)}"
    tested = len(data.test)
    if tested < _FEW_TESTED:
        yield (
            f"few test images: each of the {tested} is {100 / tested:.1f} percentage points of accuracy; more of "
            "them, by test_fraction or a test set of your own, make the verdict sharper"
        )


def _are_grey(images: Images) -> bool:
    """Whether the channels of all images are the same; looked at in a few of them first."""
    return all(bool((part == part[:, :1]).all()) for part in chain((images[:16],), images.split(1024)))


def lines_about(data: Splits) -> list[str]:
    """`described`, and then `concerns`."""
    return [described(data), *concerns(data)]


def class_name(data: Splits, label: int) -> str:
    """What the class is called; without names its number says it: "class 3"."""
    return data.class_names[label] if data.class_names else f"class {label}"


def _splits(data: Splits) -> dict[str, Split]:
    return {"train": data.train, "validation": data.validation, "selection": data.selection, "test": data.test}


def _counts(split: Split, class_count: int) -> list[int]:
    return torch.bincount(split.labels.cpu(), minlength=class_count).tolist()
