"""ImageNet (ILSVRC 2012), whole or the subset on which papers search, from a folder on this machine."""

import unicodedata
from collections.abc import Sequence

import torch

from augrad.checks import PathName, checked, few
from augrad.data.left_out import one_line, telling
from augrad.data.listing import Listing, find_sets, list_images, require_same_classes
from augrad.data.picture import Fit
from augrad.data.planted import Plants, plant
from augrad.data.published import published_parts
from augrad.data.reading import cut, read_sets
from augrad.data.seeding import local_generator
from augrad.data.types import Splits
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.paths import expanded


@checked
@made_on_cpu
def load_imagenet(
    root: PathName,
    reduced: int | None = None,
    classes: int | Sequence[str | int] | None = None,
    size: int = 224,
    fit: Fit = "crop",
    store: PathName | None = None,
    validation_fraction: float = 0.1,
    selection_size: int = 1000,
    seed: int = 0,
    planted: Plants = None,
) -> Splits:
    """The images in `root`/train/<class>/ and `root`/val/<class>/; the latter are the test split, whole.

    classes: how many of them, drawn by the seed, or their names (the folders'); None: all. Also those of the test
    split. reduced, validation_fraction, selection_size: as for the other published data sets (see `load_published`).
    Only the files that are then used are read, each to 3 x size x size (see `augrad.data.decode.decode`): 150 kB an
    image at 224 pixels, 193 GB for the whole. fit, store: as for a folder (see `augrad.data.folder.load_folder`). seed:
    of the classes, the split and `planted`. sha256 is that of the images as they are read.
    Folders are found, and pictures left out, as by `augrad.data.folder.load_folder`.
    Raises UserError for folders that are not as described, a split that would be left without a class, sizes that do
    not fit, and more images than fit into memory.
    """
    folder = expanded(root)
    sets, beside = find_sets(folder, ("train", "val"))
    if "val" not in sets:
        raise UserError(f"{folder.absolute() / 'val'}: expected a folder of images for each class, found none; add it")
    listings = {name: list_images(place) for name, place in sets.items()}
    require_same_classes(listings["val"], listings["train"], sets["val"].name, folder)
    kept = _classes(listings["train"], classes, seed)
    listings = {name: listing.of_classes(kept) for name, listing in listings.items()}
    train = listings["train"]
    pool = published_parts(
        train.labels, reduced, validation_fraction, selection_size, seed, source="imagenet", classes=train.classes
    )
    used = torch.cat(list(pool.values())).sort().values
    pictures = read_sets(
        folder, {"train": train.chosen(used), "val": listings["val"]}, size, channels=3, fit=fit, store=store
    )
    beside += (one for listing in listings.values() for one in listing.left_out)
    with telling([*beside, *pictures.left_out], folder, pictures.copies):
        different = pictures.different("train")
        parts = {name: different[torch.isin(used[different], indices)] for name, indices in pool.items()}
        splits, digest = cut(pictures, parts | {"test": pictures.different("val")})
    names = tuple(map(one_line, train.classes))
    loaded = Splits("imagenet", len(kept), **splits, sha256=digest, own_validation=False, class_names=names)
    return plant(loaded, planted, seed)


def _classes(listing: Listing, asked: int | Sequence[str | int] | None, seed: int) -> list[int]:
    """Numbers of the classes to take, rising."""
    there = len(listing.classes)
    if asked is None:
        return list(range(there))
    if isinstance(asked, int):
        if not 2 <= asked <= there:
            raise UserError(f"classes: expected 2 to {there}, as many as train has, got {asked}")
        return sorted(torch.randperm(there, generator=local_generator(seed, "classes"))[:asked].tolist())
    names = [asked] if isinstance(asked, str) else asked
    asked = [unicodedata.normalize("NFC", str(name)) for name in names]  # YAML makes numbers of some
    number = {name: index for index, name in enumerate(listing.classes)}
    unknown = [name for name in asked if name not in number]
    if unknown or len(set(asked)) < max(len(asked), 2):
        raise UserError(
            "classes: expected a number, or two or more different names of folders in train, got "
            f"{few(map(one_line, unknown or asked))}"
        )
    return sorted(number[name] for name in asked)
