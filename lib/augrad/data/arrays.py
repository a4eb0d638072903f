"""A user's own images, from one .npz file."""

from pathlib import Path

from augrad.checks import PathName, checked
from augrad.data.divide import divided, require_fractions
from augrad.data.npz import read_archive
from augrad.data.planted import Planted, plant
from augrad.data.types import Splits
from augrad.terminal.output import writable


@checked
def load_arrays(
    path: PathName,
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
    require_fractions(fractions)
    archive = read_archive(path)
    given = {"train": archive.train, "val": archive.val, "test": archive.test}
    labels = {name: None if part is None else part.labels for name, part in given.items()}
    parts = {}
    for name, (source, indices) in divided(labels, fractions, seed, str(path)).items():
        part = given[source]
        assert part is not None
        parts[name] = part if len(indices) == len(part) else part[indices]
    splits = Splits(writable(Path(path).stem), archive.class_count, **parts, sha256=archive.sha256)
    return splits if planted is None else plant(splits, planted, seed)
