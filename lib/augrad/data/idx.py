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
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: expected a readable idx file, got an error ({error}); fetch it anew") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise UserError(f"{file}: expected an idx file of unsigned bytes, got one that starts with {content[:4]!r}")
    start = 4 + 4 * content[3]
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) != start + math.prod(sizes):
        raise UserError(f"{file}: expected {math.prod(sizes)} values for the sizes {sizes}, got {len(content) - start}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy())
