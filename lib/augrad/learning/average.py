"""An exponential moving average of a network's weights, beside the ones that are trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average a <- decay a + (1 - decay) w of a network's weights, from their values when this is made.

    Floating point buffers are averaged, too, and others are taken as they are: BatchNorm's running statistics belong to
    the weights that they were seen with, so that those of the latest weights would not go with averaged ones. The
    statistics of the averaged network itself would take one more pass over augmented training images. One fused
    operation a step; nothing is copied to the host. Source: Polyak and Juditsky, Acceleration of Stochastic
    Approximation by Averaging, 1992, with the weights of an exponential average; as
    `torch.optim.swa_utils.AveragedModel` with `use_buffers`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._average = [tensor.clone() for tensor in self._own()]

    @property
    def values(self) -> list[Tensor]:
        """The averages, in the order of the network's parameters and buffers."""
        return self._average

    @torch.no_grad()
    def take(self, values: list[Tensor]) -> None:
        """The averages become these, of another time. Raises ValueError for others than the network has."""
        if [value.shape for value in values] != [value.shape for value in self._average]:
            raise ValueError("the averages are those of another network")
        torch._foreach_copy_(self._average, values)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimiser."""
        torch._foreach_lerp_(self._average, self._own(), 1 - self._decay)  # pyright: ignore[reportPrivateImportUsage]

    def put_in(self) -> None:
        """The network gets the averaged weights, for good."""
        self._put(self._average)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A context in which the network has the averaged weights; afterwards it has its own, bit for bit."""
        kept = [tensor.clone() for tensor in self._own()]
        self.put_in()
        try:
            yield
        finally:
            self._put(kept)

    def _own(self) -> list[Tensor]:
        """Asked for at each call: a layer may replace its buffers."""
        tensors = (*self._model.parameters(), *self._model.buffers())
        return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self._own(), values)  # pyright: ignore[reportPrivateImportUsage]
