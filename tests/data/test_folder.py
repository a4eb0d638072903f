"""Pictures from folders: real files, small; every pixel, every split, every complaint."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

import augrad.data.decode as decoding
from augrad import UserError
from augrad.data.decode import decode
from augrad.data.folder import load_folder
from augrad.data.imagenet import load_imagenet
from augrad.data.planted import Planted
from augrad.data.types import Split, Splits

SIDE = 8


def picture(number: int) -> Image.Image:
    """Of one colour, which no other number has."""
    return Image.new("RGB", (SIDE + number % 3, SIDE), (number, 255 - number, 7))


def number_of(image: Tensor) -> int:
    number, rest, blue = image.flatten(1)[:, 0].tolist()
    assert rest == 255 - number
    assert blue == 7
    assert bool((image == image[:, :1, :1]).all())
    return number


def write(root: Path, sets: dict[str, int], classes: str = "abc", start: int = 0) -> dict[int, str]:
    """So many pictures for each class of each set; the set and class of each number."""
    known = {}
    for name, count in sets.items():
        for label in classes:
            (root / name / label).mkdir(parents=True)
            for index in range(count):
                number = start + len(known)
                picture(number).save(root / name / label / f"{index:02}.png")
                known[number] = f"{name}/{label}"
    return known


def parts(splits: Splits) -> dict[str, Split]:
    return {name: getattr(splits, name) for name in ("train", "validation", "selection", "test")}


def numbers(split: Split, known: dict[int, str], classes: str = "abc") -> list[int]:
    """The pictures in a split, all of which have their own class's label."""
    found = [number_of(image) for image in split.images]
    assert [known[number][-1] for number in found] == [classes[label] for label in split.labels.tolist()]
    return found


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "CMYK"])
@pytest.mark.parametrize(("channels", "converted"), [(3, "RGB"), (1, "L")])
@pytest.mark.parametrize(("width", "height"), [(SIDE, SIDE), (19, 10), (10, 23), (5, 4)])
def test_every_pixel(tmp_path: Path, mode: str, channels: int, converted: str, width: int, height: int) -> None:
    """Against Pillow and plain arithmetic; a JPEG where there is one of that kind."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.fromarray(noise).convert(mode).save(file)
    (found,), _, _ = decode([file], SIDE, channels)
    given = Image.open(file).convert(converted)
    shorter = min(width, height)
    sides = SIDE * width // shorter, SIDE * height // shorter
    resized = given if shorter == SIDE else given.resize(sides, Image.Resampling.BILINEAR)
    left, top = (round((side - SIDE) / 2) for side in sides)
    square = np.asarray(resized).reshape(*resized.size[::-1], channels)[top : top + SIDE, left : left + SIDE]
    assert torch.equal(found, torch.from_numpy(square.transpose(2, 0, 1).copy()))


def test_what_is_missing_is_split_off_train_each_picture_once(tmp_path: Path) -> None:
    known = write(tmp_path, {"train": 20})
    splits = load_folder(tmp_path, SIDE)
    assert (splits.class_count, splits.image_shape, splits.name) == (3, (3, SIDE, SIDE), tmp_path.name)
    found = {name: numbers(split, known) for name, split in parts(splits).items()}
    assert {name: len(split) for name, split in found.items()} == {
        "train": 27, "validation": 15, "selection": 6, "test": 12
    }  # fmt: skip
    assert sorted(number for split in found.values() for number in split) == sorted(known)
    for split in parts(splits).values():
        assert len(split.labels.bincount().unique()) == 1  # as many of each class
    again = load_folder(tmp_path, SIDE)
    assert all(torch.equal(one.images, other.images) for one, other in zip(*map(_values, (splits, again)), strict=True))
    other = load_folder(tmp_path, SIDE, seed=1)
    assert numbers(other.train, known) != found["train"]
    assert other.sha256 == splits.sha256


def _values(splits: Splits) -> list[Split]:
    return list(parts(splits).values())


def test_given_sets_are_used_and_val_is_divided(tmp_path: Path) -> None:
    known = write(tmp_path, {"train": 6, "val": 10, "test": 4})
    splits = load_folder(tmp_path, SIDE, validation_fraction=0.2, selection_fraction=0.2)
    found = {name: numbers(split, known) for name, split in parts(splits).items()}
    sets = {name: {known[number][:-2] for number in split} for name, split in found.items()}
    assert sets == {"train": {"train"}, "validation": {"val"}, "selection": {"val"}, "test": {"test"}}
    assert [len(split) for split in found.values()] == [18, 15, 15, 12]


def test_reduced_reads_so_many_and_no_others(tmp_path: Path) -> None:
    known = write(tmp_path, {"train": 20, "test": 2})
    splits = load_folder(tmp_path, SIDE, reduced=30)
    found = [number for split in parts(splits).values() for number in numbers(split, known)]
    assert len(found) == 30 + 6
    for index, (number, place) in enumerate(known.items()):
        if number not in found:
            (tmp_path / place / f"{index % 20:02}.png").write_text("no picture")
    assert load_folder(tmp_path, SIDE, reduced=30).sha256 == splits.sha256
    with pytest.warns(UserWarning, match="30 pictures that cannot be read"):
        load_folder(tmp_path, SIDE)


def test_the_hash_is_that_of_pixels_and_classes(tmp_path: Path) -> None:
    write(tmp_path / "one", {"train": 5})
    write(tmp_path / "two", {"train": 5})
    one = load_folder(tmp_path / "one", SIDE).sha256
    assert load_folder(tmp_path / "two", SIDE).sha256 == one
    changed = picture(3)
    changed.putpixel((0, 0), (0, 0, 0))
    changed.save(tmp_path / "two" / "train" / "a" / "03.png")
    assert load_folder(tmp_path / "two", SIDE).sha256 != one
    (tmp_path / "one" / "train" / "c").rename(tmp_path / "one" / "train" / "d")
    assert load_folder(tmp_path / "one", SIDE).sha256 != one


def test_planted_shifts_all_but_train(tmp_path: Path) -> None:
    known = write(tmp_path, {"train": 10})
    splits = load_folder(tmp_path, SIDE, planted=Planted("invert", 0, 0))
    plain = load_folder(tmp_path, SIDE)
    assert numbers(splits.train, known) == numbers(plain.train, known)
    assert torch.equal(splits.test.images, 255 - plain.test.images)


def test_imagenet_takes_val_as_test_and_only_the_asked_classes(tmp_path: Path) -> None:
    classes = "abcde"
    known = write(tmp_path, {"train": 20, "val": 3}, classes)
    splits = load_imagenet(tmp_path, 20, 2, SIDE, validation_fraction=0.5, selection_size=8)
    names = sorted({place[-1] for number, place in known.items() if number in map(number_of, splits.train.images)})
    assert splits.class_count == len(names) == 2
    found = {name: numbers(split, known, "".join(names)) for name, split in parts(splits).items()}
    assert [len(split) for split in found.values()] == [10, 10, 8, 6]
    assert len({number for split in found.values() for number in split}) == 34
    assert {known[number] for number in found["test"]} == {f"val/{name}" for name in names}
    assert load_imagenet(tmp_path, 20, 2, SIDE, selection_size=8).class_count == 2
    other = {load_imagenet(tmp_path, 20, 2, SIDE, selection_size=8, seed=seed).sha256 for seed in range(4)}
    assert len(other) > 1
    named = load_imagenet(tmp_path, 20, ["e", "b"], SIDE, selection_size=8)
    assert {known[number][-1] for number in numbers(named.train, known, "be")} == {"b", "e"}
    whole = load_imagenet(tmp_path, size=SIDE, selection_size=10)
    assert [len(split) for split in parts(whole).values()] == [81, 9, 10, 15]


def test_a_bar_on_a_terminal_and_nothing_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {"train": 3})
    files = sorted((tmp_path / "train").rglob("*.png"))
    for terminal in (True, False):
        text = io.StringIO()
        decode(files, SIDE, 3, Console(file=text, force_terminal=terminal, width=80))
        assert ("reading images" in text.getvalue()) == terminal
        assert ("9/9" in text.getvalue()) == terminal


def test_more_than_fits_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "free_memory", lambda: 3 * 2**29)
    with pytest.raises(UserError, match=r"^size: 1,000 images of 3 x 2240 x 2240 .* need 14.0 GiB .* 1.5 GiB are free"):
        decode([tmp_path / "not there"] * 1000, 2240, 3)


def test_free_memory_is_some_of_this_machines() -> None:
    free = decoding.free_memory()
    assert free is not None
    assert 2**20 < free < 2**50


def _nothing(root: Path) -> None:
    pass


def _another_class(root: Path) -> None:
    write(root, {"val": 2}, "abd")


def _flat(root: Path) -> None:
    (root / "val").mkdir()
    picture(0).save(root / "val" / "0.png")


def _empty_class(root: Path) -> None:
    (root / "train" / "d").mkdir()


def _few(root: Path) -> None:
    write(root, {"train": 2}, "d", start=90)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (_another_class, {}, "same classes in val as in train, got val without c and with d"),
        (_flat, {}, "val: expected a folder of images for each class, found only 0.png; make a folder"),
        (_empty_class, {}, "train: expected a folder of images for each class; .*d"),
        (_few, {}, "class d has too few images to be split into"),
        (_nothing, {"size": 7}, "^size: expected a whole number of at least 8 pixels, got 7"),
        (_nothing, {"channels": 4}, "^channels: expected 3"),
        (_nothing, {"reduced": 31}, "^reduced: expected 1 to 30 of the train images, got 31"),
        (_nothing, {"reduced": 0}, "^reduced: expected 1 to 30"),
        (_nothing, {"validation_fraction": 1.0}, "^validation_fraction: expected a number between 0 and 1"),
        (
            _nothing,
            {"validation_fraction": 0.6, "test_fraction": 0.6},
            "expected fractions that leave images for train",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, change, arguments: dict[str, float], message: str) -> None:
    write(tmp_path, {"train": 10})
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        load_folder(tmp_path, **{"size": SIDE, **arguments})


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train: expected a folder with a folder of images for each class, found none"):
        load_folder(tmp_path)
    write(tmp_path, {"train": 10}, "a")
    with pytest.raises(UserError, match="expected at least two classes, got only a"):
        load_folder(tmp_path)
    words = re.escape(f"this is the train folder itself: give the folder that it lies in, data.root={tmp_path}")
    with pytest.raises(UserError, match=words):
        load_folder(tmp_path / "train")
    with pytest.raises(UserError, match="val: expected a folder"):
        load_imagenet(tmp_path)


@pytest.mark.parametrize("classes", [1, 6, ["a"], ["a", "a"], ["a", "x"], "a"])
def test_classes_that_imagenet_has_not(tmp_path: Path, classes: int | list[str] | str) -> None:
    write(tmp_path, {"train": 4, "val": 1}, "abcde")
    with pytest.raises(UserError, match=r"^classes: expected"):
        load_imagenet(tmp_path, classes=classes, size=SIDE, selection_size=5)


def test_a_folder_of_classes_is_the_train_set(tmp_path: Path) -> None:
    """As torchvision's ImageFolder has it."""
    write(tmp_path / "whole", {"train": 12})
    (tmp_path / "flat").symlink_to(tmp_path / "whole" / "train")
    whole, flat = load_folder(tmp_path / "whole", SIDE), load_folder(tmp_path / "flat", SIDE)
    for name, part in parts(whole).items():
        assert torch.equal(part.images, parts(flat)[name].images)
    with pytest.raises(UserError, match="this is the train folder itself"):
        load_folder(tmp_path / "whole" / "train", SIDE)


def test_sets_by_other_names_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, {"trian": 4, "tset": 4})
    with pytest.raises(UserError, match=r"beside trian, tset; correct data\.root"):
        load_folder(tmp_path, SIDE)
