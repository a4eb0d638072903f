"""Reads image files, many at a time, into one tensor."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from augrad.data.picture import Fit, Mode, fingerprint, read_picture, square, why_unreadable
from augrad.data.stored import IMAGES, Filling, StoredImages, digest_of, filling
from augrad.data.types import Images
from augrad.errors import UserError
from augrad.terminal.console import say, terminal
from augrad.terminal.output import writable

_CHUNK = 32  # files that a thread reads in one go
_GIB = 2**30
_SMALLEST_SIDE = 8


class Decoded(NamedTuple):
    """images, and each one's sha256, in the order of the files; unreadable: why not, by the number of the file.

    The image of an unreadable file is black.
    """

    images: Images
    digests: list[bytes]
    unreadable: dict[int, str]


def decode(
    files: Sequence[Path],
    size: int,
    channels: int,
    console: Console | None = None,
    fit: Fit = "crop",
    store: Path | None = None,
) -> Decoded:
    """The pictures, N x channels x size x size.

    A picture is read as a person would see it (see `augrad.data.picture.read_picture`), in RGB (channels 3) or grey
    (1), and becomes a square (see `augrad.data.picture.square`, which has `fit`). The files are read by as many threads
    as there are processors.
    console: where a bar shows how far it is, if that is a terminal; standard error if None. store: the folder in which
    the images are kept (see `augrad.data.stored.store_for`); those that are there are not read again. None: in memory.
    Raises UserError for a size or channels that are none, and for more images than memory is free, or room in
    the store, before any is read.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < _SMALLEST_SIDE:
        raise UserError(
            f"size: expected a whole number of at least {_SMALLEST_SIDE} pixels, got {size!r}; it is the side of "
            "a square"
        )
    mode = _mode(channels)
    if store is None:
        require_memory(len(files), size, channels)
    console = terminal(stderr=True) if console is None else console
    shape = len(files), channels, size, size
    with _in_memory(shape) if store is None else filling(store, shape, lambda: _waits(store)) as into:
        images, unreadable = into.images, into.unreadable

        def read(index: int) -> None:
            try:
                images[index] = square(read_picture(files[index], mode), size, fit)
            except Exception as error:  # decoders raise all kinds at damaged files
                images[index] = 0
                unreadable[index] = why_unreadable(files[index], error)
                return
            into.digests[index] = np.frombuffer(digest_of(images[index].numpy()), np.uint8)

        missing = [int(index) for index in np.flatnonzero(~into.digests.any(1)) if int(index) not in unreadable]
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        with Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_interactive
        ) as bar:
            task = bar.add_task("reading images", total=len(files), completed=len(files) - len(missing))
            _in_threads(lambda number: read(missing[number]), len(missing), lambda done: bar.advance(task, done))
        digests = [one.tobytes() for one in into.digests]
    kept = images if store is None else StoredImages(store / IMAGES, torch.arange(len(files)))
    return Decoded(kept, digests, dict(sorted(unreadable.items())))


@contextmanager
def _in_memory(shape: tuple[int, int, int, int]) -> Iterator[Filling]:
    yield Filling(torch.empty(shape, dtype=torch.uint8), np.zeros((shape[0], 32), np.uint8), {})


def _waits(store: Path) -> None:
    say(f"data: another run reads these images into {writable(str(store))}; waiting for it", stderr=True)


def fingerprints(
    files: Sequence[Path], chosen: Sequence[int], channels: int
) -> tuple[dict[int, bytes], dict[int, str]]:
    """Of the chosen pictures, by number: alike where two are the same in their full size, pixel for pixel.

    Also why not, of those that cannot be read: their images may be from an earlier run.
    """
    mode, found, unreadable = _mode(channels), dict[int, bytes](), dict[int, str]()

    def read(place: int) -> None:
        index = chosen[place]
        try:
            found[index] = fingerprint(files[index], mode)
        except Exception as error:  # decoders raise all kinds at damaged files
            unreadable[index] = why_unreadable(files[index], error)

    _in_threads(read, len(chosen))
    return {index: found[index] for index in chosen if index in found}, unreadable


def _mode(channels: int) -> Mode:
    if not isinstance(channels, int) or channels not in (1, 3):
        raise UserError(f"channels: expected 3 (RGB) or 1 (grey), got {channels!r}")
    return "RGB" if channels == 3 else "L"


def _in_threads(read: Callable[[int], None], count: int, advance: Callable[[int], None] = lambda done: None) -> None:
    """Calls `read` with 0 .. count - 1, and `advance`, in this thread, with how many more are done."""

    def chunk(start: int) -> int:
        indices = range(start, min(start + _CHUNK, count))
        for index in indices:
            read(index)
        return len(indices)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of pictures that are merely large
            for done in as_completed([pool.submit(chunk, start) for start in range(0, count, _CHUNK)]):
                advance(done.result())
    finally:  # after Ctrl-C, too, without those that have not begun
        pool.shutdown(cancel_futures=True)


def require_memory(count: int, size: int, channels: int, bytes_each: int = 1) -> None:
    """Raises UserError where so many images, `bytes_each` for each value of a pixel, need more memory than is free."""
    needed, free = count * channels * size**2 * bytes_each, free_memory()
    if free is not None and needed > free:
        raise UserError(
            f"size: {count:,} images of {channels} x {size} x {size} pixels need {needed / _GIB:.1f} GiB of memory, "
            f"and {free / _GIB:.1f} GiB are free on this machine; lower it, or take fewer images"
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
