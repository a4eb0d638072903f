"""Folder trees as disks have them: what is used, what is left out and named, what is refused."""

import os
import re
import shutil
import socket
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder

from augrad import UserError
from augrad.data.divide import divided
from augrad.data.folder import load_folder
from augrad.data.imagenet import load_imagenet
from augrad.data.listing import list_images
from augrad.data.types import Splits

SIDE = 8
PARTS = ("train", "validation", "selection", "test")


def picture(number: int) -> Image.Image:
    """Noise that no other number has."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def write(root: Path, sets: dict[str, int], classes: tuple[str, ...] = ("a", "b", "c"), start: int = 0) -> Path:
    for name, count in sets.items():
        for label in classes:
            (root / name / label).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                picture(start).save(root / name / label / f"{index:02}.png")
                start += 1
    return root


def images(splits: Splits) -> list[Tensor]:
    return [getattr(splits, part).images for part in PARTS]


def same(one: Splits, other: Splits) -> bool:
    labels = ([getattr(splits, part).labels for part in PARTS] for splits in (one, other))
    pairs = [*zip(images(one), images(other), strict=True), *zip(*labels, strict=True)]
    return one.sha256 == other.sha256 and all(torch.equal(*pair) for pair in pairs)


def contents(splits: Splits) -> dict[str, set[bytes]]:
    return {part: {image.numpy().tobytes() for image in getattr(splits, part).images} for part in PARTS}


def told(root: Path, **arguments: int) -> tuple[Splits, str]:
    """What was loaded, and the one warning about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = load_folder(root, SIDE, **arguments)
    (warning,) = caught
    assert "\n" not in str(warning.message)
    return splits, str(warning.message)


# The names of the sets.


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "VALID", "Validation"])
def test_a_validation_set_by_another_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "usual", {"train": 6, "val": 4})
    shutil.copytree(tmp_path / "usual", tmp_path / "other")
    (tmp_path / "other" / "val").rename(tmp_path / "other" / name)
    assert same(load_folder(tmp_path / "usual", SIDE), load_folder(tmp_path / "other", SIDE))


@pytest.mark.parametrize("name", ["Test", "TEST", "testing", "Testing"])
def test_a_test_set_by_another_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"Train": 6, name: 4})
    splits = load_folder(tmp_path, SIDE)
    assert [len(part) for part in images(splits)] == [11, 4, 3, 12]


@pytest.mark.parametrize("names", [("val", "valid"), ("Test", "testing"), ("train", "Train"), ("train", "training")])
def test_two_folders_for_one_set_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    write(tmp_path, {"train": 6} | dict.fromkeys(names, 6))
    with pytest.raises(UserError, match=f"found {'|'.join(names)} and {'|'.join(names)}"):
        load_folder(tmp_path, SIDE)


def test_two_names_of_one_folder_are_one(tmp_path: Path) -> None:
    write(tmp_path, {"train": 6, "valid": 4})
    (tmp_path / "val").symlink_to("valid")
    assert sum(len(part) for part in images(load_folder(tmp_path, SIDE))) == 30


def test_folders_and_pictures_beside_the_sets_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"train": 6, "holdout": 2, ".git": 1, "@eaDir": 1})
    picture(99).save(tmp_path / "logo.png")
    (tmp_path / "README.md").write_text("about")
    splits, words = told(tmp_path)
    assert sum(len(part) for part in images(splits)) == 18
    assert "1 folders beside train: holdout" in words
    assert "1 pictures outside of the class folders: logo.png" in words
    assert "git" not in words
    assert "README" not in words


def test_imagenet_takes_other_names_too_and_names_its_test_folder(tmp_path: Path) -> None:
    write(tmp_path, {"train": 10, "Validation": 2, "test": 1}, start=1)
    with pytest.warns(UserWarning, match="1 folders beside train: test$"):
        splits = load_imagenet(tmp_path, size=SIDE, selection_size=3)
    assert len(splits.test) == 6


@pytest.mark.parametrize("name", ["val", "test", "train"])
@pytest.mark.parametrize("kind", ["file", "dangling link", "empty folder", "pipe"])
def test_something_else_in_the_place_of_a_set_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path, {"train": 6})
    place = tmp_path / name
    shutil.rmtree(place, ignore_errors=True)
    if kind == "file":
        place.touch()
    elif kind == "dangling link":
        place.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(UserError, match=f"{name}: expected a folder of images for each class, found"):
        load_folder(tmp_path, SIDE)


def test_a_root_without_train_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, {"cats": 1, "dogs": 1})
    with pytest.raises(UserError, match=r"train: expected .*found none, beside cats, dogs; .*into train/"):
        load_folder(tmp_path)
    (tmp_path / "x").touch()
    with pytest.raises(UserError, match="found a file; correct"):
        load_folder(tmp_path / "x")
    with pytest.raises(UserError, match="found no such folder, or one"):
        load_folder(tmp_path / "y")


# What is no class and no picture.


def _litter(root: Path) -> None:
    """What operating systems, viewers, editors and people leave."""
    for name in (".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        (root / "train" / name).mkdir()
        picture(900).save(root / "train" / name / "x.png")
        (root / "train" / "a" / name).mkdir()
        picture(901).save(root / "train" / "a" / name / "x.png")
    for folder in (root, root / "train", root / "train" / "b"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0")
    (root / "train" / "b" / "._00.png").write_bytes(b"\0\5\x16\7 resource fork")
    (root / "train" / "c" / "labels.csv").write_text("x")
    (root / "train" / "c" / "film.mp4").write_text("x")
    (root / "train" / "classes.txt").write_text("a b c")
    picture(902).save(root / "train" / "stray.jpg")
    os.mkfifo(root / "train" / "a" / "pipe.png")
    (root / "train" / "a" / "gone.png").symlink_to("nowhere.png")
    (root / "train" / "a" / "round.png").symlink_to("round.png")
    (root / "train" / "a" / "zeros.png").symlink_to("/dev/zero")
    (root / "train" / "a" / "loop").symlink_to(".")
    (root / "train" / "a" / "up").symlink_to("../..")
    (root / "train" / "a" / "round").symlink_to("round")


def test_litter_changes_nothing_and_is_named_once(tmp_path: Path) -> None:
    write(tmp_path, {"train": 10})
    clean = load_folder(tmp_path, SIDE)
    _litter(tmp_path)
    splits, words = told(tmp_path)
    assert same(clean, splits)
    assert clean.class_count == 3
    assert "8 hidden folders: train/.git, " in words
    assert "1 hidden pictures: train/b/._00.png" in words
    assert "4 files of other kinds: train/a/round, train/c/film.mp4, train/c/labels.csv, train/classes.txt" in words
    assert "1 pictures outside of the class folders: train/stray.jpg" in words
    assert "2 links to folders that are already there: train/a/loop, train/a/up" in words
    assert "4 names of pictures without a file: train/a/gone.png, train/a/pipe.png" in words
    assert "DS_Store" not in words


def test_a_socket_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"train": 6})
    monkeypatch.chdir(tmp_path / "train" / "a")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("x.png")
        _, words = told(tmp_path)
    assert "1 names of pictures without a file: train/a/x.png" in words


@pytest.mark.parametrize("link", ["../a", "../../train", "../..", "/"])
def test_a_class_that_is_a_link_to_where_it_is_in_or_to_another_class(tmp_path: Path, link: str) -> None:
    write(tmp_path, {"train": 6})
    (tmp_path / "train" / "d").symlink_to(link.removeprefix("../") or ".")
    with pytest.raises(
        UserError, match=r"got none of a, d.*in several classes|found only d \(|in d\. Remove|found only"
    ):
        load_folder(tmp_path, SIDE)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ([], "found nothing in d. Remove this folder, or add images"),
        (["x.txt", "y.heic"], "found only d/x.txt, d/y.heic in d. Remove"),
        ([".x.png"], r"found only d/\.x\.png in d"),
    ],
)
def test_a_folder_without_pictures_is_no_class(tmp_path: Path, inside: list[str], words: str) -> None:
    write(tmp_path, {"train": 6})
    (tmp_path / "train" / "d").mkdir()
    for name in inside:
        (tmp_path / "train" / "d" / name).touch()
    with pytest.raises(UserError, match=words):
        load_folder(tmp_path, SIDE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_must_not_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"train": 6})
    (tmp_path / "train" / "a" / "00.png").chmod(0)
    _, words = told(tmp_path)
    assert "1 pictures that cannot be read: train/a/00.png (Permission denied)" in words
    (tmp_path / "train" / "b").chmod(0)
    with pytest.raises(UserError, match="expected a folder that can be listed"):
        load_folder(tmp_path, SIDE)
    (tmp_path / "train" / "b").chmod(0o700)
    (tmp_path / "train").chmod(0o400)
    with pytest.raises(UserError, match="expected a folder that can be listed"):
        load_folder(tmp_path, SIDE)
    (tmp_path / "train").chmod(0o700)
    tmp_path.chmod(0)
    with pytest.raises(UserError, match=r"expected .*folder"):
        load_folder(tmp_path, SIDE)
    tmp_path.chmod(0o700)


# Order.


def test_classes_files_and_splits_are_those_of_image_folder(tmp_path: Path) -> None:
    """Clean trees give what they always gave: the listing of torchvision, the split and the hash made of it."""
    write(tmp_path, {"train": 9}, ("a", "b c", "B", "ä", "日本", "a.b"))
    for number, name in enumerate(
        ("a/x/1.png", "a/x-1/1.png", "a/x 1/1.png", "a/-/1.png", "b c/X/é.PNG", "b c/x/2.png")
    ):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        picture(1000 + number).save(tmp_path / "train" / name)
    known = ImageFolder(str(tmp_path / "train"))
    found = list_images(tmp_path / "train")
    assert list(map(str, found.files)) == [file for file, _ in known.samples]
    assert found.labels.tolist() == known.targets
    assert list(found.classes) == known.classes
    fractions = {"validation": 0.25, "selection": 0.1, "test": 0.2}
    parts = divided({"train": torch.tensor(known.targets), "val": None, "test": None}, fractions, 3, "x")
    splits = load_folder(tmp_path, SIDE, seed=3)
    for part, (_, indices) in parts.items():
        for image, index in zip(getattr(splits, part).images, indices.tolist(), strict=True):
            expected = np.asarray(Image.open(known.samples[index][0])).transpose(2, 0, 1)
            assert np.array_equal(image.numpy(), expected)


def test_names_are_ordered_alike_on_every_file_system(tmp_path: Path) -> None:
    """One keeps é as one character, another as two; a third keeps bytes of another encoding."""
    names = ("e", "f", "z", "é")
    write(tmp_path / "one", {"train": 6}, names)
    write(tmp_path / "two", {"train": 6}, tuple(unicodedata.normalize("NFD", name) for name in names))
    assert same(load_folder(tmp_path / "one", SIDE), load_folder(tmp_path / "two", SIDE))
    assert list_images(tmp_path / "two" / "train").classes == names
    os.rename(tmp_path / "one" / "train", tmp_path / "two" / "val")
    with pytest.raises(UserError, match=r"got none of e, f, z, é.*24 pictures that another split has too"):
        load_folder(tmp_path / "two", SIDE)
    write(tmp_path / "three", {"train": 6}, tuple(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")))
    with pytest.raises(UserError, match="expected one folder for the class é, found two"):
        load_folder(tmp_path / "three", SIDE)


STRANGE = [
    b"caf\xe9",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    b"a b",
    b"a=b",
    b"[red]",
    b"{x}",
    b"100%",
    b"it's",
    b"a\nb",
]


@pytest.mark.parametrize("name", STRANGE)
def test_any_name_will_do(tmp_path: Path, name: bytes) -> None:
    """For the data folder, a class, a folder in it and a file; and in every message."""
    place = Path(os.fsdecode(name))
    root = write(tmp_path / place, {"train": 6}, ("b", str(place)))
    (root / "train" / place / place).mkdir()
    picture(99).save(root / "train" / place / place / f"{place}.png")
    splits = load_folder(root, SIDE)
    assert sum(len(part) for part in images(splits)) == 13
    splits.name.encode()
    assert same(splits, load_folder(root, SIDE))
    (root / "train" / place / place / f"{place}1.png").touch()
    (root / "train" / place / f"{place}.txt").touch()
    (root / f"{place}").mkdir()
    _, words = told(root)
    words.encode()
    (root / "val" / "d").mkdir(parents=True)
    picture(3).save(root / "val" / "d" / f"{place}.png")
    with pytest.raises(UserError, match=r"got val without .*b.* and with d;") as caught:
        load_folder(root, SIDE)
    str(caught.value).encode()


# The same picture twice.


def test_no_picture_is_in_two_splits(tmp_path: Path) -> None:
    write(tmp_path, {"train": 12, "val": 8, "test": 4})
    clean = load_folder(tmp_path, SIDE)
    one = tmp_path / "train" / "a" / "00.png"
    shutil.copy(one, tmp_path / "val" / "a" / "copy.png")
    (tmp_path / "val" / "a" / "link.png").symlink_to(one)
    os.link(tmp_path / "val" / "b" / "00.png", tmp_path / "test" / "b" / "hard.png")
    Image.open(one).save(tmp_path / "test" / "a" / "again.bmp")
    splits, words = told(tmp_path)
    assert same(clean, splits)
    assert "4 pictures that another split has too: val/a/copy.png (the same as train/a/00.png), val/a/link.png" in words
    assert "test/b/hard.png (the same as val/b/00.png)" in words


def test_copies_in_one_set_stay_together(tmp_path: Path) -> None:
    """Every picture of a class twice, as a copying accident leaves them: none is lost, none is in two splits."""
    write(tmp_path, {"train": 10})
    for index in range(10):
        shutil.copy(tmp_path / "train" / "a" / f"{index:02}.png", tmp_path / "train" / "a" / f"{index:02} (1).png")
    for seed in range(3):
        splits = load_folder(tmp_path, SIDE, seed=seed)
        assert sum(len(part) for part in images(splits)) == 40
        found = contents(splits)
        assert sum(map(len, found.values())) == len(set.union(*found.values())) == 30
    whole = write(tmp_path, {"val": 6, "test": 4}, start=100)
    assert len(load_folder(whole, SIDE).train) == 40


def test_a_class_of_copies_of_one_picture_cannot_be_split(tmp_path: Path) -> None:
    write(tmp_path, {"train": 5})
    for index in range(1, 5):
        shutil.copy(tmp_path / "train" / "b" / "00.png", tmp_path / "train" / "b" / f"{index:02}.png")
    with pytest.raises(UserError, match=r"class b has too few images .*got 1; .*4 images are copies of others"):
        load_folder(tmp_path, SIDE)


def test_a_picture_of_two_classes_is_in_none(tmp_path: Path) -> None:
    write(tmp_path, {"train": 8})
    shutil.copy(tmp_path / "train" / "a" / "00.png", tmp_path / "train" / "b" / "x.png")
    splits, words = told(tmp_path)
    assert sum(len(part) for part in images(splits)) == 23
    assert "2 pictures in several classes: train/a/00.png (the same as train/b/x.png), train/b/x.png (" in words


def test_pictures_that_are_the_same_only_when_they_are_small_are_two(tmp_path: Path) -> None:
    write(tmp_path, {"train": 6})
    for label, grey in (("a", 60), ("b", 61)):
        pixels = np.full((40, 40), 60, np.uint8)
        pixels[0, 0] = grey
        Image.fromarray(pixels).save(tmp_path / "train" / label / "x.png")
    assert sum(len(part) for part in images(load_folder(tmp_path, SIDE))) == 20


# Damaged pictures.


@pytest.mark.parametrize("reduced", [None, 24])
def test_damaged_pictures_are_as_if_they_were_not_there(tmp_path: Path, reduced: int | None) -> None:
    write(tmp_path, {"train": 9, "test": 3})
    damaged = [tmp_path / "train" / "b" / f"bad{index}.png" for index in range(7)]
    if reduced is None:
        clean = load_folder(tmp_path, SIDE)
    for file in damaged:
        file.write_text("no picture")
    if reduced is None:
        splits, words = told(tmp_path)
        assert same(clean, splits)
        assert "7 pictures that cannot be read: train/b/bad0.png (no picture), " in words
        assert "train/b/bad4.png (no picture) and 2 more" in words
    else:
        splits, words = told(tmp_path, reduced=reduced)
        assert sum(len(part) for part in images(splits)) < 24 + 9
        assert all(image.any() for part in images(splits) for image in part)


def _spoil(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda root: (root / "train" / "a").iterdir(), "images of each class in train, got none of a; "),
        (lambda root: (root / "test").rglob("*.png"), "images of each class in test, got none of a, b, c; "),
        (lambda root: sorted((root / "train" / "c").iterdir())[:6], "class c has too few images .* got 2; "),
    ],
)
def test_too_many_damaged_pictures_are_refused(
    tmp_path: Path, spoilt: Callable[[Path], list[Path]], words: str
) -> None:
    write(tmp_path, {"train": 8, "test": 2})
    _spoil(list(spoilt(tmp_path)))
    with pytest.raises(UserError, match=words + r".*left out: \d+ pictures that cannot be read: .*png \(") as caught:
        load_folder(tmp_path, SIDE)
    assert not re.search("\n", str(caught.value))


def test_imagenet_classes_whose_names_are_numbers_or_accented(tmp_path: Path) -> None:
    write(tmp_path, {"train": 20, "val": 2}, ("1", "20", "e\u0301", "x"))
    splits = load_imagenet(tmp_path, classes=[1, 20, "\u00e9"], size=SIDE, selection_size=6)
    assert splits.class_count == 3


def test_imagenet_leaves_out_the_same(tmp_path: Path) -> None:
    write(tmp_path, {"train": 20, "val": 4})
    clean = load_imagenet(tmp_path, size=SIDE, selection_size=6)
    (tmp_path / "val" / "a" / "bad.png").touch()
    shutil.copy(tmp_path / "train" / "a" / "00.png", tmp_path / "val" / "a" / "copy.png")
    with pytest.warns(UserWarning, match="1 pictures that cannot be read.*1 pictures that another split has too"):
        splits = load_imagenet(tmp_path, size=SIDE, selection_size=6)
    assert same(clean, splits)
    _spoil([tmp_path / "train" / "a" / "03.png"])
    shutil.copy(tmp_path / "train" / "b" / "03.png", tmp_path / "train" / "b" / "04.png")
    with pytest.warns(UserWarning, match="2 pictures that cannot be read"):
        splits = load_imagenet(tmp_path, size=SIDE, selection_size=6)
    found = contents(splits)
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 70
    assert sum(len(part) for part in images(splits)) == 71
