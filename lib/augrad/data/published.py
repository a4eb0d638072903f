"""Data sets that papers report on: CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, from files on this machine."""

import hashlib
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torchvision import datasets

from augrad.checks import PathName, checked
from augrad.data.divide import require_fractions
from augrad.data.idx import find_idx, read_idx
from augrad.data.planted import Plants, plant
from augrad.data.stratify import stratified_split
from augrad.data.types import LoadedSplit, Splits
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.paths import expanded

Name = Literal["cifar10", "cifar100", "svhn", "fashion_mnist"]
_SMALLEST_SIDE = 8
_CLASSES = {"cifar10": 10, "cifar100": 100, "svhn": 10, "fashion_mnist": 10}


@checked
@made_on_cpu
def load_published(
    name: Name,
    root: PathName,
    reduced: int | None = None,
    validation_fraction: float = 0.1,
    selection_size: int = 1000,
    download: bool = False,
    seed: int = 0,
    planted: Plants = None,
) -> Splits:
    """The data set `name` in the folder `root`; its own test images are the test split, whole.

    Its training images become train, validation and selection, stratified by class. reduced: how many of them are train
    and validation together (None: all but the selection split); papers search on such a subset. validation_fraction: of
    those. selection_size: images beyond those, from the rest.
    root: as torchvision has it; for fashion_mnist also a folder with the four idx files, compressed or not. download:
    whether torchvision may fetch what is missing (not for fashion_mnist). seed: of the split and of `planted`. sha256
    is that of all images' and labels' bytes, training before test. SVHN is taken without its "extra" images.
    Raises UserError for files that are not there or damaged, and sizes that do not fit.
    """
    pool, test = (_read(name, root, train, download) for train in (True, False))
    sizes = [tuple(split.images.shape[1:]) for split in (pool, test)]
    if sizes[0] != sizes[1] or min(sizes[0][1:]) < _SMALLEST_SIDE:
        raise UserError(
            f"{name}: expected training and test images of one size, at least {_SMALLEST_SIDE} pixels, got "
            f"{' x '.join(map(str, sizes[0]))} and {' x '.join(map(str, sizes[1]))}; fetch the files anew"
        )
    parts = published_parts(pool.labels, reduced, validation_fraction, selection_size, seed, source=name)
    digest = hashlib.sha256()
    for split in (pool, test):
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    chosen = {part: pool[indices] for part, indices in parts.items()}
    sha256 = digest.hexdigest()
    splits = Splits(name, _CLASSES[name], **chosen, test=test, sha256=sha256, own_validation=False, class_names=())
    return plant(splits, planted, seed)


def published_parts(
    labels: Int64[Tensor, " N"],
    reduced: int | None,
    validation_fraction: float,
    selection_size: int,
    seed: int,
    source: str,
    classes: Sequence[str] = (),
) -> dict[str, Int64[Tensor, " _"]]:
    """train, validation and selection as indices into training images with these labels (see `load_published`).

    classes: their names, for an error.
    """
    require_fractions({"validation": validation_fraction})
    most = len(labels) - selection_size
    size = most if reduced is None else reduced
    if not 0 < size <= most:
        raise UserError(
            f"reduced: expected 1 to {most} of the {len(labels)} training images, with selection_size="
            f"{selection_size} beside them, got {size}"
        )
    sizes = {"validation": round(validation_fraction * size), "selection": selection_size}
    if size < most:
        sizes["train"] = size - sizes["validation"]
    rest = "left out" if size < most else "train"
    parts = stratified_split(labels, sizes, rest, seed, source, classes)
    return {part: parts[part] for part in ("train", "validation", "selection")}


def _read(name: Name, root: str | os.PathLike[str], train: bool, download: bool) -> LoadedSplit:
    if name == "fashion_mnist":
        kind = "train" if train else "t10k"
        files = [find_idx(root, f"{kind}-{name}-ubyte") for name in ("images-idx3", "labels-idx1")]
        images, labels = map(read_idx, files)
        if images.ndim != 3 or labels.shape != images.shape[:1] or 0 in images.shape or labels.max() >= _CLASSES[name]:
            raise UserError(
                f"{files[0].parent}: expected images [N, H, W] and labels [N] from 0 to {_CLASSES[name] - 1}, got "
                f"shapes {tuple(images.shape)} in {files[0].name} and {tuple(labels.shape)} in {files[1].name}, or "
                "labels beyond; fetch the files anew"
            )
        return LoadedSplit(images[:, None], labels.to(torch.int64))
    folder = expanded(root)
    try:
        if name == "svhn":
            found = datasets.SVHN(folder, "train" if train else "test", download=download)
            images, labels = np.asarray(found.data), np.asarray(found.labels)
        else:
            kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            found = kind(folder, train, download=download)
            images, labels = np.asarray(found.data).transpose(0, 3, 1, 2), np.asarray(found.targets)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"root: expected the files of {name} as torchvision keeps them in {folder.absolute()}, found none or "
            f"damaged ones ({error}); give the folder that has them, or set download to true"
        ) from error
    return LoadedSplit(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64)))
