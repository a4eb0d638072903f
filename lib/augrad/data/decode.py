"""Reads image files, many at a time, into one tensor."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from augrad.console import terminal
from augrad.errors import UserError

_CHUNK = 32  # files that a thread reads in one go
_NAMED = 5  # broken files that a message names
_GIB = 2**30
_SMALLEST_SIDE = 8


def decode(
    files: Sequence[Path], size: int, channels: int, console: Console | None = None
) -> tuple[UInt8[Tensor, "N C H W"], list[bytes]]:
    """The pictures, N x channels x size x size, and each one's sha256, in the order of `files`.

    A picture is converted to RGB (channels 3) or grey (1, ITU-R 601), its shorter side resized to `size` (bilinear
    with antialiasing, Pillow's; the longer side is rounded down), and the square in its middle cut out. Notes of how a
    camera was held (EXIF) are not looked at. The files are read by as many threads as there are processors.
    console: where a bar shows how far it is, if that is a terminal; standard error if None.
    Raises UserError for a size or channels that are none, for more images than memory is free (before any is read),
    and, when all are read, for files that are no pictures, by name.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < _SMALLEST_SIDE:
        raise UserError(f"data.size: expected a whole number of at least {_SMALLEST_SIDE} pixels, got {size!r}")
    if channels not in (1, 3):
        raise UserError(f"data.channels: expected 3 (RGB) or 1 (grey), got {channels!r}")
    _require_memory(len(files), size, channels)
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    digests, broken = [b""] * len(files), dict[int, str]()

    def read(start: int) -> int:
        chunk = range(start, min(start + _CHUNK, len(files)))
        for index in chunk:
            try:
                images[index] = _read(files[index], size, channels)
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
                broken[index] = str(error)
            digests[index] = hashlib.sha256(images[index].numpy().tobytes()).digest()
        return len(chunk)

    console = terminal(stderr=True) if console is None else console
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_interactive)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of pictures that are merely large
            task = bar.add_task("reading images", total=len(files))
            for done in as_completed([pool.submit(read, start) for start in range(0, len(files), _CHUNK)]):
                bar.advance(task, done.result())
    finally:  # after Ctrl-C, too, without those that have not begun
        pool.shutdown(cancel_futures=True)
    if broken:
        named = ", ".join(f"{files[index]} ({broken[index]})" for index in sorted(broken)[:_NAMED])
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise UserError(f"expected pictures, but could not read {named}{more}; replace or remove these files")
    return images, digests


def _read(file: Path, size: int, channels: int) -> UInt8[Tensor, "C H W"]:
    with Image.open(file) as opened:
        picture = opened.convert("RGB" if channels == 3 else "L")
    return _square(size)(picture)


@cache
def _square(size: int) -> v2.Compose:
    resize = v2.Resize(size, InterpolationMode.BILINEAR, antialias=True)
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])


def _require_memory(count: int, size: int, channels: int) -> None:
    needed, free = count * channels * size**2, free_memory()
    if free is not None and needed > free:
        raise UserError(
            f"{count:,} images of {channels} x {size} x {size} pixels need {needed / _GIB:.1f} GiB of memory, and "
            f"{free / _GIB:.1f} GiB are free on this machine; lower data.size, or take fewer images (data.reduced)"
        )


def free_memory() -> int | None:
    """Bytes that a program may still use, at most; None where nothing tells."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                found.append(1024 * int(rest.split()[0]))
    with suppress(OSError, ValueError):  # a container's limit, where there is one
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    if not found and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)
