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

from augrad.ops.compiled.codes import CODES, SAMPLE_PAIRING, SEPARATE
from augrad.ops.mix import partners

_ALONE = 2**19
"""Numbers of a batch below which one thread is faster than several."""
_PART = 2**17
"""Numbers that take a thread so long that fetching another part does not show."""


class Kernels(NamedTuple):
    """The compiled functions of `augrad.ops.compiled.stage`, and of `augrad.ops.compiled.separate`."""

    forward: Callable[..., None]
    forward_8bit: Callable[..., None]
    backward: Callable[..., None]
    separate_forward: Callable[..., None]
    separate_backward: Callable[..., None]
    separate_backward_others: Callable[..., None]


def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def covers(name: str) -> bool:
    """Whether there is compiled code for the operation."""
    return name in CODES


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    from augrad.ops.compiled.separate import separate_kernels
    from augrad.ops.compiled.stage import kernels  # compiles nothing yet, but importing Numba takes a second

    # What is kept on disk is found by the source of the outermost function alone: tell it of all the others.
    folder = sorted(files("augrad.ops.compiled").iterdir(), key=str)
    sources = b"".join(part.read_bytes() for part in folder if part.name.endswith(".py"))
    number = int.from_bytes(hashlib.sha256(sources).digest()[:7], "little")
    try:
        return Kernels(*kernels(number, True), *separate_kernels(number, True))
    except RuntimeError:  # no folder to keep it in
        return Kernels(*kernels(number, False), *separate_kernels(number, False))


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # By process, because a pool does not survive a fork.
    return ThreadPoolExecutor(threads, "augrad")


def _on_all_threads(work: Callable[[int, int], None], batch: int, numbers: int) -> None:
    """`work` on images start .. stop - 1, until all of the batch are done."""
    threads = torch.get_num_threads()
    if threads == 1 or batch == 1 or numbers < _ALONE:
        work(0, batch)
        return
    # More parts than threads, because images take different times; each thread takes one after another.
    count = min(max(4 * threads, numbers // _PART), batch)
    parts = deque(pairwise(batch * part // count for part in range(count + 1)))

    def work_on() -> None:
        while True:
            try:
                part = parts.popleft()
            except IndexError:
                return
            work(*part)

    others = [_pool(os.getpid(), threads - 1).submit(work_on) for _ in range(threads - 1)]
    work_on()
    for other in others:
        other.result()


class _Stage(torch.autograd.Function):
    """images, magnitudes, other images (or None) -> images; the other arguments are constants."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        magnitude: Tensor,
        others: Tensor | None,
        codes: Tensor,
        draw: Tensor,
        partners: Tensor,
        fill: float,
        nearest: bool,
    ) -> Tensor:
        images = images.contiguous()
        others = images if others is None else others.contiguous()
        results = torch.empty_like(images)
        kernels = _kernels()
        kernel = kernels.forward_8bit if images.dtype == torch.uint8 else kernels.forward
        arrays = (images.detach().numpy(), results.numpy(), codes.numpy(), magnitude.detach().numpy())
        constants, paired = (draw.numpy(), fill, nearest), (others.detach().numpy(), partners.numpy())
        separate = bool((arrays[2] >= SEPARATE).any())

        def work(start: int, stop: int) -> None:
            kernel(*arrays, *constants, start, stop)
            if separate:
                kernels.separate_forward(*arrays, *paired, start, stop)

        _on_all_threads(work, len(images), images.numel())
        ctx.save_for_backward(images, magnitude, others, codes, draw, partners)
        ctx.settings = (fill, nearest, separate)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, magnitude, others, codes, draw, partners = ctx.saved_tensors
        fill, nearest, separate = ctx.settings
        gradient = gradient.contiguous()
        to_images, to_magnitude = torch.empty_like(images), torch.empty_like(magnitude)
        kernels = _kernels()
        given = (images.detach().numpy(), gradient.numpy())
        arrays = (*given, to_images.numpy(), codes.numpy(), magnitude.detach().numpy(), to_magnitude.numpy())
        constants, paired = (draw.numpy(), fill, nearest), (others.detach().numpy(), partners.numpy())

        def work(start: int, stop: int) -> None:
            kernels.backward(*arrays, *constants, start, stop)
            if separate:
                kernels.separate_backward(*arrays, *paired, start, stop)

        _on_all_threads(work, len(images), images.numel())
        to_others = None
        if ctx.needs_input_grad[2]:
            to_others = torch.zeros_like(others)
            kernels.separate_backward_others(*given, *arrays[3:5], *paired, to_others.numpy())
        return to_images, to_magnitude, to_others, None, None, None, None, None


def apply_compiled(
    images: Tensor,
    codes: Int[Tensor, " B"],
    magnitude: Float[Tensor, " B"],
    draw: Float[Tensor, "B D"],
    fill: float,
    interpolation: str,
    others: Tensor,
) -> Tensor:
    """Each image [C, H, W] of the batch through the operation of its code, COPY leaving it as it is.

    images: on the CPU, floating point or uint8. magnitude: with its sign, in absolute units. others [B, C, H, W]: what
    images are paired with, the type of `images`. Differentiable once in images, others and magnitudes.
    """
    computed = images.to(torch.float32) if images.dtype in (torch.float16, torch.bfloat16) else images
    mixes = bool((codes.numpy() == SAMPLE_PAIRING).any())
    paired = others.to(computed.dtype) if mixes else None
    partner = partners(len(images), draw[:, :1], images.device) if mixes else codes
    draw = torch.nn.functional.pad(draw.to(torch.float64), (0, max(0, 2 - draw.shape[1])), value=0.5)
    constants = (codes, draw.contiguous(), partner, fill, interpolation == "nearest")
    output = _Stage.apply(computed, magnitude.to(torch.float64).contiguous(), paired, *constants)
    return output.to(images.dtype)  # type: ignore[no-any-return, union-attr]
