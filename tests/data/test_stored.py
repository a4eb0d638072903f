"""Images in a file on a disk: the same as in memory, read once, found again, and never wrong without a word."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import augrad.data.decode as decoding
from augrad import UserError
from augrad.comparison.trainings import training_splits
from augrad.data.batches import EpochBatches
from augrad.data.folder import load_folder
from augrad.data.folds import fold_of
from augrad.data.imagenet import load_imagenet
from augrad.data.pixels import channel_statistics
from augrad.data.planted import Planted
from augrad.data.stored import CONTENTS, DIGESTS, IMAGES, StoredImages, filling, store_for
from augrad.data.summary import lines_about
from augrad.data.types import Split, Splits
from augrad.search.choice import deciding

PARTS = "train", "validation", "selection", "test"


def write(root: Path, sets: tuple[str, ...] = ("train", "test"), count: int = 6) -> Path:
    """Noise in pictures of several shapes: so many for each class of each set."""
    noise = np.random.default_rng(0)
    for name in sets:
        for label in "ab":
            (root / name / label).mkdir(parents=True)
            for index in range(count):
                pixels = noise.integers(0, 256, (9 + index, 20 - index, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / label / f"{index}.png")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures")


def loaded(root: Path, **options) -> Splits:
    return load_folder(root, size=8, selection_fraction=0.2, **options)


def stored(root: Path, **options) -> Splits:
    return loaded(root, store=root.parent / "store", **options)


def place_of(root: Path) -> Path:
    (place,) = (root.parent / "store").iterdir()
    return place


def in_memory(splits: Splits) -> Splits:
    """With what is in the file in memory."""
    read = {name: getattr(splits, name) for name in PARTS}
    return replace(splits, **{name: one[torch.arange(len(one))] for name, one in read.items()})


def same(one: Splits, other: Splits) -> None:
    for name in PARTS:
        first, second = getattr(in_memory(one), name), getattr(in_memory(other), name)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
    assert (one.name, one.sha256, one.class_names) == (other.name, other.sha256, other.class_names)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are read, as they are read."""
    found, read = [], decoding.read_picture

    def noted(file: Path, mode):
        found.append(str(file.relative_to(file.parents[2])))
        return read(file, mode)

    monkeypatch.setattr(decoding, "read_picture", noted)
    return found


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_folder_is_the_same_as_in_memory(pictures: Path, fit: str):
    splits = stored(pictures, fit=fit)
    assert isinstance(splits.train.images, StoredImages)
    same(splits, loaded(pictures, fit=fit))
    assert lines_about(splits) == lines_about(loaded(pictures, fit=fit))


def test_imagenet_is_the_same_as_in_memory(tmp_path: Path):
    root = write(tmp_path / "imagenet", ("train", "val"), count=20)
    sizes = {"size": 16, "reduced": 24, "validation_fraction": 0.25, "selection_size": 4}
    same(load_imagenet(root, **sizes, store=tmp_path / "store"), load_imagenet(root, **sizes))


def test_it_is_read_once(pictures: Path, reads: list[str]):
    first = stored(pictures)
    assert len(reads) == 24
    same(stored(pictures, seed=0), first)
    assert len(reads) == 24
    other = stored(pictures, seed=1)  # other splits of the same images
    assert len(reads) == 24
    assert other.sha256 == loaded(pictures, seed=1).sha256
    assert other.division != first.division


def test_other_settings_and_changed_files_are_read_anew(pictures: Path, reads: list[str]):
    stored(pictures)
    stored(pictures, channels=1)
    stored(pictures, fit="pad")
    Image.new("RGB", (9, 9)).save(pictures / "train" / "a" / "0.png")
    stored(pictures)
    assert len(reads) == 4 * 24
    assert len(list((pictures.parent / "store").iterdir())) == 4


def test_a_reading_that_was_stopped_goes_on(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    read, seen = decoding.read_picture, []

    def stops(file: Path, mode):
        seen.append(file)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return read(file, mode)

    monkeypatch.setattr(decoding, "read_picture", stops)
    with pytest.raises(KeyboardInterrupt):
        stored(pictures)
    there = np.load(place_of(pictures) / DIGESTS).any(1).sum()
    assert 0 < there < 24
    assert not (place_of(pictures) / CONTENTS).exists()
    seen += [pictures] * 10
    before = len(seen)
    splits = stored(pictures)
    assert len(seen) - before == 24 - there
    same(splits, loaded(pictures))


def test_a_digest_whose_image_was_lost_does_not_count(pictures: Path, reads: list[str]):
    """As after a power failure, which may keep one page of a file and not another."""
    splits = stored(pictures)
    (place_of(pictures) / CONTENTS).unlink()
    np.load(place_of(pictures) / IMAGES, mmap_mode="r+")[3] = 0
    del reads[:]
    again = stored(pictures)
    assert len(reads) == 1
    same(again, splits)


def test_pictures_that_cannot_be_read_are_told_every_time(pictures: Path):
    (pictures / "train" / "a" / "9.png").write_bytes(b"nothing")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"1 picture.* cannot be read.*9\.png \(no picture\)"):
            splits = stored(pictures)
    with pytest.warns(UserWarning, match="cannot be read"):
        same(splits, loaded(pictures))


@pytest.mark.parametrize("fault", ["short", "contents", "other"])
def test_a_store_that_was_changed_is_refused(pictures: Path, fault: str):
    stored(pictures)
    place = place_of(pictures)
    if fault == "short":
        (place / IMAGES).write_bytes((place / IMAGES).read_bytes()[:400])
    else:
        (place / CONTENTS).write_text("" if fault == "contents" else "[]")
    with pytest.raises(UserError, match="remove this folder to read them anew"):
        stored(pictures)


def test_half_a_store_that_was_cut_off_is_refused(pictures: Path):
    stored(pictures)
    (place_of(pictures) / CONTENTS).unlink()
    (place_of(pictures) / IMAGES).write_bytes((place_of(pictures) / IMAGES).read_bytes()[:400])
    with pytest.raises(UserError, match="remove this folder to read them anew"):
        stored(pictures)


def test_an_image_that_was_changed_is_found_when_it_is_read(pictures: Path):
    splits = stored(pictures)
    row = int(splits.train.images.rows[2])
    np.load(place_of(pictures) / IMAGES, mmap_mode="r+")[row, 0, 0, 0] ^= 1
    train = stored(pictures).train
    assert len(train[torch.tensor([0, 1, 3])]) == 3
    with pytest.raises(UserError, match="remove this folder to read them anew"):
        train[torch.tensor([1, 2])]
    batches = EpochBatches(len(train), len(train), seed=0)
    with pytest.raises(UserError, match="remove this folder to read them anew"):
        batches.batch(train, 0)


def test_folders_alike_but_for_their_place_have_stores_of_their_own(tmp_path: Path):
    """Files of the same names, sizes and times, as two versions of an archive may have them."""
    found = []
    for number, place in enumerate(("one", "other")):
        for label in "ab":
            folder = tmp_path / place / "pictures" / label
            folder.mkdir(parents=True)
            for index in range(6):
                pixels = np.random.default_rng([number, ord(label), index]).integers(0, 256, (9, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.bmp")
                os.utime(folder / f"{index}.bmp", (0, 0))
        root = tmp_path / place / "pictures"
        found.append((load_folder(root, size=8, store=tmp_path / "store"), load_folder(root, size=8)))
    for of_file, of_memory in found:
        same(of_file, of_memory)


def test_what_could_not_be_read_is_tried_again(pictures: Path, reads: list[str]):
    file = pictures / "train" / "a" / "0.png"
    whole, before = file.read_bytes(), file.stat()
    file.write_bytes(bytes(len(whole)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert len(stored(pictures).train) == len(loaded(pictures).train)
    file.write_bytes(whole)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    del reads[:]
    same(stored(pictures), loaded(pictures))
    assert reads.count("train/a/0.png") == 2  # and in memory
    assert len(reads) == 25
    del reads[:]
    stored(pictures)
    assert not reads


def test_a_folder_with_a_long_name(tmp_path: Path):
    same(stored(write(tmp_path / ("x" * 240))), loaded(tmp_path / ("x" * 240)))


def test_a_whole_store_needs_no_writing(pictures: Path):
    stored(pictures)
    place = place_of(pictures)
    (place / "lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    stored(pictures)
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_two_at_once_read_once(pictures: Path, reads: list[str], capsys: pytest.CaptureFixture[str]):
    files = sorted(pictures.glob("*/*/*.png"), key=lambda file: (file.parts[-3] != "train", file))
    store = store_for(pictures.parent / "store", pictures, files, {"size": 8, "channels": 3, "fit": "crop"})
    found = list[Splits]()
    thread = threading.Thread(target=lambda: found.append(stored(pictures)))
    with filling(store, (24, 3, 8, 8), lambda: None) as into:
        thread.start()
        said = ""
        while "waiting for it" not in said:
            said += capsys.readouterr().err
            time.sleep(0.01)
        decoded = decoding.decode(files, 8, 3)
        into.images[:] = decoded.images
        into.digests[:] = np.stack([np.frombuffer(one, np.uint8) for one in decoded.digests])
    thread.join()
    assert said == f"data: another run reads these images into {store}; waiting for it\n"
    assert len(reads) == 24  # by this one alone
    same(found[0], loaded(pictures))


def test_where_a_store_must_not_be(pictures: Path):
    with pytest.raises(UserError, match=r"store: expected a folder outside of"):
        loaded(pictures, store=pictures / "store")
    (pictures.parent / "file").touch()
    with pytest.raises(UserError, match=r"file.*: cannot keep images here"):
        loaded(pictures, store=pictures.parent / "file")
    with pytest.raises(UserError, match="planted: expected images in memory"):
        stored(pictures, planted=Planted("rotate", 30, 30))


def test_a_disk_without_room_is_told_before_anything_is_read(pictures: Path, small_disk: Callable[[str], Path], reads):
    place = small_disk("64k")
    with pytest.raises(UserError, match=r"store: 24 images of 3 x 64 x 64 need 0\.3 MiB, and 0\.1 MiB are free"):
        load_folder(pictures, size=64, store=place)
    assert not reads


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    place = tmp_path / "disk"
    place.mkdir()

    def of_size(size: str) -> Path:
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if subprocess.run(options, capture_output=True).returncode:
            pytest.skip("mounting a disk needs root")
        return place

    yield of_size
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


def test_everything_that_divides_images_leaves_them_where_they_are(pictures: Path):
    splits, memory = stored(pictures), loaded(pictures)
    pairs = [
        (fold_of(splits, 3, 1, seed=2), fold_of(memory, 3, 1, seed=2)),
        (training_splits(splits, True, True), training_splits(memory, True, True)),
        (deciding(splits), deciding(memory)),
        (pickle.loads(pickle.dumps(splits)), memory),
    ]
    for of_file, of_memory in pairs:
        assert isinstance(of_file.train.images, StoredImages)
        assert of_file.train.images.shape == of_memory.train.images.shape
        same(of_file, of_memory)
    for one, other in zip(
        channel_statistics(splits.train.images), channel_statistics(memory.train.images), strict=True
    ):
        assert torch.equal(one, other)


def test_batches_are_those_of_memory_in_any_order(pictures: Path):
    splits, memory = stored(pictures), loaded(pictures)
    batches, plain = (EpochBatches(len(splits.train), 3, seed=1) for _ in range(2))
    for step in [0, 1, 2, 3, 7, 8, 2, 2, 9, 0]:
        batch, other = batches.batch(splits.train, step), memory.train[plain.indices(step)]
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.labels, other.labels)


def test_what_was_counted_goes_along_and_the_file_does_not(pictures: Path):
    images = stored(pictures).train.images
    counts = images.level_counts
    copy = pickle.loads(pickle.dumps(images))
    assert torch.equal(vars(copy)["level_counts"], counts)
    assert "_pages" not in vars(copy)
    assert copy.path.is_absolute()


def test_padding():
    red, size = Image.new("RGB", (30, 10), (255, 0, 0)), 8
    square = decoding.square(red, size, "pad")
    assert square.shape == (3, size, size)
    rows = square[0, :, 0].tolist()
    assert rows == [0, 0, 255, 255, 255, 0, 0, 0]  # 8 x 2.67 pixels are 8 x 3, in the middle but for half a pixel
    assert bool((square[0] == square[0, :, :1]).all())
    tall = decoding.square(red.transpose(Image.Transpose.ROTATE_90), size, "pad")
    assert torch.equal(tall, square.transpose(1, 2))
    assert decoding.square(Image.new("L", (900, 1), 255), size, "pad").sum() == 8 * 255  # never less than a pixel
    assert torch.equal(decoding.square(red.crop((0, 0, 10, 10)), size, "pad"), decoding.square(red, size)[:, :, :8])


def test_options_that_are_none(pictures: Path):
    with pytest.raises(UserError, match="fit: expected 'crop' or 'pad', got 'stretch'"):
        loaded(pictures, fit="stretch")


MEMORY = """
import sys
from pathlib import Path
import torch
from augrad.data.batches import EpochBatches
from augrad.data.folder import load_folder

splits = load_folder(sys.argv[1], size=224, store=sys.argv[2])
batches = EpochBatches(len(splits.train), 8, seed=0)
for step in range(2 * batches.batches_per_epoch):
    batches.batch(splits.train, step)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["RssAnon"].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of its memory")
def test_memory_does_not_grow_with_the_data(tmp_path: Path):
    """Of 1,200 images, which are 180 MB, and of 120."""
    taken = []
    for count in (60, 600):
        root = write(tmp_path / str(count), ("train",), count=1)
        source = np.random.default_rng(1)
        for label in "ab":
            for index in range(count):
                pixels = source.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "train" / label / f"more{index}.png")
        command = [sys.executable, "-c", MEMORY, str(root), str(tmp_path / f"store {count}")]
        for _ in range(2):  # which reads the pictures, and which finds them read
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken.append(int(done.stdout))
    assert taken[1] - taken[0] < 40_000, taken  # kB


def test_what_is_kept_can_be_opened_by_anyone(pictures: Path):
    splits = stored(pictures)
    place = place_of(pictures)
    assert np.load(place / IMAGES).shape == (24, 3, 8, 8)
    assert json.loads((place / CONTENTS).read_text()) == {"images": 24, "unreadable": {}}
    assert isinstance(splits.train, Split)
    assert not isinstance(splits.train.images, Tensor)


def test_a_picture_that_can_no_longer_be_read_is_left_out(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its image is there, and a look-alike has it read again; in memory it would be left out, too."""
    copy = pictures / "train" / "a" / "copy.png"
    copy.write_bytes((pictures / "train" / "a" / "1.png").read_bytes())
    stored(pictures)
    read = decoding.fingerprint

    def denied(file: Path, mode: str) -> bytes:
        if file == copy:
            raise PermissionError(13, "Permission denied")
        return read(file, mode)

    monkeypatch.setattr(decoding, "fingerprint", denied)
    with pytest.warns(UserWarning, match=r"cannot be read.*copy\.png \(Permission denied\)"):
        found = stored(pictures)
    monkeypatch.undo()
    copy.unlink()
    same(found, loaded(pictures))


@pytest.mark.parametrize("file", [IMAGES, DIGESTS])
@pytest.mark.parametrize("fault", ["type", "rows", "gone"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_store_with_other_arrays_is_refused(pictures: Path, file: str, fault: str, whole: bool) -> None:
    stored(pictures)
    place = place_of(pictures)
    values = np.load(place / file)
    if not whole:
        (place / CONTENTS).unlink()
    if fault == "gone":
        (place / file).unlink()
        if not whole:  # made again
            same(stored(pictures), loaded(pictures))
            return
    else:
        np.save(place / file, values.astype(np.float32) if fault == "type" else values[:-1])
    with pytest.raises(UserError, match="remove this folder to read them anew"):
        stored(pictures)


def test_a_path_that_no_file_can_have(pictures: Path) -> None:
    with pytest.raises(UserError, match="null byte"):
        loaded(pictures, store="st\0")
