"""Reads the idx files in which MNIST and its successors come."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from augrad.errors import UserError
from augrad.paths import expanded

_BYTES = b"\x00\x00\x08"
"""What an idx file of unsigned bytes begins with."""
_MOST_DIMENSIONS = 4
"""Of images or labels; a header may say 255."""
_MOST = 2**32
"""Bytes of values."""


def find_idx(root: str | os.PathLike[str], name: str) -> Path:
    """The file `name` or `name`.gz in `root`, in `root`/raw or in torchvision's `root`/FashionMNIST/raw.

    Raises UserError when there is none.
    """
    folder = expanded(root)
    for place in (folder, folder / "raw", folder / "FashionMNIST" / "raw"):
        for file in (place / name, place / f"{name}.gz"):
            if os.path.isfile(file):
                return file
    raise UserError(
        f"root: expected {name} or {name}.gz in {folder.absolute()}, or in raw or FashionMNIST/raw there, found "
        "neither; give the folder that has the data"
    )


def read_idx(file: Path) -> UInt8[Tensor, "..."]:
    """The array of 8-bit numbers in an idx file, compressed or not.

    Format: two zero bytes, the type (8: unsigned bytes), the number of dimensions, each of them as a big-endian 32-bit
    number, the values. Raises UserError for another type or a wrong length.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            start = opened.read(4)
            sizes = opened.read(4 * min(start[3], _MOST_DIMENSIONS)) if start[:3] == _BYTES and len(start) == 4 else b""
            values = opened.read(min(_product(sizes) + 1, _MOST))  # a few bytes may stand for gigabytes
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: expected a readable idx file, got an error ({error}); fetch it anew") from error
    if len(start) == 4 and start[3] > _MOST_DIMENSIONS:
        raise UserError(f"{file}: expected images or labels, in {_MOST_DIMENSIONS} dimensions at most, got {start[3]}")
    if len(start) < 4 or start[:3] != _BYTES:
        raise UserError(f"{file}: expected an idx file of unsigned bytes, got one that starts with {start!r}")
    shape = _shape(sizes)
    if len(values) != math.prod(shape) or len(shape) != start[3]:
        more = "more" if len(values) > math.prod(shape) else str(len(values))
        raise UserError(f"{file}: expected {math.prod(shape)} values for the sizes {shape}, got {more}")
    return torch.from_numpy(np.frombuffer(values, np.uint8).reshape(shape).copy())


def _shape(sizes: bytes) -> list[int]:
    return [int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4)]


def _product(sizes: bytes) -> int:
    return math.prod(_shape(sizes))
