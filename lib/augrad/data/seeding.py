"""Independent streams of random numbers from one seed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from augrad.checks import plain
from augrad.errors import UserError
from augrad.shared_state import generators_kept

SEEDS = 2**32
"""The seeds of runs are below this number."""


def drawn_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed for something of its own, drawn from a local generator (see `local_generator`)."""
    return int(torch.randint(SEEDS, (), generator=local_generator(seed, purpose, index), device="cpu"))


def local_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator that depends on all three arguments and on nothing else.

    Hashing keeps streams apart that would meet if seeds were added up: seed 1, epoch 2 and seed 2, epoch 1.
    """
    return torch.Generator().manual_seed(_mixed(seed, purpose, index))


def checked_seed(seed: object) -> int:
    """The seed of a run, as Python's int. Raises UserError unless it is a whole number from 0 to 2**32 - 1."""
    seed = plain(seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise UserError(f"seed: expected a whole number from 0 to 2**32 - 1, got {seed!r}")
    return seed


@contextmanager
def global_draws(device: torch.device, seed: int, purpose: str, index: int = 0) -> Iterator[None]:
    """Inside, what draws from PyTorch's global generators, such as `torch.nn.Dropout`, does so by the arguments alone.

    Of the CPU's generator and, where `device` is a GPU, of its own, too. Afterwards both are as they were before. One
    thread after another is inside; policies that are called in others meanwhile draw as if none were.
    """
    with global_draws_kept(device):
        start = _mixed(seed, purpose, index)
        # torch.manual_seed would seed the generators of all accelerators, and nothing would put those back.
        torch.default_generator.manual_seed(start)
        if device.type == "cuda":
            torch.cuda.default_generators[_index(device)].manual_seed(start)
        yield


@contextmanager
def global_draws_kept(device: torch.device) -> Iterator[None]:
    """Afterwards PyTorch's global generators, of the CPU and of `device`, are as they were before.

    Except for that of a GPU while a CUDA graph is captured: nothing may read it then.
    """
    on_gpu = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
    with generators_kept([_index(device)] if on_gpu else []):
        yield


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _mixed(seed: int, purpose: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()[:8], "little")
