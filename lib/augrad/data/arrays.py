"""A user's own images, from one .npz file."""

import os
from pathlib import Path

from augrad.data.npz import read_archive
from augrad.data.planted import Planted, plant
from augrad.data.stratify import stratified_split
from augrad.data.types import Split, Splits
from augrad.errors import UserError


def load_arrays(
    path: str | os.PathLike[str],
    validation_fraction: float = 0.25,
    selection_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    planted: Planted | None = None,
) -> Splits:
    """The images of an .npz file: train_images, train_labels and, optionally, val_* and test_* (see `read_archive`).

    What is missing is split off train, stratified by class: a fraction of the train images in the file, and at least
    one image of each class. A given val is divided into validation and selection in the ratio of their two fractions.
    A given test is used whole. seed: of the split and of `planted`. sha256 is that of the file's bytes.
    Raises UserError for a file that is not as described, for fractions outside (0, 1) or too large together, and for a
    class with too few images to be in every split.
    """
    fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise UserError(f"{name}_fraction: expected a number between 0 and 1, got {fraction}; choose, say, 0.2")
    archive = read_archive(path)
    parts: dict[str, Split] = {}
    if archive.test is not None:
        parts["test"] = archive.test
        del fractions["test"]
    if archive.val is not None:
        ratio = selection_fraction / (validation_fraction + selection_fraction)
        parts |= _divide(archive.val, {"selection": ratio}, "validation", seed, f"{path}: val")
        del fractions["validation"], fractions["selection"]
    if sum(fractions.values()) >= 1:
        asked = ", ".join(f"{name}_fraction={fraction}" for name, fraction in fractions.items())
        raise UserError(f"{path}: expected fractions that leave images for train, got {asked}; choose smaller ones")
    parts |= _divide(archive.train, fractions, "train", seed, f"{path}: train")
    splits = Splits(Path(path).stem, archive.class_count, **parts, sha256=archive.sha256)
    return splits if planted is None else plant(splits, planted, seed)


def _divide(split: Split, fractions: dict[str, float], rest: str, seed: int, source: str) -> dict[str, Split]:
    if not fractions:
        return {rest: split}
    at_least = len(split.labels.unique())
    sizes = {name: max(at_least, round(fraction * len(split))) for name, fraction in fractions.items()}
    indices = stratified_split(split.labels, sizes, rest, seed, source)
    return {name: split[part] for name, part in indices.items()}
