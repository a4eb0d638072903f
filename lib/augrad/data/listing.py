"""Which image files a folder has, and of which class; nothing is read yet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from rich.console import Console
from torch import Tensor
from torchvision.datasets import ImageFolder

from augrad.data.decode import decode
from augrad.data.types import Split
from augrad.errors import UserError

_NAMED = 5  # classes that a message names


@dataclass(frozen=True)
class Listing:
    """files: of all classes, one class after another. labels: their classes, as numbers of `classes`, the names."""

    files: tuple[Path, ...]
    labels: Int64[Tensor, " N"]
    classes: tuple[str, ...]

    def of_classes(self, kept: Sequence[int]) -> "Listing":
        """These classes alone, numbered anew in this order."""
        number = {old: new for new, old in enumerate(kept)}
        chosen = [index for index, label in enumerate(self.labels.tolist()) if label in number]
        labels = torch.tensor([number[label] for label in self.labels[chosen].tolist()], dtype=torch.int64)
        return Listing(tuple(self.files[index] for index in chosen), labels, tuple(self.classes[old] for old in kept))


def list_images(folder: Path) -> Listing:
    """The files of `folder`/<class>/ as torchvision's ImageFolder finds them: classes and files by their names.

    Raises UserError for a folder that is not there, and one without classes or with a class without images.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder.absolute()}: expected a folder with a folder of images for each class, found none; "
            "correct data.root"
        )
    try:
        found = ImageFolder(str(folder))
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(f"{folder}: expected a folder of images for each class; {error}") from error
    labels = torch.tensor([label for _, label in found.samples], dtype=torch.int64)
    return Listing(tuple(Path(file) for file, _ in found.samples), labels, tuple(found.classes))


def require_same_classes(listing: Listing, train: Listing, name: str, root: Path) -> None:
    """Raises UserError unless the set `name` has the classes of train."""
    lacking, strange = (sorted(set(one) - set(other)) for one, other in _both_ways(train.classes, listing.classes))
    if lacking or strange:
        said = [
            f"{words} {', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"
            for words, names in (("without", lacking), ("with", strange))
            if names
        ]
        raise UserError(
            f"{root}: expected the same classes in {name} as in train, got {name} {' and '.join(said)}; "
            "make the folders agree"
        )


def _both_ways(one: Sequence[str], other: Sequence[str]) -> tuple[tuple[Sequence[str], Sequence[str]], ...]:
    return (one, other), (other, one)


def read_parts(
    listings: dict[str, Listing],
    parts: dict[str, tuple[str, Int64[Tensor, " _"]]],
    size: int,
    channels: int,
    console: Console | None = None,
) -> tuple[dict[str, Split], str]:
    """The images of each part, which is a listing's name and indices into it; no other file is opened.

    Also the sha256 of all that was read: of each image's class and pixels, in the order of the files' names.
    """
    files, labels = [], []
    for source, indices in parts.values():
        files += [listings[source].files[index] for index in indices.tolist()]
        labels.append(listings[source].labels[indices])
    images, digests = decode(files, size, channels, console)
    classes = listings["train"].classes
    known = zip(files, torch.cat(labels).tolist(), digests, strict=True)
    digest = hashlib.sha256()
    for _, label, pixels in sorted(known, key=lambda entry: entry[0]):
        digest.update(classes[label].encode() + b"\0" + pixels)
    cut = images.split([len(part) for part in labels])
    splits = {name: Split(*both) for name, *both in zip(parts, cut, labels, strict=True)}
    return splits, digest.hexdigest()
