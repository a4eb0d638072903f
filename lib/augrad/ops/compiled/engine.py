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

import numpy as np
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


class _Drawn(NamedTuple):
    """What is to be done: codes, magnitudes, partners [L, B], draws [L, B, D], and how resampling works."""

    codes: Tensor
    magnitudes: Tensor
    draws: Tensor
    partners: Tensor
    fill: float
    nearest: bool

    def stages(self) -> "list[_Drawn]":
        """One for each stage."""
        tables = (self.codes, self.magnitudes, self.draws, self.partners)
        return [_Drawn(*each, self.fill, self.nearest) for each in zip(*(t.split(1) for t in tables), strict=True)]


def _applied(images: Tensor, others: Tensor, drawn: _Drawn) -> Tensor:
    """One part of the batch after another goes through all stages, and stays near the processor meanwhile."""
    kernels, results = _kernels(), torch.empty_like(images)
    kernel = kernels.forward_8bit if images.dtype == torch.uint8 else kernels.forward
    first, last, other_images = images.detach().numpy(), results.numpy(), others.detach().numpy()
    codes, magnitudes = drawn.codes.numpy(), drawn.magnitudes.detach().numpy()
    draws, partner = drawn.draws.numpy(), drawn.partners.numpy()
    separate = (codes >= SEPARATE).any(1).tolist()

    def work(start: int, stop: int) -> None:
        source = first[start:stop]
        for stage in range(len(codes)):
            target = last[start:stop] if stage == len(codes) - 1 else np.empty_like(source)
            own = (source, target, codes[stage, start:stop], magnitudes[stage, start:stop])
            kernel(*own, draws[stage, start:stop], drawn.fill, drawn.nearest)
            if separate[stage]:
                kernels.separate_forward(*own, other_images, partner[stage, start:stop])
            source = target

    _on_all_threads(work, len(images), images.numel())
    return results


class _Stage(torch.autograd.Function):
    """images, magnitudes [1, B], the images that others are paired with -> images; the rest is constant."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> Tensor:
        ctx.save_for_backward(images, magnitudes, others)
        ctx.drawn = drawn
        return _applied(images, others, drawn)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, magnitude, others = ctx.saved_tensors
        kernels, drawn = _kernels(), ctx.drawn
        to_images, to_magnitude = torch.empty_like(images), torch.empty_like(magnitude)
        codes, draws, partner = drawn.codes[0].numpy(), drawn.draws[0].numpy(), drawn.partners[0].numpy()
        given = (images.detach().numpy(), gradient.contiguous().numpy(), to_images.numpy())
        arrays = (*given, codes, magnitude.detach()[0].numpy(), to_magnitude[0].numpy())
        other_images, separate = others.detach().numpy(), bool((codes >= SEPARATE).any())

        def work(start: int, stop: int) -> None:
            own = [array[start:stop] for array in arrays]
            kernels.backward(*own, draws[start:stop], drawn.fill, drawn.nearest)
            if separate:
                kernels.separate_backward(*own, other_images, partner[start:stop])

        _on_all_threads(work, len(images), images.numel())
        to_others = None
        if ctx.needs_input_grad[2] and (codes == SAMPLE_PAIRING).any():
            to_others = torch.zeros_like(others)
            kernels.separate_backward_others(*arrays[:2], to_others.numpy(), *arrays[3:5], other_images, partner)
        return to_images, to_magnitude, to_others, None


def apply_compiled(
    images: Tensor,
    codes: Int[Tensor, "L B"],
    magnitude: Float[Tensor, "L B"],
    draw: Float[Tensor, "L B D"],
    fill: float,
    interpolation: str,
    others: Tensor,
) -> Tensor:
    """Each image [C, H, W] of the batch through the operations of its codes, COPY leaving it as it is.

    images: on the CPU, floating point or uint8. magnitude: with its sign, in absolute units. others [B, C, H, W]: what
    images are paired with, the type of `images`. Differentiable once in images, others and magnitudes.
    """
    computed = torch.float32 if images.dtype in (torch.float16, torch.bfloat16) else images.dtype
    mixes = bool((codes == SAMPLE_PAIRING).any())
    paired = others.to(computed).contiguous() if mixes else None
    partner = torch.stack([partners(len(images), one[:, :1], images.device) for one in draw]) if mixes else codes
    magnitude = magnitude.to(torch.float64).contiguous()
    draw = torch.nn.functional.pad(draw.to(torch.float64), (0, max(0, 2 - draw.shape[2])), value=0.5)
    drawn = _Drawn(codes.contiguous(), magnitude, draw.contiguous(), partner, fill, interpolation == "nearest")
    differentiable = torch.is_grad_enabled() and any(value.requires_grad for value in (images, magnitude, others))
    # A gradient needs the images before each stage, and half precision is rounded to after each.
    for stage in drawn.stages() if differentiable or images.dtype != computed else (drawn,):
        now = images.to(computed).contiguous()
        after = _Stage.apply(now, stage.magnitudes, now if paired is None else paired, stage)
        images = after.to(images.dtype)  # type: ignore[union-attr]
    return images
