"""The pictures of a folder in their splits, each of them in one; and what had to be left out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from rich.console import Console
from torch import Tensor

from augrad.checks import PathName, few
from augrad.data.alike import groups_of, sorted_out, with_copies
from augrad.data.decode import decode, fingerprints
from augrad.data.left_out import LeftOut, one_line
from augrad.data.listing import Listing, name_order
from augrad.data.picture import Fit
from augrad.data.stored import store_for
from augrad.data.types import Images, Split
from augrad.errors import UserError
from augrad.paths import expanded


@dataclass(frozen=True)
class Pictures:
    """The pictures of several sets, one set after another, as they were read; N of them.

    files, sets, labels, digests: of each the file, the name of its set, its class, and the sha256 of its image.
    first: the first copy of the same picture in its set, which may be itself; -1 if it is left out. left_out: why.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    sets: tuple[str, ...]
    labels: Int64[Tensor, " N"]
    images: Images
    digests: list[bytes]
    first: Int64[Tensor, " N"]
    left_out: tuple[LeftOut, ...]

    @property
    def copies(self) -> int:
        """How many pictures stay that another one of their set is a copy of."""
        return int((self.first != torch.arange(len(self.files))).sum()) - len(self.left_out)

    def different(self, name: str) -> Int64[Tensor, " M"]:
        """The pictures of a set without copies, as numbers from 0 to N - 1, rising.

        Raises UserError where a class has none.
        """
        of_set = torch.tensor([one == name for one in self.sets])
        found = ((self.first == torch.arange(len(self.files))) & of_set).nonzero().flatten()
        self.require_all_classes(name, found)
        return found

    def require_all_classes(self, name: str, chosen: Int64[Tensor, " M"]) -> None:
        """Raises UserError unless each class has one of the chosen pictures, which `name` consists of."""
        lacking = sorted(set(range(len(self.classes))).difference(self.labels[chosen].tolist()))
        if lacking:
            raise UserError(
                f"{self.root}: expected images of each class in {name}, got none of "
                f"{few(one_line(self.classes[label]) for label in lacking)}; repair or add images, or take the class "
                "out of all sets"
            )


def read_sets(
    root: Path,
    listings: Mapping[str, Listing],
    size: int,
    channels: int,
    console: Console | None = None,
    fit: Fit = "crop",
    store: PathName | None = None,
) -> Pictures:
    """Reads all files of the listings, which are in `root` and have the same classes (see `augrad.data.decode.decode`).

    store: a folder of the user's, in which the images are kept (see `augrad.data.stored`); None: in memory.

    Left out are files that cannot be read, pictures that an earlier listing has too, and all copies of a picture that
    is there in several classes. Two pictures are the same if all their pixels are, in their full size.
    """
    files = [file for listing in listings.values() for file in listing.files]
    sets = [name for name, listing in listings.items() for _ in listing.files]
    labels = torch.cat([listing.labels for listing in listings.values()])
    place = None
    if store is not None:
        place = store_for(expanded(store).absolute(), root, files, {"size": size, "channels": channels, "fit": fit})
    images, digests, unreadable = decode(files, size, channels, console, fit, place)

    readable = (index for index in range(len(files)) if index not in unreadable)
    alike = [index for group in groups_of(digests, readable) for index in group]
    contents, gone = fingerprints(files, alike, channels)
    unreadable = unreadable | gone
    out = {index: LeftOut("pictures that cannot be read", files[index], why) for index, why in unreadable.items()}
    first, doubled = sorted_out(groups_of(contents, contents), sets, labels)
    for index, (kind, other) in doubled.items():
        out[index] = LeftOut(kind, files[index], f"the same as {one_line(files[other].relative_to(root))}")
    return Pictures(
        root,
        next(iter(listings.values())).classes,
        tuple(files),
        tuple(sets),
        labels,
        images,
        digests,
        torch.tensor([-1 if index in out else one for index, one in enumerate(first)]),
        tuple(out[index] for index in sorted(out)),
    )


def cut(pictures: Pictures, parts: Mapping[str, Int64[Tensor, " _"]]) -> tuple[dict[str, Split], str]:
    """The parts, given as numbers of different pictures, together with the copies of each.

    Also the sha256 of these images: of each one's class and pixels, in the order of the files' names.
    Images in memory are put in order where they are, as they may take most of it: `pictures` is spent.
    Raises UserError for a part without an image of some class.
    """
    whole = {name: with_copies(pictures.first, indices) for name, indices in parts.items()}
    for name, indices in whole.items():
        pictures.require_all_classes(name, indices)
    order = torch.cat(list(whole.values()))

    def place(index: int) -> tuple[bytes, ...]:
        below = pictures.files[index].relative_to(pictures.root).parts[1:]
        return name_order(pictures.sets[index]), *map(name_order, below)

    digest = hashlib.sha256()
    for index in sorted(order.tolist(), key=place):
        class_name = pictures.classes[int(pictures.labels[index])]
        digest.update(name_order(class_name) + b"\0" + pictures.digests[index])
    counts = [len(indices) for indices in whole.values()]
    if isinstance(pictures.images, Tensor):
        _put_in_order(pictures.images.numpy(), order.tolist())
        images = pictures.images[: len(order)].split(counts)
    else:
        images = [pictures.images.chosen(indices) for indices in whole.values()]
    labels = pictures.labels[order].split(counts)
    splits = {name: Split(*both) for name, both in zip(whole, zip(images, labels, strict=True), strict=True)}
    return splits, digest.hexdigest()


def _put_in_order(rows: np.ndarray, order: Sequence[int]) -> None:
    """Moves row order[i] to place i, for all i, with memory for one row."""
    rest = sorted(set(range(len(rows))).difference(order))
    source = [*order, *rest]
    for start in range(len(source)):
        held, place = None, start
        while source[place] != place:
            wanted = source[place]
            if held is None:
                held = rows[place].copy()
            rows[place] = held if wanted == start else rows[wanted]
            source[place] = place
            place = wanted
