"""Compiled stages as part of autograd, on all threads that PyTorch uses."""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from augrad.ops.compiled.codes import CODES

_ALONE = 2**19
"""Numbers of a batch below which one thread is faster than several."""


class Kernels(NamedTuple):
    """The compiled functions of `augrad.ops.compiled.stage`."""

    forward: Callable[..., None]
    forward_8bit: Callable[..., None]
    backward: Callable[..., None]


def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def covers(name: str) -> bool:
    """Whether there is compiled code for the operation."""
    return name in CODES


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    from augrad.ops.compiled.stage import kernels  # compiles nothing yet, but importing Numba takes a second

    # What is kept on disk is found by the source of the outermost function alone: tell it of all the others.
    folder = sorted(files("augrad.ops.compiled").iterdir(), key=str)
    sources = b"".join(part.read_bytes() for part in folder if part.name.endswith(".py"))
    number = int.from_bytes(hashlib.sha256(sources).digest()[:7], "little")
    try:
        return Kernels(*kernels(number, True))
    except RuntimeError:  # no folder to keep it in
        return Kernels(*kernels(number, False))


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # By process, because a pool does not survive a fork.
    return ThreadPoolExecutor(threads, "augrad")


def _on_all_threads(kernel: Callable[..., None], batch: int, numbers: int, *arguments: Any) -> None:
    threads = torch.get_num_threads()
    if threads == 1 or batch == 1 or numbers < _ALONE:
        kernel(*arguments, 0, batch)
        return
    # More parts than threads, because images take different times; each thread takes one after another.
    count = min(4 * threads, batch)
    parts = deque(pairwise(batch * part // count for part in range(count + 1)))

    def work() -> None:
        while True:
            try:
                part = parts.popleft()
            except IndexError:
                return
            kernel(*arguments, *part)

    others = [_pool(os.getpid(), threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()


class _Stage(torch.autograd.Function):
    """images, magnitudes -> images; the other arguments are constants."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, magnitude: Tensor, codes: Tensor, draw: Tensor, fill: float, nearest: bool
    ) -> Tensor:
        images = images.contiguous()
        results = torch.empty_like(images)
        constants = (codes.numpy(), magnitude.detach().numpy(), draw.numpy(), fill, nearest)
        kernel = _kernels().forward_8bit if images.dtype == torch.uint8 else _kernels().forward
        arrays = (images.detach().numpy(), results.numpy())
        _on_all_threads(kernel, len(images), images.numel(), *arrays, *constants)
        ctx.save_for_backward(images, magnitude, codes, draw)
        ctx.settings = (fill, nearest)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, magnitude, codes, draw = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_images, to_magnitude = torch.empty_like(images), torch.empty_like(magnitude)
        arrays = (images.detach().numpy(), gradient.numpy(), to_images.numpy(), codes.numpy())
        constants = (magnitude.detach().numpy(), draw.numpy(), *ctx.settings, to_magnitude.numpy())
        _on_all_threads(_kernels().backward, len(images), images.numel(), *arrays, *constants)
        return to_images, to_magnitude, None, None, None, None


def apply_compiled(
    images: Tensor,
    codes: Int[Tensor, " B"],
    magnitude: Float[Tensor, " B"],
    draw: Float[Tensor, "B D"],
    fill: float,
    interpolation: str,
) -> Tensor:
    """Each image [C, H, W] of the batch through the operation of its code, COPY leaving it as it is.

    images: on the CPU, floating point or uint8. magnitude: with its sign, in absolute units. Differentiable once in
    images and magnitudes.
    """
    computed = images.to(torch.float32) if images.dtype in (torch.float16, torch.bfloat16) else images
    draw = torch.nn.functional.pad(draw.to(torch.float64), (0, max(0, 2 - draw.shape[1])), value=0.5)
    arguments = (magnitude.to(torch.float64).contiguous(), codes, draw.contiguous(), fill, interpolation == "nearest")
    return _Stage.apply(computed, *arguments).to(images.dtype)  # type: ignore[no-any-return, union-attr]
