"""A user's own images, in folders."""

import os

from augrad.data.divide import divided, require_fractions
from augrad.data.listing import list_images, read_parts, require_same_classes
from augrad.data.planted import Planted, plant
from augrad.data.stratify import stratified_split
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.paths import expanded


def load_folder(
    root: str | os.PathLike[str],
    size: int = 32,
    channels: int = 3,
    reduced: int | None = None,
    validation_fraction: float = 0.25,
    selection_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    planted: Planted | None = None,
) -> Splits:
    """The images in `root`/train/<class>/ and, optionally, `root`/val/<class>/ and `root`/test/<class>/.

    Classes are numbered in the order of their names, and are the same in all three. What is missing is split off train,
    stratified by class (see `augrad.data.divide.divided`). Every image becomes channels x size x size (see
    `augrad.data.decode.decode`), and all of them stay in memory. reduced: take only so many of the train images,
    stratified, before anything is split off (None: all). seed: of the subset, the split and `planted`. sha256 is that
    of the images as they are in memory.
    Raises UserError for folders that are not as described, files that are no images, and more images than fit.
    """
    fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
    require_fractions(fractions)
    folder = expanded(root)
    train = list_images(folder / "train")
    if len(train.classes) < 2:
        raise UserError(
            f"{folder / 'train'}: expected at least two classes, got only {', '.join(train.classes)}; add one"
        )
    listings = {"train": train}
    for name in ("val", "test"):
        if (folder / name).exists():
            listings[name] = list_images(folder / name)
            require_same_classes(listings[name], train, name, folder)
    labels = {name: listings[name].labels if name in listings else None for name in ("train", "val", "test")}
    kept = None
    if reduced is not None and reduced != len(train.files):
        if not 0 < reduced < len(train.files):
            raise UserError(f"data.reduced: expected 1 to {len(train.files)} of the train images, got {reduced}")
        kept = stratified_split(train.labels, {"reduced": reduced}, "left out", seed, f"{folder}: train")["reduced"]
        labels["train"] = train.labels[kept]
    parts = divided(labels, fractions, seed, str(folder))
    if kept is not None:
        parts = {n: (s, kept[indices] if s == "train" else indices) for n, (s, indices) in parts.items()}
    splits, digest = read_parts(listings, parts, size, channels)
    loaded = Splits(folder.resolve().name, len(train.classes), **splits, sha256=digest)
    return loaded if planted is None else plant(loaded, planted, seed)
