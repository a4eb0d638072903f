"""Which image files a folder has, and of which class; nothing is read yet."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from augrad.checks import few
from augrad.data.left_out import LeftOut, one_line
from augrad.data.picture import ENDINGS
from augrad.errors import UserError

_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_SYSTEM_FILES = ("Thumbs.db", "ehthumbs.db", "desktop.ini")  # and all that are hidden
_SETS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Listing:
    """files: of all classes, one class after another. labels: their classes, as numbers of `classes`, the names.

    Names are in Unicode's composed form (NFC), whatever the file system keeps. left_out: what else lies there.
    """

    files: tuple[Path, ...]
    labels: Int64[Tensor, " N"]
    classes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    def chosen(self, indices: Int64[Tensor, " _"]) -> "Listing":
        """These files alone."""
        return replace(self, files=tuple(self.files[index] for index in indices.tolist()), labels=self.labels[indices])

    def of_classes(self, kept: Sequence[int]) -> "Listing":
        """These classes alone, numbered anew in this order."""
        number = torch.full((len(self.classes),), -1)
        number[torch.tensor(kept)] = torch.arange(len(kept))
        chosen = self.chosen((number[self.labels] >= 0).nonzero().flatten())
        classes = tuple(self.classes[old] for old in kept)
        return replace(chosen, labels=number[chosen.labels], classes=classes)


def name_order(name: str) -> bytes:
    """What names are sorted by: the bytes of the composed form, alike for every locale and file system."""
    return os.fsencode(unicodedata.normalize("NFC", name))


def find_sets(root: Path, wanted: Sequence[str]) -> tuple[dict[str, Path], list[LeftOut]]:
    """The folders in `root` that hold the `wanted` sets of train, val and test; and what lies beside them.

    val may also be called valid or validation, train training, and test testing, in capital letters or small ones. A
    `root` that has none of them, and pictures right in each of its folders, is the train set itself.
    Raises UserError where there are two folders for a set, a file in the place of a folder, and no folder for train.
    """
    if not os.path.isdir(root):
        found = "a file" if os.path.exists(root) else "no such folder, or one that must not be read"
        raise UserError(f"{root.absolute()}: expected a folder with train/ in it, found {found}; correct data.root")
    candidates: dict[str, list[os.DirEntry[str]]] = {name: [] for name in wanted}
    left_out, others = list[LeftOut](), list[str]()
    for entry in _entries(root):
        sets = [name for name in wanted if entry.name.lower() in _SETS[name]]
        if sets:
            candidates[sets[0]].append(entry)
        elif _is_folder(entry) and not _is_hidden(entry.name):
            left_out.append(LeftOut("folders beside train", Path(entry.path)))
            others.append(entry.name)
        elif _has_picture_ending(entry.name):
            left_out.append(LeftOut("pictures outside of the class folders", Path(entry.path)))
    for name, entries in candidates.items():
        if len(entries) > 1 and not all(_same(entries[0], entry) for entry in entries):
            both = " and ".join(one_line(entry.name) for entry in entries)
            raise UserError(f"{root}: expected one folder for the set {name}, found {both}; rename or move all but one")
        for entry in entries:
            if not _is_folder(entry):
                raise UserError(
                    f"{entry.path}: expected a folder of images for each class, found {_what_it_is(entry)}; "
                    "rename, replace or remove it"
                )
    sets = {name: Path(entries[0].path) for name, entries in candidates.items() if entries}
    if not sets and root.absolute().name.lower() not in _SETS["train"] and _are_classes(root, others):
        return {"train": root}, []
    for name in wanted:
        if name not in sets and name == "train":
            way = "correct data.root, or move the class folders into train/"
            if root.absolute().name.lower() in _SETS["train"]:
                parent = root.absolute().parent
                way = f"this is the train folder itself: give the folder that it lies in, data.root={parent}"
            raise UserError(
                f"{root.absolute() / name}: expected a folder with a folder of images for each class, found none, "
                f"beside {few(map(one_line, others)) or 'no other folder'}; {way}"
            )
    return sets, left_out


def _are_classes(root: Path, names: Sequence[str]) -> bool:
    """Whether pictures lie right in each of these folders: in that of a set, however it is called, classes would."""

    def shown(name: str) -> bool:
        return any(_has_picture_ending(entry.name) and not _is_folder(entry) for entry in _entries(root / name))

    return len(names) > 1 and all(shown(name) for name in names)


def list_images(folder: Path) -> Listing:
    """The pictures in `folder`/<class>/ and the folders below, by the endings of their names.

    Classes and files are in the order of their names. Links are followed, but to each folder once in a class. Hidden
    files and folders, and those of operating systems, are left out, as is what is no picture and no file.
    Raises UserError for a folder without classes, a class without images, two classes whose names differ in their
    Unicode form alone, and a folder that cannot be listed.
    """
    classes: dict[str, list[Path]] = {}
    left_out = list[LeftOut]()
    for entry in _entries(folder):
        if not _is_folder(entry) or _is_hidden(entry.name):
            outside = _has_picture_ending(entry.name) and not _is_hidden(entry.name)
            kind = "pictures outside of the class folders" if outside else _is_no_picture(entry)
            left_out += [LeftOut(kind, Path(entry.path))] if kind else []
            continue
        name = unicodedata.normalize("NFC", entry.name)
        if name in classes:
            raise UserError(f"{folder}: expected one folder for the class {one_line(name)}, found two; join them")
        found, beside = _walk(Path(entry.path))
        if not found:
            there = f"only {few(one.told(folder) for one in beside)}" if beside else "nothing"
            raise UserError(
                f"{folder}: expected a folder of images for each class; found {there} in {one_line(entry.name)}. "
                f"Remove this folder, or add images ({', '.join(ENDINGS)})"
            )
        classes[name] = found
        left_out += beside
    if not classes:
        there = f", found only {few(one.told(folder) for one in left_out)}" if left_out else ", found nothing"
        raise UserError(
            f"{folder.absolute()}: expected a folder of images for each class{there}; make a folder for each class, "
            "and move its images there"
        )
    files = [file for those in classes.values() for file in those]
    labels = [label for label, those in enumerate(classes.values()) for _ in those]
    return Listing(tuple(files), torch.tensor(labels, dtype=torch.int64), tuple(classes), tuple(left_out))


def list_pictures(folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """The pictures in `folder` and the folders below, whatever these stand for, in the order of `list_images`; and what
    else lies there.

    Raises UserError for what is no folder, or one that cannot be listed, and for a folder without pictures.
    """
    if not os.path.isdir(folder):
        found = "a file" if os.path.exists(folder) else "no such folder, or one that must not be read"
        raise UserError(f"{folder.absolute()}: expected a folder of pictures, found {found}")
    files, left_out = _walk(folder)
    if not files:
        there = f"only {few(one.told(folder) for one in left_out)}" if left_out else "nothing"
        raise UserError(f"{folder.absolute()}: expected pictures ({', '.join(ENDINGS)}), found {there}")
    return files, left_out


def _walk(folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """The picture files in `folder` and below, sorted by the folder's and then the file's name; and what is no such."""
    seen = {_identity(parent) for path in (folder.absolute(), folder.resolve()) for parent in path.parents}
    left_out = list[LeftOut]()
    found: list[tuple[bytes, bytes, Path]] = []
    waiting = [(b"", folder)]
    while waiting:
        inside, place = waiting.pop()
        if _identity(place) in seen:
            left_out.append(LeftOut("links to folders that are already there", place))
            continue
        seen.add(_identity(place))
        folders = []
        for entry in _entries(place):
            if why := _is_no_picture(entry):
                left_out += [LeftOut(why, Path(entry.path))]
            elif _is_folder(entry):
                folders.append((name_order(os.path.relpath(entry.path, folder)), Path(entry.path)))
            elif not _is_system_file(entry):
                found.append((inside, name_order(entry.name), Path(entry.path)))
        waiting += reversed(folders)  # of a folder with several names, the first is kept
    return [path for _, _, path in sorted(found, key=lambda one: one[:2])], left_out


def _is_no_picture(entry: os.DirEntry[str]) -> str:
    """Why this is neither a folder to look into nor a picture; empty if it is, and for files of operating systems."""
    if _is_folder(entry):
        return "hidden folders" if _is_hidden(entry.name) else ""
    if not _has_picture_ending(entry.name):
        return "" if _is_system_file(entry) else "files of other kinds"
    if _is_hidden(entry.name):
        return "hidden pictures"
    return "" if _is_file(entry) else "names of pictures without a file"


def _identity(folder: Path) -> tuple[int, int]:
    with _listable(folder):
        status = folder.stat()
    return status.st_dev, status.st_ino


def _same(entry: os.DirEntry[str], other: os.DirEntry[str]) -> bool:
    """Whether one is a link to the other."""
    try:
        return os.path.samefile(entry.path, other.path)
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """In the order of their names."""
    with _listable(folder), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: name_order(entry.name))


@contextmanager
def _listable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder.absolute()}: expected a folder that can be listed, got an error ({error.strerror}); "
            "repair, move or remove it"
        ) from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _is_system_file(entry: os.DirEntry[str]) -> bool:
    """One that is of no interest to anyone."""
    return not _has_picture_ending(entry.name) and (_is_hidden(entry.name) or entry.name in _SYSTEM_FILES)


def _has_picture_ending(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _what_it_is(entry: os.DirEntry[str]) -> str:
    """Of what is no folder."""
    if _is_file(entry):
        return "a file"
    return "a link that leads nowhere" if entry.is_symlink() and not os.path.exists(entry.path) else "a device or pipe"


def require_same_classes(listing: Listing, train: Listing, name: str, root: Path) -> None:
    """Raises UserError unless the set `name` has the classes of train."""
    both_ways = (train.classes, listing.classes), (listing.classes, train.classes)
    lacking, strange = (sorted(set(one) - set(other), key=name_order) for one, other in both_ways)
    if lacking or strange:
        said = [
            f"{words} {few(map(one_line, names))}"
            for words, names in (("without", lacking), ("with", strange))
            if names
        ]
        raise UserError(
            f"{root}: expected the same classes in {name} as in train, got {name} {' and '.join(said)}; "
            "make the folders agree"
        )
