"""Independent streams of random numbers from one seed."""

import hashlib

import torch

from augrad.checks import plain
from augrad.errors import UserError


def local_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator that depends on all three arguments and on nothing else.

    Hashing keeps streams apart that would meet if seeds were added up: seed 1, epoch 2 and seed 2, epoch 1.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def checked_seed(seed: object) -> int:
    """The seed of a run, as Python's int. Raises UserError unless it is a whole number from 0 to 2**32 - 1."""
    seed = plain(seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise UserError(f"seed: expected a whole number from 0 to 2**32 - 1, got {seed!r}")
    return seed
