"""A user's own images, in folders."""

from augrad.checks import PathName, checked, few
from augrad.data.divide import divided, require_fractions
from augrad.data.left_out import one_line, telling
from augrad.data.listing import find_sets, list_images, require_same_classes
from augrad.data.picture import Fit
from augrad.data.planted import Plants, plant
from augrad.data.reading import cut, read_sets
from augrad.data.stratify import stratified_split
from augrad.data.types import Splits
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.paths import expanded
from augrad.terminal.output import writable


@checked
@made_on_cpu
def load_folder(
    root: PathName,
    size: int = 32,
    channels: int = 3,
    fit: Fit = "crop",
    store: PathName | None = None,
    reduced: int | None = None,
    validation_fraction: float = 0.25,
    selection_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    planted: Plants = None,
) -> Splits:
    """The images in `root`/train/<class>/ and, optionally, `root`/val/<class>/ and `root`/test/<class>/.

    Where there is none of the three, in `root`/<class>/: all of them are train images then.

    val may be called valid or validation, test testing, and train training, in small letters or capitals (see
    `augrad.data.listing.find_sets`). Classes are numbered in the order of their names, and are the same in all three.
    What is missing is split off train, stratified by class (see `augrad.data.divide.divided`). Every image becomes
    channels x size x size, as a person would see it (see `augrad.data.decode.decode`): with the fit "crop" its middle,
    with "pad" the whole of it between black borders. All of them stay in memory; or, where `store` names a folder, in a
    file there, of which a run reads what it needs, and which the next run finds (see `augrad.data.stored`).
    reduced: take only so many of the train images, stratified, before anything is split off (None: all). seed: of the
    subset, the split and `planted`. sha256 is that of the images as they are read.
    What is left out is told in one warning, by numbers and the first names: hidden files and folders, files of other
    kinds, pictures that cannot be read, and those that an earlier split has too or that are in several classes (see
    `augrad.data.reading.read_sets`).
    Raises UserError for folders that are not as described, for a split that would be left without a class, and for
    more images than fit.
    """
    fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
    require_fractions(fractions)
    folder = expanded(root)
    sets, beside = find_sets(folder, ("train", "val", "test"))
    listings = {name: list_images(place) for name, place in sets.items()}
    train = listings["train"]
    if len(train.classes) < 2:
        raise UserError(
            f"{sets['train']}: expected at least two classes, got only {few(map(one_line, train.classes))}; add one"
        )
    for name, listing in listings.items():
        require_same_classes(listing, train, sets[name].name, folder)
        beside += listing.left_out
    if reduced is not None and reduced != len(train.files):
        if not 0 < reduced < len(train.files):
            raise UserError(f"reduced: expected 1 to {len(train.files)} of the train images, got {reduced}")
        sizes = {"reduced": reduced}
        kept = stratified_split(train.labels, sizes, "left out", seed, f"{folder}: train", train.classes)
        listings["train"] = train.chosen(kept["reduced"])
    pictures = read_sets(folder, listings, size, channels, fit=fit, store=store)
    with telling([*beside, *pictures.left_out], folder, pictures.copies):
        different = {name: pictures.different(name) for name in listings}
        labels = {n: pictures.labels[different[n]] if n in different else None for n in ("train", "val", "test")}
        parts = divided(labels, fractions, seed, str(folder), train.classes)
        splits, digest = cut(pictures, {name: different[source][one] for name, (source, one) in parts.items()})
    name = writable(folder.resolve().name)
    names = tuple(map(one_line, train.classes))
    own = "val" in listings
    loaded = Splits(name, len(names), **splits, sha256=digest, own_validation=own, class_names=names)
    return plant(loaded, planted, seed)
