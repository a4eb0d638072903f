"""Images that stay in a file on a disk, of which a run reads what it needs: for data larger than the memory."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.lib.format import open_memmap
from torch import Tensor

from augrad.atomic import write_text
from augrad.data.left_out import one_line
from augrad.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

IMAGES, DIGESTS, CONTENTS = "images.npy", "digests.npy", "contents.json"
"""The files of a store: the images [N, C, H, W] and their sha256 [N, 32], both uint8; and, once they are whole, what
they are of."""

_GIB = 2**30
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class StoredImages:
    """N images of a file, as a tensor that is read where it is asked for.

    path: of the array [M, C, H, W] of uint8. rows: which of its images. device: where those that are read go; on a GPU
    from page-locked memory, without waiting for it.
    """

    path: Path
    rows: Int64[Tensor, " N"]
    device: torch.device = _CPU

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        channels, height, width = self._pages.shape[1:]
        return len(self.rows), channels, height, width

    def __getitem__(self, chosen: slice | Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        """These images, read from the file."""
        rows = torch.arange(len(self))[chosen] if isinstance(chosen, slice) else chosen.cpu()
        return self.sent(self.read(rows, self.room(len(rows))))

    def room(self, count: int) -> UInt8[Tensor, "B C H W"]:
        """Memory for so many images, as they are read; locked where they then go to a GPU."""
        on_gpu = self.device.type == "cuda"
        return torch.empty((count, *self._pages.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)

    def read(self, chosen: Int64[Tensor, " B"], into: UInt8[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
        """`into`, with these images. Raises UserError where one is not what was put there, at its first reading."""
        rows = self.rows[chosen]
        torch.index_select(self._pages, 0, rows, out=into)
        for place, row in enumerate(rows.tolist()):
            if not self._right[row]:
                require_right(into[place].numpy(), self._digests[row], self.path.parent)
                self._right[row] = True
        return into

    def sent(self, images: UInt8[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
        """The images on `device`, which may get them later."""
        return images.to(self.device, non_blocking=True)

    def split(self, size: int) -> Iterator[UInt8[Tensor, "B C H W"]]:
        """All images in their order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def to(self, device: torch.device | str) -> "StoredImages":
        """The same images, which go to `device` when they are read."""
        return replace(self, device=torch.device(device))

    def chosen(self, indices: Int64[Tensor, " _"]) -> "StoredImages":
        """These images alone; nothing is read."""
        return replace(self, rows=self.rows[indices.cpu()])

    @cached_property
    def digests(self) -> list[bytes]:
        """The sha256 of each image."""
        return [one.tobytes() for one in self._digests[self.rows.numpy()]]

    @cached_property
    def level_counts(self) -> Int64[Tensor, "C 256"]:
        """How often each value is there, by channel."""
        counts = torch.zeros(self.shape[1], 256, dtype=torch.int64)
        for part in self.to("cpu").split(256):
            counts += level_counts(part)
        return counts

    @cached_property
    def _pages(self) -> UInt8[Tensor, "M C H W"]:
        return torch.from_numpy(np.load(self.path, mmap_mode="c"))  # never written to: "r" alone makes PyTorch warn

    @cached_property
    def _digests(self) -> np.ndarray:
        return np.load(self.path.with_name(DIGESTS), mmap_mode="r")

    @cached_property
    def _right(self) -> np.ndarray:
        """Of each image of the file, whether it has been held against its sha256."""
        return np.zeros(len(self._pages), bool)

    def __getstate__(self) -> dict[str, Any]:
        """Without the file, which is opened where it is read; with what took long to be counted."""
        kept = ("path", "rows", "device", "level_counts")
        return {name: value for name, value in vars(self).items() if name in kept}


def stored_together(parts: Sequence[StoredImages]) -> StoredImages:
    """The images of these, which are in one file, one after another; nothing is read."""
    first = parts[0]
    assert all(part.path == first.path for part in parts)
    return replace(first, rows=torch.cat([part.rows for part in parts]))


def digest_of(image: np.ndarray) -> bytes:
    """The sha256 of an image's values."""
    return hashlib.sha256(image.tobytes()).digest()


def level_counts(images: UInt8[Tensor, "N C H W"]) -> Int64[Tensor, "C 256"]:
    """How often each value is there, by channel; on the CPU."""
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).cpu()


@dataclass
class Filling:
    """Where images are put as they are read.

    images [N, C, H, W], digests [N, 32]: uint8, of which a sha256 of zeros stands for what is not there yet.
    unreadable: why not, by the number of the image.
    """

    images: Tensor
    digests: np.ndarray
    unreadable: dict[int, str]


def store_for(folder: Path, root: Path, files: Sequence[Path], settings: Mapping[str, Any]) -> Path:
    """The folder in the user's `folder` that is the store of these files below `root`.

    Its name is made of what decides the images: where `root` is, the files by name, size and time of change, and the
    settings, which are what becomes of them, by name.
    Raises UserError for a folder that lies in `root`, where its files would be taken for data, and for a name that
    cannot be.
    """
    if "\0" in str(folder):
        raise UserError(f"store: expected the path of a folder, got {str(folder)!r}; leave the null byte out")
    if folder.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"store: expected a folder outside of {root}, which holds the data, got {folder}; choose another"
        )
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode() + os.fsencode(root.resolve()))
    for file in files:
        with suppress(OSError):  # what is not there is told when it is read
            status = file.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(os.fsencode(file.relative_to(root)) + b"\0")
    sides = "x".join(str(settings[name]) for name in ("channels", "size"))
    return folder / f"{one_line(root.resolve().name)[:50]}-{sides}-{digest.hexdigest()[:16]}"


@contextmanager
def filling(store: Path, shape: tuple[int, int, int, int], waiting: Callable[[], None]) -> Iterator[Filling]:
    """What the store has of images of this shape, to be completed within: it is whole from then on.

    What a run that was stopped has left there is taken up. One process at a time is within; `waiting` is called before
    this one waits for another. A store that is whole is only read; what could not be read in it is tried again.
    Raises UserError for a folder that cannot be written in, a disk without room, and images that are not what was put
    there.
    """
    try:
        if (store / CONTENTS).exists():
            found = _whole(store, shape)
            if not (found.unreadable and os.access(store, os.W_OK)):
                yield found
                return
        store.mkdir(parents=True, exist_ok=True)
        with _locked(store / "lock", waiting):
            whole = _whole(store, shape) if (store / CONTENTS).exists() else None
            if whole is not None and not whole.unreadable:  # by the process that this one waited for
                yield whole
                return
            _make(store / IMAGES, shape)
            _make(store / DIGESTS, (shape[0], 32))
            images, digests = _mapped(store, shape, "r+")
            if whole is None:
                _forget_others(images, digests)
            found = Filling(torch.from_numpy(images), digests, {})
            yield found
            images.flush()
            digests.flush()
            unreadable = {str(index): why for index, why in sorted(found.unreadable.items())}
            write_text(store / CONTENTS, json.dumps({"images": shape[0], "unreadable": unreadable}, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{store}: cannot keep images here ({error.strerror or error}); name a folder that can be written in "
            "(data.store=...)"
        ) from error


def _whole(store: Path, shape: tuple[int, ...]) -> Filling:
    """Raises UserError for files that are no store's. That its images are right shows where they are read."""
    images, digests = _mapped(store, shape, "c")
    try:
        unreadable = json.loads((store / CONTENTS).read_text())["unreadable"].items()
        return Filling(torch.from_numpy(images), digests, {int(index): str(why) for index, why in unreadable})
    except (ValueError, LookupError, TypeError, AttributeError):  # cut off, or written by something else
        raise _changed(store) from None


def _mapped(store: Path, shape: tuple[int, ...], mode: Literal["r+", "c"]) -> tuple[np.memmap, np.memmap]:
    for file, expected in ((IMAGES, shape), (DIGESTS, (shape[0], 32))):
        try:
            found = open_memmap(store / file, "c")  # refuses a file that was cut off, which "r+" would fill with zeros
        except (ValueError, EOFError, FileNotFoundError):
            raise _changed(store) from None
        if found.dtype != np.uint8 or found.shape != expected:
            raise _changed(store)
    return open_memmap(store / IMAGES, mode), open_memmap(store / DIGESTS, mode)


def _changed(store: Path) -> UserError:
    return UserError(f"{store}: its images are not those that were put there; remove this folder to read them anew")


def require_right(image: np.ndarray, digest: np.ndarray, store: Path) -> None:
    """Raises UserError unless that is the image's sha256."""
    if digest_of(image) != digest.tobytes():
        raise _changed(store)


def _forget_others(images: np.ndarray, digests: np.ndarray) -> None:
    """Takes away what the disk has kept of a digest and not of its image, as after a power failure."""
    for index in np.flatnonzero(digests.any(1)).tolist():
        if digest_of(images[index]) != digests[index].tobytes():
            digests[index] = 0


def _size(count: int) -> str:
    """So many bytes, in words."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB / 10 else f"{count / 2**20:.1f} MiB"


def _make(path: Path, shape: tuple[int, ...]) -> None:
    """A file of zeros, unless it is there already. Its room is taken at once: a disk that is full later kills a run."""
    if path.exists():
        return
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(
            f"store: {shape[0]:,} images of {' x '.join(map(str, shape[1:]))} need {_size(needed)}, and "
            f"{_size(free)} are free in {path.parent.parent}; take a smaller size or fewer images, or another "
            "folder"
        )
    temporary = path.with_suffix(".tmp")
    open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape).flush()
    with open(temporary, "r+b") as file, suppress(AttributeError):  # Windows and macOS
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                temporary.unlink()
                raise
    os.replace(temporary, path)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    with open(path, "w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
