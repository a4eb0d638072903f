"""A user's own images: from arrays and tensors, from data sets of PyTorch, from one .npz file."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from PIL import Image
from torch import Tensor

from augrad.checks import PathName, checked, few, plain
from augrad.data.alike import groups_of, sorted_out, with_copies
from augrad.data.divide import divided, require_fractions
from augrad.data.labelled import Given, labelled_sets
from augrad.data.left_out import LeftOut, telling
from augrad.data.npz import read_archive
from augrad.data.planted import Plants, plant
from augrad.data.seeding import checked_seed
from augrad.data.types import LoadedSplit, Splits
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.terminal.output import writable


@checked
@made_on_cpu
def load_arrays(
    path: PathName,
    validation_fraction: float = 0.25,
    selection_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    planted: Plants = None,
) -> Splits:
    """The images of an .npz file: train_images, train_labels and, optionally, val_* and test_* (see `read_archive`).

    What is missing is split off train, stratified by class: a fraction of the train images in the file, and at least
    one image of each class. A given val is divided into validation and selection in the ratio of their two fractions.
    A given test is used whole. seed: of the split and of `planted`. sha256 is that of the file's bytes.
    What is left out is told in one warning: images that an earlier part of the file has too, pixel for pixel, and those
    that are there in several classes. Copies of an image within one part count once, and stay in one split.
    Raises UserError for a file that is not as described, for fractions outside (0, 1) or too large together, and for a
    class with too few images to be in every split.
    """
    fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
    require_fractions(fractions)
    archive = read_archive(path)
    given = {"train": archive.train, "val": archive.val, "test": archive.test}
    parts = _parts(given, fractions, seed, str(path), archive.class_count)
    name, own = writable(Path(path).stem), archive.val is not None
    splits = Splits(name, archive.class_count, **parts, sha256=archive.sha256, own_validation=own, class_names=())
    return plant(splits, planted, seed)


@made_on_cpu
def splits_from_arrays(
    images: Any,
    labels: Any,
    validation: tuple[Any, Any] | None,
    test: tuple[Any, Any] | None,
    fractions: Mapping[str, float],
    seed: int,
    name: str,
) -> Splits:
    """See `augrad.Splits.from_arrays`. fractions: of validation, selection and test."""
    require_fractions(fractions)
    seed = checked_seed(seed)
    if not isinstance(name, str):
        raise UserError(f"name: expected a text, got {name!r}")
    given = {"train": (images, labels), "val": validation, "test": test}
    before = {"train": "", "val": "validation ", "test": "test "}
    sets = {}
    for key, pair in given.items():
        if pair is not None:
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise UserError(f"{before[key]}set: expected a pair (images, labels), got {type(pair).__name__}")
            image_name, label_name = f"{before[key]}images", f"{before[key]}labels"
            sets[key] = Given(_image_array(pair[0], image_name), _array(pair[1], label_name), image_name, label_name)
    splits, class_count = labelled_sets(sets, name)
    splits = {
        key: LoadedSplit(_own(split.images, sets[key].images), _own(split.labels, sets[key].labels))
        for key, split in splits.items()
    }
    digest = hashlib.sha256()
    for split in splits.values():
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    parts = _parts({key: splits.get(key) for key in given}, fractions, seed, name, class_count)
    sha256, own = digest.hexdigest(), validation is not None
    return Splits(name, class_count, **parts, sha256=sha256, own_validation=own, class_names=())


@made_on_cpu
def splits_from_datasets(
    train: Any, validation: Any, test: Any, fractions: Mapping[str, float], seed: int, name: str
) -> Splits:
    """See `augrad.Splits.from_datasets`. fractions: of validation, selection and test."""
    given = {"train": train, "validation": validation, "test": test}
    if train is None:
        raise UserError("train: expected a data set with a length and items, got None")
    read = {key: _read(dataset, key) for key, dataset in given.items() if dataset is not None}
    return splits_from_arrays(*read["train"], read.get("validation"), read.get("test"), fractions, seed, name)


def _parts(
    given: Mapping[str, LoadedSplit | None], fractions: Mapping[str, float], seed: int, source: str, class_count: int
) -> dict[str, LoadedSplit]:
    """train, validation, selection and test from the given sets train, val and test (see `divided`).

    Told in one warning, and left out, is what `augrad.data.alike.sorted_out` says.
    """
    present = {name: part for name, part in given.items() if part is not None}
    first, left_out = _looked_through(present)
    kept = {name: (first[name] == torch.arange(len(part))).nonzero().flatten() for name, part in present.items()}
    copies = sum(int((first[name] >= 0).sum()) - len(kept[name]) for name in present)
    with telling(left_out, Path(source), copies):
        labels = {name: present[name].labels[kept[name]] if name in present else None for name in given}
        _require_enough(labels, class_count, source)
        parts = {}
        for name, (of, indices) in divided(labels, fractions, seed, source).items():
            part, chosen = present[of], with_copies(first[of], kept[of][indices])
            parts[name] = part if len(chosen) == len(part) else part[chosen]
    return parts


def _looked_through(parts: Mapping[str, LoadedSplit]) -> tuple[dict[str, Int64[Tensor, " _"]], list[LeftOut]]:
    """Of each image of a part the first copy in it, which may be itself, -1 where it is left out; and what that is."""
    names = [(name, index) for name, part in parts.items() for index in range(len(part))]
    labels = torch.cat([part.labels for part in parts.values()])
    images = (image for part in parts.values() for image in part.images.numpy())
    digests = [hashlib.sha256(image).digest() for image in images]
    alike = sorted_out(groups_of(digests, range(len(names))), [name for name, _ in names], labels)

    def told(number: int) -> str:
        name, index = names[number]
        return f"{name}_images[{index}]"

    left_out = [
        LeftOut(kind, Path(told(number)), f"the same as {told(other)}")
        for number, (kind, other) in sorted(alike.left_out.items())
    ]
    counts = [len(part) for part in parts.values()]
    starts = accumulate(counts[:-1], initial=0)
    first = torch.tensor([-1 if number in alike.left_out else one for number, one in enumerate(alike.first)])
    local = zip(parts, first.split(counts), starts, strict=True)
    return {name: torch.where(numbers < 0, -1, numbers - start) for name, numbers, start in local}, left_out


def _require_enough(labels: Mapping[str, Int64[Tensor, " _"] | None], class_count: int, source: str) -> None:
    """Raises UserError where so much is left out that train lacks a class, or another part has nothing."""
    for name, found in labels.items():
        if found is not None and not len(found):
            raise UserError(
                f"{source}: expected images in {name} that are in no earlier part, got none; remove or add some"
            )
    train = labels["train"]
    assert train is not None
    if lacking := sorted(set(range(class_count)).difference(train.tolist())):
        raise UserError(
            f"{source}: expected images of each class in train, got none of {few(map(str, lacking))}; add some"
        )


def _own(values: Tensor, given: np.ndarray) -> Tensor:
    """A copy where memory is shared: the data must not change with a buffer that its owner uses again."""
    return values.clone() if np.may_share_memory(values.numpy(), given) else values


def _image_array(images: Any, name: str) -> np.ndarray:
    """As [N, H, W, C] or [N, H, W]; tensors come as [N, C, H, W] or [N, H, W]."""
    if isinstance(images, Tensor) and images.ndim == 4:
        if images.shape[1] not in (1, 3):
            hint = "permute(0, 3, 1, 2) makes it so" if images.shape[3] in (1, 3) else "convert them to grey or RGB"
            raise UserError(
                f"{name}: expected a tensor [N, C, H, W] with C = 1 or 3, got shape {tuple(images.shape)}; {hint}"
            )
        images = images.permute(0, 2, 3, 1)
    if isinstance(images, Sequence):
        for index, image in enumerate(images):
            if isinstance(image, Image.Image):
                _require_mode(image, f"{name}[{index}]")
    return _array(images, name)


def _array(values: Any, name: str) -> np.ndarray:
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_meta:
            what = "on the meta device, which holds no values" if values.is_meta else f"a tensor of {values.layout}"
            raise UserError(f"{name}: expected an array or a tensor with all its values, got {what}")
        values = values.detach().cpu()
        values = values.to(torch.float32) if values.is_floating_point() else values  # NumPy has no bfloat16
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise UserError(
            f"{name}: expected an array with all its values, got one of which {int(np.ma.count_masked(values))} are "
            "masked; take those out, as in values[~mask]"
        )
    try:
        found = np.asarray(values)
        return found if found.flags.writeable else found.copy()  # of which PyTorch would warn
    except ValueError as error:
        raise UserError(f"{name}: expected an array or a tensor, got a list of several shapes ({error})") from error


def _read(dataset: Any, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a data set whose items are (image, label)."""
    has_items = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not has_items or isinstance(dataset, Mapping) or (isinstance(dataset, Tensor | np.ndarray) and not dataset.ndim):
        raise UserError(f"{argument}: expected a data set with a length and items, got {type(dataset).__name__}")
    images, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, Sequence | np.ndarray) or getattr(item, "ndim", 1) == 0 or len(item) != 2:
            raise UserError(f"{argument}[{index}]: expected (image, label), got {type(item).__name__}")
        image, label = item
        if isinstance(image, Image.Image):
            _require_mode(image, f"{argument}[{index}]")
        elif isinstance(image, Tensor):
            if image.ndim == 3 and image.shape[0] not in (1, 3) and image.shape[2] in (1, 3):
                raise UserError(
                    f"{argument}[{index}]: expected a tensor [C, H, W] with C = 1 or 3, got shape "
                    f"{tuple(image.shape)}; image.permute(2, 0, 1) makes it so"
                )
            image = image.permute(1, 2, 0) if image.ndim == 3 else image
        elif not isinstance(image, np.ndarray):
            raise UserError(
                f"{argument}[{index}]: expected a picture, a tensor [C, H, W] or an array [H, W, C], got "
                f"{type(image).__name__}"
            )
        images.append(_array(image, argument))
        if images[-1].shape != images[0].shape or images[-1].dtype != images[0].dtype:
            raise UserError(
                f"{argument}[{index}]: expected an image like the first, {images[0].dtype} of shape "
                f"{images[0].shape}, got {images[-1].dtype} of shape {images[-1].shape}; give the data set a transform "
                "that makes them alike, such as torchvision.transforms.v2.Resize"
            )
        labels.append(_label(label, f"{argument}[{index}]"))
    if not images:
        raise UserError(f"{argument}: expected at least one image, got an empty data set")
    return np.stack(images), np.asarray(labels)


def _require_mode(picture: Image.Image, item: str) -> None:
    """Raises UserError for a picture whose values are not grey levels, or red, green and blue."""
    if picture.mode not in ("L", "RGB"):
        deep = picture.mode.startswith(("I", "F"))
        way = "divide by what is white, and give an array of float32" if deep else "picture.convert('RGB') makes it so"
        raise UserError(
            f"{item}: expected a picture of 8 bits, grey or RGB (mode L or RGB), got mode {picture.mode}; {way}"
        )


def _label(label: Any, item: str) -> int:
    """The class of an image. Raises UserError unless it is one whole number: of Python, NumPy or PyTorch."""
    number = label.item() if isinstance(label, Tensor | np.ndarray) and label.shape in ((), (1,)) else plain(label)
    if isinstance(number, bool) or not isinstance(number, int):
        whole = isinstance(number, bool) or (isinstance(number, float) and number.is_integer())
        several = isinstance(label, Sequence | Tensor | np.ndarray) and not isinstance(label, str)
        way = "int(label) is one" if whole else "number the classes 0 .. n - 1"
        way = "of one-hot labels it is the place of the 1: label.argmax()" if several and not whole else way
        raise UserError(f"{item}: expected a whole number as label, got {label!r:.60}; {way}")
    return number
