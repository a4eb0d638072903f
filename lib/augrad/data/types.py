"""What every loader returns: a data set in four disjoint splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from augrad.data.stored import StoredImages, digest_of, stored_together

Images = UInt8[Tensor, "N C H W"] | StoredImages


@dataclass(frozen=True)
class Split:
    """Images of one purpose, in memory or in a file. labels: 0 .. class_count - 1."""

    images: Images
    labels: Int64[Tensor, " N"]

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, indices: Int64[Tensor, " M"]) -> "LoadedSplit":
        """Those images and labels, in memory: `split[batch_indices(...)]`."""
        return LoadedSplit(self.images[indices], self.labels[indices])

    def chosen(self, indices: Int64[Tensor, " M"]) -> "Split":
        """Those images and labels; images that are in a file stay there."""
        if isinstance(self.images, Tensor):
            return self[indices]
        return Split(self.images.chosen(indices), self.labels[indices])

    def digests(self) -> list[bytes]:
        """The sha256 of each image."""
        if isinstance(self.images, StoredImages):
            return self.images.digests
        return [digest_of(image) for image in self.images.cpu().numpy()]

    def to(self, device: torch.device | str) -> "Split":
        """The same split on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class LoadedSplit(Split):
    """A split whose images are in memory, such as a batch."""

    images: UInt8[Tensor, "N C H W"]


def joined(splits: Sequence[Split]) -> Split:
    """The images of these splits, one after another. All are in memory, or all in one file."""
    images, labels = [split.images for split in splits], torch.cat([split.labels for split in splits])
    in_memory = [one for one in images if isinstance(one, Tensor)]
    in_a_file = [one for one in images if isinstance(one, StoredImages)]
    assert not (in_memory and in_a_file)
    return Split(torch.cat(in_memory) if in_memory else stored_together(in_a_file), labels)


@dataclass(frozen=True)
class Splits:
    """A data set in four splits, each with a purpose of its own. `from_arrays` and `from_datasets` make one.

    train: what the classifier learns from. validation: drives the policy's gradient. selection: held out from both,
    picks the policy that is exported. test: for reporting only. sha256: of the data as they came, before splitting.
    own_validation: whether validation images are of a source of their own, and not split off train; then the two may
    differ, and `augrad.data.folds` does not mix them unless it is told to. class_names: in the order of the labels;
    empty where they are not known.
    """

    name: str
    class_count: int
    train: Split
    validation: Split
    selection: Split
    test: Split
    sha256: str
    own_validation: bool = False
    class_names: tuple[str, ...] = ()

    @staticmethod
    def from_arrays(
        images: Any,
        labels: Any,
        validation: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None,
        validation_fraction: float = 0.25,
        selection_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 0,
        name: str = "arrays",
    ) -> "Splits":
        """A data set from arrays or tensors; what is not given is split off `images`, stratified by class.

        images: an array [N, H, W, C] or [N, H, W], or a tensor [N, C, H, W] or [N, H, W], with C = 1 or 3 and 8 or more
        pixels on a side; uint8, or floating point in [0, 1], which is rounded to 8 bits. labels: integers [N], the
        classes 0 .. n - 1. validation, test: pairs (images, labels) of the same kind. A given validation set is divided
        into the validation and the selection split, a given test set is used whole.
        validation_fraction, selection_fraction, test_fraction: what each split is of the images; it gets at least one
        image of each class. seed: of the splitting. name: what messages and policy files call the data.
        Raises UserError for images or labels that are not as described, fractions outside (0, 1) or too large together,
        and a class with too few images to be in every split.
        """
        from augrad.data.arrays import splits_from_arrays

        fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
        return splits_from_arrays(images, labels, validation, test, fractions, seed, name)

    @staticmethod
    def from_datasets(
        train: Any,
        validation: Any = None,
        test: Any = None,
        validation_fraction: float = 0.25,
        selection_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 0,
        name: str = "datasets",
    ) -> "Splits":
        """A data set from PyTorch or torchvision data sets, whose items are (image, label); all of it goes into memory.

        An image is a picture of PIL (mode L or RGB), a tensor [C, H, W] or an array [H, W, C], alike in size and type
        for all items, and a label one whole number. Give the data sets no random transform, which would be drawn once
        and for good. The other arguments are those of `from_arrays`. Raises UserError for items that are not so, and
        for what `from_arrays` refuses.
        """
        from augrad.data.arrays import splits_from_datasets

        fractions = {"validation": validation_fraction, "selection": selection_fraction, "test": test_fraction}
        return splits_from_datasets(train, validation, test, fractions, seed, name)

    @cached_property
    def division(self) -> str:
        """The sha256 of the four splits: which image is where."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.selection, self.test):
            digest.update(f"{tuple(split.images.shape)}".encode())
            # Of images in a file their sha256 are enough, and already there.
            images = split.images
            digest.update(_bytes_of(images) if isinstance(images, Tensor) else b"".join(images.digests))
            digest.update(f"{tuple(split.labels.shape)}".encode())
            digest.update(_bytes_of(split.labels))
        return digest.hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Splits":
        """The same data set on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            selection=self.selection.to(device),
            test=self.test.to(device),
        )


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().numpy().data
