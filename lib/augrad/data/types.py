"""What every loader returns: a data set in four disjoint splits."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images of one purpose. labels: 0 .. class_count - 1."""

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, indices: Int64[Tensor, " M"]) -> "Split":
        """Those images and labels, e.g. a batch: `split[batch_indices(...)]`."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        """The same split on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Splits:
    """A data set, each split with a purpose of its own.

    train: what the classifier learns from. validation: drives the policy's gradient. selection: held out from both,
    picks the policy that is exported. test: for reporting only. sha256: of the data as they came, before splitting.
    """

    name: str
    class_count: int
    train: Split
    validation: Split
    selection: Split
    test: Split
    sha256: str

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
