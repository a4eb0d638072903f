import hashlib
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from augrad.data import npz
from augrad.data.arrays import load_arrays
from augrad.data.planted import Planted
from augrad.errors import UserError

PARTS = ("train", "validation", "selection", "test")


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (9, 12))), dtype=np.uint8)


def labels(count: int, classes: int = 4) -> np.ndarray:
    return np.arange(count) % classes


def save(folder: Path, name: str = "x.npz", **arrays: object) -> Path:
    """An archive of 80 grey images of 4 classes, with `arrays` added or in the place of its own; None removes one."""
    whole = {"train_images": images(80), "train_labels": labels(80)} | arrays
    np.savez(folder / name, **{key: array for key, array in whole.items() if array is not None})
    return folder / name


def keys(splits, part: str) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in getattr(splits, part).images)


def test_missing_parts_are_split_off_train(tmp_path):
    path = save(tmp_path)
    splits = load_arrays(path)
    assert [len(getattr(splits, part)) for part in PARTS] == [36, 20, 8, 16]
    assert splits.class_count == 4
    assert splits.image_shape == (1, 9, 12)
    assert splits.name == "x"
    assert splits.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(key for part in PARTS for key in keys(splits, part)) == sorted(i.tobytes() for i in images(80))
    for part in PARTS:
        split = getattr(splits, part)
        assert split.labels.bincount(minlength=4).tolist() == [len(split) // 4] * 4
    # Every image has kept its label.
    label_of = {image.tobytes(): label for image, label in zip(images(80), labels(80), strict=True)}
    for part in PARTS:
        split = getattr(splits, part)
        found = [label_of[image.numpy().tobytes()] for image in split.images]
        assert found == split.labels.tolist()


def test_fractions_are_of_the_train_images_in_the_file(tmp_path):
    splits = load_arrays(save(tmp_path), validation_fraction=0.4, selection_fraction=0.05, test_fraction=0.1)
    assert [len(getattr(splits, part)) for part in PARTS] == [36, 32, 4, 8]


def test_a_given_test_is_used_whole(tmp_path):
    test = images(10, seed=1)
    splits = load_arrays(save(tmp_path, test_images=test, test_labels=labels(10)), test_fraction=0.9)
    assert [len(getattr(splits, part)) for part in PARTS] == [52, 20, 8, 10]
    assert torch.equal(splits.test.images[:, 0], torch.from_numpy(test))
    assert splits.test.labels.tolist() == labels(10).tolist()


def test_a_given_val_is_divided_in_the_ratio_of_the_fractions(tmp_path):
    path = save(tmp_path, val_images=images(28, seed=2), val_labels=labels(28))
    splits = load_arrays(path)
    assert [len(getattr(splits, part)) for part in PARTS] == [64, 20, 8, 16]
    assert keys(splits, "validation") + keys(splits, "selection") != keys(splits, "train")
    assert sorted(keys(splits, "validation") + keys(splits, "selection")) == sorted(
        i.tobytes() for i in images(28, seed=2)
    )
    assert splits.selection.labels.bincount().tolist() == [2, 2, 2, 2]
    halves = load_arrays(path, validation_fraction=0.2, selection_fraction=0.2)
    assert [len(getattr(halves, part)) for part in PARTS] == [64, 14, 14, 16]


def test_with_all_parts_given_train_is_untouched_and_in_order(tmp_path):
    given = {
        "val_images": images(28, seed=2),
        "val_labels": labels(28),
        "test_images": images(9, seed=1),
        "test_labels": labels(9),
    }
    splits = load_arrays(save(tmp_path, **given), validation_fraction=0.6, selection_fraction=0.6)
    assert torch.equal(splits.train.images[:, 0], torch.from_numpy(images(80)))
    assert [len(getattr(splits, part)) for part in PARTS] == [80, 14, 14, 9]


def test_seeded_without_the_global_generator(tmp_path):
    path = save(tmp_path)
    state = torch.get_rng_state()
    one, same, other = (load_arrays(path, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.train.images, same.train.images)
    assert not torch.equal(one.train.images, other.train.images)


def test_color_comes_channels_first_and_contiguous(tmp_path):
    color, test = images(80, 9, 12, 3), images(8, 9, 12, 3, seed=1)
    splits = load_arrays(save(tmp_path, train_images=color, test_images=test, test_labels=labels(8)))
    assert splits.image_shape == (3, 9, 12)
    assert splits.test.images.is_contiguous()
    assert np.array_equal(splits.test.images.numpy(), test.transpose(0, 3, 1, 2))


def test_one_channel_may_have_an_axis_or_none(tmp_path):
    splits = load_arrays(save(tmp_path, test_images=images(8, seed=1)[..., None], test_labels=labels(8)))
    assert torch.equal(splits.test.images[:, 0], torch.from_numpy(images(8, seed=1)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_are_rounded_to_8_bits(tmp_path, dtype):
    test = images(8, seed=1)
    path = save(tmp_path, test_images=(test / 255).astype(dtype), test_labels=labels(8))
    assert torch.equal(load_arrays(path).test.images[:, 0], torch.from_numpy(test))
    path = save(tmp_path, test_images=np.full((8, 9, 12), 0.6 / 255, dtype=dtype), test_labels=labels(8, 1))
    assert load_arrays(path).test.images.unique().tolist() == [1]


@pytest.mark.parametrize("dtype", ["uint8", "int32", ">i8", "uint64"])
def test_any_integer_labels(tmp_path, dtype):
    splits = load_arrays(save(tmp_path, train_labels=labels(80).astype(dtype)))
    assert splits.train.labels.unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [str, object, "S9"])
def test_the_advice_for_labels_that_are_texts_works(tmp_path, dtype):
    names = np.array(["cat", "dog", "bird", "newt"])
    train, val = names[labels(80)].astype(dtype), names[labels(28)[::-1]].astype(dtype)
    with pytest.raises(UserError) as caught:
        load_arrays(save(tmp_path, train_labels=train))
    scope = {"numpy": np, "train_labels": train, "val_labels": val}
    advice = str(caught.value)
    exec(re.search(r"classes, train_labels = numpy.*?\)\, return_inverse=True\)", advice)[0], scope)
    val_labels = eval(re.search(r"numpy\.searchsorted\(.*?\)\)", advice)[0], scope)
    path = save(tmp_path, train_labels=scope["train_labels"], val_images=images(28, seed=1), val_labels=val_labels)
    splits = load_arrays(path)
    assert splits.class_count == 4
    assert (np.sort(names.astype(dtype).astype(str))[val_labels] == val.astype(str)).all()


def test_other_keys_compressed_files_and_home_are_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez_compressed(
        tmp_path / "x.npz",
        train_images=images(80),
        train_labels=labels(80),
        names=np.array(["a", "b"]),
        train_ids=labels(80),
    )
    assert len(load_arrays("~/x.npz").train) == 36


def test_val_and_test_may_lack_a_class(tmp_path):
    val, test = images(14, seed=1), images(6, seed=2)
    path = save(tmp_path, val_images=val, val_labels=labels(14, 2), test_images=test, test_labels=labels(6, 3))
    splits = load_arrays(path)
    assert splits.validation.labels.unique().tolist() == [0, 1]
    assert splits.test.labels.unique().tolist() == [0, 1, 2]


def test_small_data_gives_every_split_one_image_of_each_class(tmp_path):
    splits = load_arrays(save(tmp_path, train_images=images(20), train_labels=labels(20)))
    assert [len(getattr(splits, part)) for part in PARTS] == [7, 5, 4, 4]


def test_planted(tmp_path):
    path = save(tmp_path)
    plain, planted = load_arrays(path), load_arrays(path, planted=Planted("invert", 0.0, 0.0))
    assert torch.equal(planted.train.images, plain.train.images)
    assert torch.equal(planted.selection.images, 255 - plain.selection.images)


def with_value(array: np.ndarray, value: object) -> np.ndarray:
    array = array.copy()
    array.flat[5] = value
    return array


FLOATS = images(80).astype(np.float32) / 255
REFUSED = {
    "missing key": (
        {"train_labels": None, "extra": labels(3)},
        "array train_labels, found the keys: extra, train_images",
    ),
    "no labels of val": ({"val_images": images(9)}, "array val_labels, found the keys: .*val_images"),
    "no images of test": ({"test_labels": labels(9)}, "array test_images, found the keys"),
    "misspelt set": ({"X_valid": images(9), "y_valid": labels(9)}, "only train_.*found the key X_valid; rename"),
    "misspelt set of tests": ({"Test": images(9)}, "only train_.*found the key Test; rename"),
    "misspelt key": ({"validation_images": images(9)}, "only train_.*found the key validation_images; rename"),
    **{
        f"another name of a set: {key}": ({key: images(9)}, f"only train_.*found the key {key}; rename")
        for key in (
            "testX",
            "testY",
            "testImages",
            "valX",
            "Xtest",
            "x_val",
            "validationData",
            "VAL_y",
            "dev_x",
            "test2",
        )
    },
    "the same images again": (
        {"test_images": images(8), "test_labels": labels(8)},
        r"images in test that are in no earlier part, got none; .*left out: 8 pictures that another split has too: "
        r"test_images\[0\] \(the same as train_images\[0\]\)",
    ),
    "images ndim": (
        {"train_images": images(80, 3)},
        r"train_images \[N, H, W, C\] or \[N, H, W\], got shape \(80, 3\)",
    ),
    "labels ndim": ({"train_labels": np.eye(80)}, r"train_labels \[N\].*shape \(80, 80\)"),
    "length": ({"train_labels": labels(79)}, "80 train_labels, one for each image, got 79"),
    "float labels": ({"train_labels": labels(80) * 1.0}, "integers in train_labels, got float64"),
    "bool labels": ({"train_labels": labels(80, 2).astype(bool)}, r"got bool; convert it with \.astype\(numpy.int64\)"),
    "text labels": ({"train_labels": labels(80).astype(str)}, "integers in train_labels, got <U"),
    "bytes labels": ({"train_labels": labels(80).astype("S1")}, r"got \|S1; number the classes: .*numpy\.unique"),
    "dates as labels": (
        {"train_labels": labels(80).astype("datetime64[D]")},
        r"got datetime64\[D\]; number the classes",
    ),
    "fractions as labels": ({"train_labels": labels(80) / 2}, "got float64; number the classes"),
    "no number as label": ({"train_labels": with_value(labels(80) * 1.0, np.nan)}, "got float64; number the classes"),
    "object labels": (
        {"train_labels": labels(80).astype(str).astype(object)},
        r"train_labels to be a plain numeric array.*; number the classes: .*numpy\.unique",
    ),
    "one-hot": ({"train_labels": np.eye(4)[labels(80)]}, r"got shape \(80, 4\); one-hot .*\.argmax\(axis=1\)"),
    "a column of labels": ({"train_labels": labels(80)[:, None]}, r"\(80, 1\); train_labels\.reshape\(-1\)"),
    "huge label": (
        {"train_labels": with_value(labels(80).astype(np.uint64), 2**63 + 5)},
        "train_labels from 0 up, got 9223372036854775813; number",
    ),
    "negative": ({"train_labels": labels(80) - 1}, "train_labels from 0 up, got -1"),
    "gap": ({"train_labels": labels(80) * 2}, "labels up to 6 without 1, 3, 5; renumber"),
    "from one": ({"train_labels": labels(80) + 1}, "labels up to 4 without 0; renumber"),
    "far": ({"train_labels": with_value(labels(80), 10**15)}, "without 4, 5, 6, 7, 8 and 999999999999991 more"),
    "one class": ({"train_labels": labels(80, 1)}, "at least two classes in train_labels"),
    "small": ({"train_images": images(80, 7, 30)}, "at least 8 x 8 pixels, got 7 x 30"),
    "empty": (
        {"train_images": images(0), "train_labels": labels(0)},
        r"at least one image in train_images.*\(0, 9, 12\)",
    ),
    "empty val": ({"val_images": images(0), "val_labels": labels(0)}, "at least one image in val_images"),
    "channels": ({"train_images": images(80, 9, 12, 4)}, "C = 1 or 3, got shape .*grey or RGB"),
    "channels first": ({"train_images": images(80, 3, 9, 12)}, "C = 1 or 3, got shape .*numpy.moveaxis"),
    "nan": ({"train_images": with_value(FLOATS, np.nan)}, "floats of train_images in 0 .. 1, got NaN"),
    "floats to 255": ({"train_images": FLOATS * 255}, "floats of train_images in 0 .. 1, got 0.0 .. 255.0"),
    "below 0": ({"train_images": with_value(FLOATS, -0.25)}, "in 0 .. 1, got -0.25"),
    "infinity": ({"train_images": with_value(FLOATS, np.inf)}, "in 0 .. 1, got .*inf"),
    "int64 images": (
        {"train_images": images(80).astype(np.int64)},
        r"uint8, or float in 0 .. 1, got int64; convert them: train_images\.astype\(numpy\.uint8\)",
    ),
    "16-bit images": (
        {"train_images": images(80).astype(np.uint16) * 257},
        r"got uint16; convert them: \(train_images / 65535\)\.astype",
    ),
    "signed images": ({"train_images": images(80).astype(np.int16) - 100}, "they go from -100 to 155: rescale"),
    "bool images": (
        {"train_images": images(80) > 9},
        r"got bool; convert them: train_images\.astype\(numpy\.uint8\) \* 255",
    ),
    "images of several sizes": (
        {"train_images": np.array([*images(79), np.zeros((8, 8))], dtype=object)},
        "several sizes have to be resized",
    ),
    "flat images": ({"train_images": images(80, 64)}, r"reshape\(-1, height, width\)"),
    "object images": (
        {"train_images": images(80).astype(object)},
        "train_images to be a plain numeric array.*Object arrays",
    ),
    "val shape": ({"val_images": images(9, 9, 13), "val_labels": labels(9)}, "val_images .*1 x 9 x 12, got 1 x 9 x 13"),
    "test shape": ({"test_images": images(9, 9, 12, 3), "test_labels": labels(9)}, "test_images .*got 3 x 9 x 12"),
    "new class": ({"test_images": images(9), "test_labels": labels(9, 5)}, "test_labels in 0 .. 3, .*got 4"),
    "rare class": (
        {"train_labels": with_value(labels(80), 4)},
        "train: class 4 has too few images .*at least 4, got 1",
    ),
    "rare in val": (
        {"val_images": images(3, seed=1), "val_labels": labels(3, 2)},
        "val: class 1 has too few images .*least 2, got 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(tmp_path, case):
    arrays, message = REFUSED[case]
    path = save(tmp_path, "mine.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        load_arrays(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert re.search("; [a-z]", text), "says what to do"


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"validation_fraction": 0.0}, "validation_fraction: expected a number between 0 and 1, got 0.0"),
        ({"test_fraction": 1.0}, "test_fraction: expected"),
        ({"selection_fraction": float("nan")}, "selection_fraction: expected"),
        ({"validation_fraction": 0.5, "test_fraction": 0.4}, "x.npz: expected fractions that leave images for train"),
        ({"validation_fraction": 0.6, "test_fraction": 0.29}, "at least 4 images for train.*got 1 "),
    ],
)
def test_refuses_fractions(tmp_path, fractions, message):
    with pytest.raises(UserError, match=message):
        load_arrays(save(tmp_path), **fractions)


def test_refuses_what_is_no_archive(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.npz: expected an .npz file, found no such file; correct"):
        load_arrays(tmp_path / "nowhere.npz")
    with pytest.raises(UserError, match="found a folder"):
        load_arrays(tmp_path)
    np.save(tmp_path / "single.npy", images(3))
    (tmp_path / "text.npz").write_text("train_images")
    (tmp_path / "empty.npz").touch()
    for name in ("single.npy", "text.npz", "empty.npz"):
        with pytest.raises(UserError, match=f"{name}: expected an .npz archive, got other content; write"):
            load_arrays(tmp_path / name)


def test_an_archive_that_says_more_than_fits_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(
        tmp_path / "zeros.npz", train_images=np.zeros((4000, 64, 64), np.uint8), train_labels=labels(4000)
    )
    assert (tmp_path / "zeros.npz").stat().st_size < 100_000
    monkeypatch.setattr(npz, "free_memory", lambda: 2**23)
    with pytest.raises(UserError, match=r"zeros\.npz: its arrays need 0\.0 GiB of memory, and 0\.0 GiB are free"):
        load_arrays(tmp_path / "zeros.npz")


def test_refuses_an_archive_of_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("train_images", b"no array")
        archive.writestr("train_labels", b"no array")
    with pytest.raises(UserError, match=r"other.npz: expected train_images to be an array, got other content"):
        load_arrays(tmp_path / "other.npz")
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    with pytest.raises(UserError, match=r"none.npz: expected an array train_images, found the keys: none"):
        load_arrays(tmp_path / "none.npz")


def test_refuses_damaged_files(tmp_path):
    path = save(tmp_path)
    content = path.read_bytes()
    for cut in (100, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"x\.npz: expected an \.npz archive"):
            load_arrays(path)
    damaged = bytearray(content)
    damaged[len(content) // 3] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"x\.npz: expected train_images to be a plain numeric array.*CRC"):
        load_arrays(path)
    member = io.BytesIO()
    np.save(member, images(80))
    with zipfile.ZipFile(path, "w") as archive:  # a sound archive with half an array in it
        archive.writestr("train_images.npy", member.getvalue()[:4000])
        archive.writestr("train_labels.npy", b"")
    with pytest.raises(UserError, match=r"x\.npz: expected train_images to be a plain numeric array"):
        load_arrays(path)


DAMAGED = {
    "an open bracket": b"{'descr': '|u1', 'fortran_order': False, 'shape': (40, 9, 12",
    "a huge shape": b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 9, 12), }" % 10**30,
    "nested brackets": b"{'descr': " + b"(" * 300,
    "no dictionary": b"[1, 2]",
    "no such type": b"{'descr': 'xyz', 'fortran_order': False, 'shape': (40, 9, 12), }",
}


@pytest.mark.parametrize("header", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_header_is_told(tmp_path, header):
    path = save(tmp_path)
    text = header + b" " * (128 - 10 - len(header) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(99))
        archive.writestr("train_labels.npy", b"")
    with pytest.raises(UserError, match=r"x\.npz: expected train_images to be a plain numeric array") as caught:
        load_arrays(path)
    assert "\n" not in str(caught.value)


def test_images_that_an_earlier_part_has_are_left_out(tmp_path):
    """As in folders of pictures: once, counted, by name; the rest stays as it is."""
    val, test = np.concatenate([images(28, seed=1), images(4)]), np.concatenate([images(8, seed=2), images(20, seed=1)])
    given = {"val_images": val, "val_labels": labels(32), "test_images": test, "test_labels": labels(28)}
    with pytest.warns(UserWarning, match="left out") as caught:
        splits = load_arrays(save(tmp_path, **given))
    (warning,) = caught
    assert re.search(
        r"x\.npz: left out 24 pictures that another split has too: val_images\[28\] \(the same as train_images\[0\]\), "
        r".*and 19 more$",
        str(warning.message),
    )
    assert torch.equal(splits.train.images[:, 0], torch.from_numpy(images(80)))
    assert keys(splits, "test") == sorted(image.tobytes() for image in test[:8])
    found = [key for part in PARTS for key in keys(splits, part)]
    assert len(set(found)) == len(found) == 80 + 28 + 8


def test_copies_stay_together_and_contradictions_go(tmp_path):
    once = images(80)
    twice, classes = np.concatenate([once, once[:40], once[:1]]), np.concatenate([labels(120), [1]])
    with pytest.warns(UserWarning, match=r"3 pictures in several classes: train_images\[0\] \(the same as train_.*120"):
        splits = load_arrays(save(tmp_path, train_images=twice, train_labels=classes))
    found = {part: set(keys(splits, part)) for part in PARTS}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 79  # none is in two splits
    assert sum(len(keys(splits, part)) for part in PARTS) == 79 + 39


def test_a_class_of_contradictions_alone_is_refused(tmp_path):
    doubled, classes = np.concatenate([images(80), images(80)[3::4]]), np.concatenate([labels(80), np.zeros(20, int)])
    with pytest.raises(
        UserError, match=r"each class in train, got none of 3; add some \| left out: 40 pictures in several"
    ):
        load_arrays(save(tmp_path, train_images=doubled, train_labels=classes))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    path = save(tmp_path, train_labels=np.array([Trap()] * 80, dtype=object))
    with pytest.raises(UserError, match="train_labels to be a plain numeric array"):
        load_arrays(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", [b"caf\xe9", "caf\xe9 [x]=y".encode()])
def test_any_name_will_do(tmp_path, name):
    path = save(tmp_path, f"{os.fsdecode(name)}.npz")
    load_arrays(path).name.encode()
    path.write_bytes(b"")
    with pytest.raises(UserError, match="npz archive") as caught:
        load_arrays(path)
    str(caught.value).encode()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_an_archive_with_two_arrays_of_one_name(tmp_path):
    path = save(tmp_path)
    content = io.BytesIO()
    np.save(content, labels(80)[::-1])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_labels.npy", content.getvalue())
    with pytest.raises(UserError, match="expected each array once, found train_labels again"):
        load_arrays(path)
