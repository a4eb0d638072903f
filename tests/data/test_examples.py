"""Pictures to look at, from a user's folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augrad.data.examples import examples_of, photographs
from augrad.errors import UserError

_COLORS = [(40 * index, 255 - 40 * index, 128) for index in range(7)]


def _save(path: Path, color: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def test_the_photographs_say_whose_they_are() -> None:
    found = photographs()
    assert found.images.shape == (2, 3, 128, 128)
    assert found.names == ("china.jpg", "flower.jpg")
    assert "danielbuechele" in found.credit


def test_pictures_come_evenly_from_the_list_of_names(tmp_path: Path) -> None:
    for index, color in enumerate(_COLORS):
        _save(tmp_path / f"class {index // 3}" / f"{index}.png", color)
    found = examples_of(tmp_path, 3)
    assert found.names == ("class 0/0.png", "class 1/3.png", "class 2/6.png")
    assert found.images.shape == (3, 3, 30, 30)
    assert [tuple(image[:, 0, 0].tolist()) for image in found.images] == [_COLORS[0], _COLORS[3], _COLORS[6]]
    assert len(examples_of(tmp_path, 20).names) == 7


def test_they_are_read_as_a_person_sees_them(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    turned = Image.new("RGB", (40, 40), "white")
    turned.paste("red", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise: left becomes top
    turned.save(tmp_path / "turned.png", exif=exif)
    first, second = examples_of(tmp_path).images
    assert torch.equal(first[0], first[1])
    assert first[0, -1, -1] == 255
    assert second[:, 5, 30].tolist() == [255, 0, 0]
    assert second[:, 35, 5].tolist() == [255, 255, 255]


def test_sizes_are_those_of_the_smallest_within_limits(tmp_path: Path) -> None:
    _save(tmp_path / "large.png", size=(500, 300))
    assert examples_of(tmp_path).images.shape[-1] == 128
    _save(tmp_path / "small.png", size=(4, 300))
    assert examples_of(tmp_path).images.shape[-1] == 16


def test_what_cannot_be_read_is_left_out_by_name(tmp_path: Path) -> None:
    for index in range(3):
        _save(tmp_path / f"{index}.png")
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:50])
    (tmp_path / "1.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    found = examples_of(tmp_path, 4)
    assert found.names == ("1.png", "2.png")
    assert sorted((one.kind, one.path.name) for one in found.left_out) == [
        ("files of other kinds", "notes.txt"),
        ("pictures that cannot be read", "0.png"),
        ("pictures that cannot be read", "1.jpg"),
    ]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "expected a folder of pictures, found no such folder"),
        ("file", "expected a folder of pictures, found a file"),
        ("empty", "expected pictures .*, found nothing"),
        ("notes", "expected pictures .*, found only notes.txt"),
        ("broken", r"found none that can be read: 1 pictures that cannot be read: a.png \(no picture\)"),
    ],
)
def test_a_folder_without_pictures_is_refused(made: str | None, message: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if made == "file":
        place.write_text("x")
    elif made is not None:
        place.mkdir()
    if made in ("notes", "broken"):
        (place / {"notes": "notes.txt", "broken": "a.png"}[made]).write_text("x")
    with pytest.raises(UserError, match=message):
        examples_of(place)
