"""The processes of a distributed run: each has the whole policy and classifier, and a share of every batch.

What is computed from a share is put together by one collective operation; what is computed from that is the same in
all processes. So every one of them takes the same steps, and one process with the whole batch would, too.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from augrad.errors import RankLostError, UserError

Result = TypeVar("Result")


def parts_of(size: int, count: int) -> list[slice]:
    """`size` images in `count` parts, which differ by one image at most; in as many as there are images, if less."""
    count = min(count, size)
    return [slice(size * index // count, size * (index + 1) // count) for index in range(count)]


@dataclass(frozen=True)
class Ranks:
    """index: of this process, from 0. count: how many there are; with one of them nothing is communicated.

    host: the group by which processes agree on what is decided on the host, where the default one is a GPU's. patient:
    the group in which one process may wait for another as long as that lives.
    """

    index: int = 0
    count: int = 1
    host: Any = None
    patient: Any = None

    @property
    def alone(self) -> bool:
        return self.count == 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells."""
        return self.index == 0

    def share(self, size: int, device: torch.device | None = None, repeats: int = 1) -> Int[Tensor, " b"]:
        """Which of `size` images are this process's, as indices; shares differ by one image at most.

        repeats: the images come so often, one batch after another. Raises UserError where there are fewer images than
        processes.
        """
        if size < self.count:
            raise UserError(
                f"several processes: expected batches of at least {self.count} images, one for each of them, got "
                f"{size}; raise the batch size, or start fewer"
            )
        part = parts_of(size, self.count)[self.index]
        one = torch.arange(part.start, part.stop, device=device)
        return one if repeats == 1 else (one + size * torch.arange(repeats, device=device)[:, None]).flatten()

    def weight(self, size: int) -> float:
        """The part of `size` images that is this process's."""
        return len(self.share(size)) / size

    def mean_of(self, values: Float[Tensor, " b"], size: int) -> Float[Tensor, ""]:
        """The mean over `size` images in all processes, of which these are this one's; see `total`."""
        return values.mean() if self.alone else self.total(values.sum() / size)

    def summed(self, parts: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The sums over all processes of these tensors, by one operation on one vector; None, in all of them, stays."""
        there = [part for part in parts if part is not None]
        if self.alone or not there:
            return list(parts)
        vector = torch.cat([part.detach().flatten() for part in there])
        _told(lambda: dist.all_reduce(vector))
        found = iter(vector.split([part.numel() for part in there]))
        return [None if part is None else next(found).view_as(part) for part in parts]

    def mean_over(self, size: int, parts: Sequence[Tensor]) -> list[Tensor]:
        """The means over `size` images in all processes of what are means over this one's share."""
        if self.alone:
            return list(parts)
        weight = self.weight(size)
        return self.summed([part * weight for part in parts])  # type: ignore[return-value]

    def total(self, contribution: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The sum over all processes of a number, as a function of what each of them computed it from."""
        return contribution if self.alone else _Total.apply(contribution)  # type: ignore[no-any-return]

    def shared(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """The same vector, of which each process computes something: its gradient is the sum of all processes'.

        Differentiable again and again, in the same order in all processes.
        """
        return vector if self.alone else _Shared.apply(vector)  # type: ignore[no-any-return]

    def taken(self, values: Shaped[Tensor, "N *rest"], own: Int[Tensor, " b"]) -> Shaped[Tensor, "b *rest"]:
        """The entries of this process; the gradient of all entries comes together from all processes."""
        differentiated = values.requires_grad and torch.is_grad_enabled()
        return values[own] if self.alone or not differentiated else _Taken.apply(values, own)  # type: ignore[no-any-return]

    def put_together(self, values: Float[Tensor, " b"], own: Int[Tensor, " b"], size: int) -> Float[Tensor, " N"]:
        """The inverse of `taken`: the numbers of all processes, each in its place."""
        return values if self.alone else _PutTogether.apply(values, own, size)  # type: ignore[no-any-return]

    def agreed(self, flag: bool) -> bool:
        """Whether it is so in any of the processes. Decided on the host: a GPU is not waited for."""
        return self.anywhere([flag])[0]

    def anywhere(self, flags: Sequence[bool]) -> list[bool]:
        """Of each, whether it is so in any of the processes. Decided on the host: a GPU is not waited for."""
        if self.alone:
            return list(flags)
        found = torch.tensor(flags, dtype=torch.float32, device="cpu")
        _told(lambda: dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.host))
        return [value > 0 for value in found.tolist()]

    def gathered(self, value: Result) -> list[Result]:
        """The values that the processes have, each waiting for all others, in the order of their indices."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.count
        _told(lambda: dist.all_gather_object(found, value, group=self.patient))
        return found

    def of_the_first(self, value: Result) -> Result:
        """The value that the first process has."""
        if self.alone:
            return value
        box: list[Any] = [value]
        _told(lambda: dist.broadcast_object_list(box, src=0, group=self.host))
        return box[0]  # type: ignore[no-any-return]


ALONE = Ranks()

_NO_PATIENCE = timedelta(days=365)
"""A process that has ended is noticed at once all the same."""

_made = False
"""Whether the present process group is one that `joined` has made."""


def joined(device: torch.device, patience: timedelta = timedelta(minutes=10)) -> Ranks:
    """This process among those that `torchrun` has started with it; `ALONE` where it has not.

    device: of the computations. patience: after which a process that is not heard of counts as lost.
    """
    global _made
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return ALONE
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    on_gpu = device.type == "cuda"
    if not dist.is_initialized():
        store, rank, count = next(rendezvous("env://", timeout=patience))
        # Processes that are started again meet at the same place, where the addresses of the first ones still stand.
        store = PrefixStore(f"augrad {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        backend = "nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
        _made = True
    host = dist.new_group(backend="gloo", timeout=patience) if on_gpu else None
    return Ranks(dist.get_rank(), dist.get_world_size(), host, dist.new_group(backend="gloo", timeout=_NO_PATIENCE))


def left() -> None:
    """Leaves the group that `joined` has made, if it has; not one that was there before."""
    global _made
    if _made:
        _made = False
        dist.destroy_process_group()


def _told(operation: Callable[[], object]) -> None:
    try:
        operation()
    except RuntimeError as error:
        raise RankLostError(
            f"rank {dist.get_rank()}: another process of this run is not heard of any more "
            f"({str(error).splitlines()[0]:.200}); what it said is above or below"
        ) from error


def _all(values: Tensor) -> Tensor:
    found = values.detach().clone()
    _told(lambda: dist.all_reduce(found))
    return found


class _Total(torch.autograd.Function):
    """Sum over processes. Whatever is computed from it is the same everywhere, so each part's derivative is that."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _all(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.apply(gradients[0])  # type: ignore[no-any-return]


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, own: Tensor) -> Tensor:
        ctx.save_for_backward(own)
        ctx.shape = values.shape
        return values[own]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return _Total.apply(gradients[0].new_zeros(ctx.shape).index_copy(0, own, gradients[0])), None


class _PutTogether(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, own: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(own)
        return _all(values.new_zeros(size).index_copy(0, own, values))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (own,) = ctx.saved_tensors
        return gradients[0][own], None, None
