"""The order in which a run goes through a split, as a function of the step: a resumed run goes on where it was."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Int64
from torch import Tensor

from augrad.data.seeding import local_generator
from augrad.data.stored import StoredImages
from augrad.data.types import LoadedSplit, Split
from augrad.errors import UserError


def batch_indices(
    size: int, batch_size: int, step: int, seed: int, device: torch.device | str = "cpu"
) -> Int64[Tensor, " B"]:
    """Indices of the batch at `step`, counted from 0, in a split of `size` images.

    Each epoch has its own permutation, made of (seed, epoch). Images that do not fill a batch are left out until the
    next epoch; a split smaller than `batch_size` is one batch. Each call makes the whole permutation: in a loop, use
    `EpochBatches`.
    Raises UserError for an empty split and for batch_size < 1.
    """
    return EpochBatches(size, batch_size, seed, device).indices(step)


class EpochBatches:
    """The same indices as `batch_indices`, with the current epoch's permutation kept on `device`.

    Made on the CPU, hence alike on every device, and moved once an epoch. Nothing in it belongs in a checkpoint.
    """

    def __init__(self, size: int, batch_size: int, seed: int, device: torch.device | str = "cpu") -> None:
        if size < 1 or batch_size < 1:
            raise UserError(
                f"batches: expected at least one image and batch_size >= 1, got {size} images and "
                f"batch_size={batch_size}; change batch_size or the data"
            )
        self.size, self.batch_size, self.seed, self.device = size, min(batch_size, size), seed, device
        self._epoch = -1
        self._order = self._moved = torch.empty(0, dtype=torch.int64)
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: dict[int, Future[Tensor]] = {}

    @property
    def batches_per_epoch(self) -> int:
        """How many steps an epoch has."""
        return self.size // self.batch_size

    def indices(self, step: int) -> Int64[Tensor, " B"]:
        """Indices of the batch at `step`, which may be any step, in any order."""
        place = self._place(step)
        return self._moved[place].clone()

    def batch(self, split: Split, step: int) -> LoadedSplit:
        """The batch at `step` of a split of `size` images.

        Where the images are in a file, that of the step after it is read meanwhile, by a thread. That does not speak to
        a GPU, which may be capturing a graph for this one.
        """
        images = split.images
        if not isinstance(images, StoredImages):
            return split[self.indices(step)]
        read = self._ahead.pop(step, None) or self._begun(images, step)
        here = images.sent(read.result())
        self._ahead = {step + 1: self._ahead.get(step + 1) or self._begun(images, step + 1)}
        return LoadedSplit(here, split.labels[self.indices(step)])

    def _begun(self, images: StoredImages, step: int) -> "Future[Tensor]":
        self._reader = self._reader or ThreadPoolExecutor(1, "augrad-reader")
        place = self._place(step)  # which may begin another epoch
        chosen = self._order[place]
        return self._reader.submit(images.read, chosen, images.room(len(chosen)))

    def _place(self, step: int) -> slice:
        """Where the batch is in the permutation of its epoch, which is the present one from now on."""
        assert step >= 0
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            generator = local_generator(self.seed, "epoch", epoch)
            self._order = torch.randperm(self.size, generator=generator, device="cpu")
            self._moved = self._order.to(self.device, non_blocking=True)
            self._epoch = epoch
        start = position * self.batch_size
        return slice(start, start + self.batch_size)
