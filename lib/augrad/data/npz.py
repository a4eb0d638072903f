"""Reads labelled images from an .npz archive, and refuses what they cannot be."""

import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from augrad.checks import few
from augrad.data.decode import free_memory
from augrad.data.labelled import Given, as_numbers, labelled_sets
from augrad.data.left_out import one_line
from augrad.data.types import LoadedSplit
from augrad.errors import UserError
from augrad.paths import expanded

_PARTS = ("train", "val", "test")
_KINDS = r"(x|y|images?|imgs?|pictures?|labels?|targets?|classes|data|set|split)?"
_SETS = {"val": "val|valid|validation|dev|eval", "test": "tests?|testing|holdout"}
"""How others call these parts, alone or in one word with what of them a key holds, as in testX and valImages."""


class Archive(NamedTuple):
    """An archive's images; train has every class 0 .. class_count - 1, val and test may lack some or be None."""

    train: LoadedSplit
    val: LoadedSplit | None
    test: LoadedSplit | None
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
    given = {
        part: Given(arrays[f"{part}_images"], arrays[f"{part}_labels"], f"{part}_images", f"{part}_labels")
        for part in _PARTS
        if f"{part}_images" in arrays
    }
    splits, class_count = labelled_sets(given, str(file))
    return Archive(splits["train"], splits.get("val"), splits.get("test"), class_count, digest)


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
                _require_memory(archive, keys, file)
                return {key: _read_array(archive, key, file) for key in keys}, digest
    except UserError:
        raise
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{file}: expected a readable .npz archive, got an error ({reason}); write it anew") from error


def _wanted_keys(found: list[str], file: Path) -> list[str]:
    if twice := sorted(key for key, count in Counter(found).items() if count > 1):
        raise UserError(f"{file}: expected each array once, found {few(map(one_line, twice))} again; write it anew")
    listing = ", ".join(sorted(found)) or "none"
    parts = [part for part in _PARTS if part == "train" or f"{part}_images" in found or f"{part}_labels" in found]
    wanted = [f"{part}_{kind}" for part in parts for kind in ("images", "labels")]
    for key in wanted:
        if key not in found:
            raise UserError(f"{file}: expected an array {key}, found the keys: {listing}; add or rename one")
    for key in found:
        # A misspelt validation split would otherwise be dropped in silence.
        if key not in wanted and (_sets_named(key).difference(parts) or key.lower().endswith(("_images", "_labels"))):
            raise UserError(
                f"{file}: expected only train_*, val_* and test_*, each with _images and _labels, found the key {key}; "
                "rename or remove it"
            )
    return wanted


def _sets_named(key: str) -> set[str]:
    """Which of val and test a key speaks of: in words between digits, underlines and the like, or in camel case."""
    spoken = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower())
    spoken += re.split(r"[^a-z]+", key.lower())
    return {
        part
        for part, names in _SETS.items()
        if any(re.fullmatch(f"{_KINDS}({names}){_KINDS}", word) for word in spoken if word)
    }


def _require_memory(archive: np.lib.npyio.NpzFile, keys: Sequence[str], file: Path) -> None:
    """By what the archive says of its arrays, before they are read: a small file may hold many zeros."""
    sizes = {one.filename: one.file_size for one in archive.zip.infolist()} if archive.zip is not None else {}
    needed, free = sum(sizes.get(f"{key}.npy", 0) for key in keys), free_memory()
    if free is not None and needed > free:
        raise UserError(
            f"{file}: its arrays need {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free on this "
            "machine; take fewer images, or write a folder of pictures"
        )


def _read_array(archive: np.lib.npyio.NpzFile, key: str, file: Path) -> np.ndarray:
    try:
        array = archive[key]
    except Exception as error:  # as above
        reason = one_line(error) or type(error).__name__
        raise UserError(
            f"{file}: expected {key} to be a plain numeric array, got one that cannot be read ({reason}); "
            f"save it again as a numeric array, not as objects; {as_numbers(key)}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{file}: expected {key} to be an array, got other content; write the file with numpy.savez")
    return array
