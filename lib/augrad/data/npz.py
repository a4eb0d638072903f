"""Reads labelled images from an .npz archive, and refuses what they cannot be."""

import hashlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from augrad.data.types import Split
from augrad.errors import UserError
from augrad.paths import expanded

_PARTS = ("train", "val", "test")
_SMALLEST_SIDE = 8
_UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
_SETS = {"val", "valid", "validation", "test", "testing"}  # words of a key that means one of them


class Archive(NamedTuple):
    """An archive's images; train has every class 0 .. class_count - 1, val and test may lack some or be None."""

    train: Split
    val: Split | None
    test: Split | None
    class_count: int
    sha256: str


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """The splits in the file at `path`: <part>_images and <part>_labels for train and, optionally, val and test.

    Images: uint8, or float in [0, 1] (rounded to 8 bits), [N, H, W, C] with C = 1 or 3, or [N, H, W]; 8 or more pixels
    on a side. Labels: integers [N]. sha256 is that of the file. Nothing is unpickled.
    Raises UserError, naming the file, for everything else.
    """
    file = expanded(path)
    arrays, digest = _read_arrays(file)
    splits = {part: _read_split(arrays, part, file) for part in _PARTS if f"{part}_images" in arrays}
    train = splits["train"]
    class_count = _count_classes(train.labels, file)
    for part, split in splits.items():
        if split.images.shape[1:] != train.images.shape[1:]:
            raise UserError(
                f"{file}: expected {part}_images of the same size as train_images, channels x height x width "
                f"{_times(train.images.shape[1:])}, got {_times(split.images.shape[1:])}; resize or convert them"
            )
        if split.labels.max() >= class_count:
            raise UserError(
                f"{file}: expected {part}_labels in 0 .. {class_count - 1}, the classes of train_labels, got "
                f"{split.labels.max()}; remove these images or add this class to train"
            )
    return Archive(train, splits.get("val"), splits.get("test"), class_count, digest)


def _read_arrays(file: Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of the known keys, and the file's sha256."""
    if not os.path.isfile(file):  # unlike the method of Path, also for a name that cannot be one
        found = "a folder" if os.path.isdir(file) else "no such file"
        raise UserError(f"{file.absolute()}: expected an .npz file, found {found}; correct the path")
    try:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if not zipfile.is_zipfile(stream):
                raise UserError(f"{file}: expected an .npz archive, got other content; write the file with numpy.savez")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                keys = _wanted_keys(archive.files, file)
                return {key: _read_array(archive, key, file) for key in keys}, digest
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"{file}: expected a readable .npz archive, got an error ({error}); write it anew") from error


def _wanted_keys(found: list[str], file: Path) -> list[str]:
    listing = ", ".join(sorted(found)) or "none"
    parts = [part for part in _PARTS if part == "train" or f"{part}_images" in found or f"{part}_labels" in found]
    wanted = [f"{part}_{kind}" for part in parts for kind in ("images", "labels")]
    for key in wanted:
        if key not in found:
            raise UserError(f"{file}: expected an array {key}, found the keys: {listing}; add or rename one")
    for key in found:
        # A misspelt validation split would otherwise be dropped in silence.
        named = _SETS.intersection(re.split(r"[^a-z]+", key.lower())).difference(parts)
        if key not in wanted and (named or key.lower().endswith(("_images", "_labels"))):
            raise UserError(
                f"{file}: expected only train_*, val_* and test_*, each with _images and _labels, found the key {key}; "
                "rename or remove it"
            )
    return wanted


def _read_array(archive: np.lib.npyio.NpzFile, key: str, file: Path) -> np.ndarray:
    try:
        array = archive[key]
    except _UNREADABLE as error:
        raise UserError(
            f"{file}: expected {key} to be a plain numeric array, got one that cannot be read ({error}); "
            f"save it again as a numeric array, not as objects; {_as_numbers(key)}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{file}: expected {key} to be an array, got other content; write the file with numpy.savez")
    return array


def _as_numbers(key: str) -> str:
    """How to make a numeric array of one of objects or texts."""
    if key.endswith("_labels"):
        return (
            "number the classes: classes, train_labels = numpy.unique(train_labels.astype(str), return_inverse=True), "
            "then numpy.searchsorted(classes, val_labels.astype(str)), and test_labels alike"
        )
    return "images of several sizes have to be resized to one, and then stacked with numpy.stack"


def _read_split(arrays: dict[str, np.ndarray], part: str, file: Path) -> Split:
    images = _checked_images(arrays[f"{part}_images"], f"{part}_images", file)
    return Split(images, _checked_labels(arrays[f"{part}_labels"], f"{part}_labels", len(images), file))


def _checked_images(array: np.ndarray, key: str, file: Path) -> UInt8[Tensor, "N C H W"]:
    if array.ndim not in (3, 4):
        hint = f"{key}.reshape(-1, height, width)" if array.ndim == 2 else "reshape it"
        raise UserError(f"{file}: expected {key} [N, H, W, C] or [N, H, W], got shape {array.shape}; {hint}")
    if 0 in array.shape:
        raise UserError(f"{file}: expected at least one image in {key}, got shape {array.shape}; add images")
    if array.ndim == 3:
        array = array[..., None]
    if array.shape[3] not in (1, 3):
        hint = "numpy.moveaxis(images, 1, -1)" if array.shape[1] in (1, 3) else "convert the images to grey or RGB"
        raise UserError(f"{file}: expected {key} [N, H, W, C] with C = 1 or 3, got shape {array.shape}; {hint}")
    if min(array.shape[1:3]) < _SMALLEST_SIDE:
        raise UserError(
            f"{file}: expected {key} of at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels, got "
            f"{_times(array.shape[1:3])}; enlarge them"
        )
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()  # NaN if any value is
        if not (low >= 0 and high <= 1):
            got = "NaN" if np.isnan(low) else f"{low} .. {high}"
            raise UserError(f"{file}: expected floats of {key} in 0 .. 1, got {got}; rescale or repair them")
        array = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise UserError(
            f"{file}: expected {key} of type uint8, or float in 0 .. 1, got {array.dtype}; {_as_uint8(array, key)}"
        )
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _as_uint8(array: np.ndarray, key: str) -> str:
    """What makes images of another type of numbers acceptable, as far as their range tells."""
    if array.dtype.kind == "b":
        return f"convert them: {key}.astype(numpy.uint8) * 255"
    if array.dtype.kind not in "iu":
        return "convert them to numbers"
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high <= 255:
        return f"convert them: {key}.astype(numpy.uint8)"
    if low >= 0 and high <= 65535:
        return f"convert them: ({key} / 65535).astype(numpy.float32) if 65535 is white"
    return f"they go from {low} to {high}: rescale them to float in 0 .. 1"


def _checked_labels(array: np.ndarray, key: str, count: int, file: Path) -> Int64[Tensor, " N"]:
    if array.ndim != 1:
        flat = array.ndim == 2 and 1 in array.shape
        hint = f"{key}.reshape(-1)" if flat else "one-hot labels become numbers with .argmax(axis=1)"
        raise UserError(f"{file}: expected {key} [N], one class per image, got shape {array.shape}; {hint}")
    if array.dtype.kind not in "iu":
        whole = array.dtype.kind == "b" or (array.dtype.kind == "f" and bool((array == np.rint(array)).all()))
        hint = "convert it with .astype(numpy.int64)" if whole else _as_numbers(key)
        raise UserError(f"{file}: expected integers in {key}, got {array.dtype}; {hint}")
    if len(array) != count:
        raise UserError(f"{file}: expected {count} {key}, one for each image, got {len(array)}; make the lengths equal")
    if array.min() < 0:
        raise UserError(f"{file}: expected {key} from 0 up, got {array.min()}; number the classes 0 .. n - 1")
    if array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{file}: expected {key} from 0 up, got {array.max()}; number the classes 0 .. n - 1")
    return torch.from_numpy(array.astype(np.int64))


def _count_classes(labels: Int64[Tensor, " N"], file: Path) -> int:
    """n, when the labels are 0 .. n - 1 with none missing, n > 1."""
    classes = labels.unique().tolist()
    highest = classes[-1]
    if len(classes) != highest + 1:
        # Looking at so many numbers finds the first five gaps, however high the labels go.
        present = set(classes)
        missing = [str(label) for label in range(min(highest, len(classes) + 5)) if label not in present][:5]
        more = highest + 1 - len(classes) - len(missing)
        raise UserError(
            f"{file}: expected train_labels 0 .. n - 1 without gaps, got labels up to {highest} without "
            f"{', '.join(missing)}{f' and {more} more' if more else ''}; renumber the classes"
        )
    if len(classes) < 2:
        raise UserError(f"{file}: expected at least two classes in train_labels, got only class 0; add another class")
    return len(classes)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
