"""Compiled stages as part of autograd."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from augrad.ops.compiled.codes import SAMPLE_PAIRING, SEPARATE, WITHOUT_MAGNITUDE
from augrad.ops.compiled.threads import on_all_threads
from augrad.ops.meaning import Meaning
from augrad.ops.mix import partners


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


class _Drawn(NamedTuple):
    """What is to be done: codes, partners [L, B], draws [L, B, D], and how resampling works."""

    codes: Tensor
    partners: Tensor
    draws: Tensor
    fill: float
    nearest: bool


@dataclass(frozen=True)
class _Stages:
    """The stages of one part of a batch after another, each part all of them: it stays near the processor meanwhile.

    images, others: [B, C, H, W]; magnitudes, codes, partners: [L, B]; draws: [L, B, D]. resampling: fill and whether
    the nearest pixel is read. separate: for each stage, whether operations with separate kernels were drawn.
    """

    kernels: Kernels
    images: np.ndarray
    magnitudes: np.ndarray
    others: np.ndarray
    codes: np.ndarray
    partners: np.ndarray
    draws: np.ndarray
    resampling: tuple[float, bool]
    separate: tuple[bool, ...]

    def apply(self, stage: int, part: slice, source: np.ndarray, target: np.ndarray) -> None:
        """The results of `source`, the images before the stage, -> `target`."""
        own = (source, target, self.codes[stage, part], self.magnitudes[stage, part])
        kernel = self.kernels.forward_8bit if source.dtype == np.uint8 else self.kernels.forward
        kernel(*own, self.draws[stage, part], *self.resampling)
        if self.separate[stage]:
            self.kernels.separate_forward(*own, self.others, self.partners[stage, part])

    def before(self, part: slice) -> list[np.ndarray]:
        """The images before each stage."""
        found = [self.images[part]]
        for stage in range(len(self.codes) - 1):
            found.append(np.empty_like(found[-1]))
            self.apply(stage, part, found[-2], found[-1])
        return found

    def backward(
        self, stage: int, part: slice, source: np.ndarray, gradient: np.ndarray, target: np.ndarray, by: np.ndarray
    ) -> None:
        """The gradient by the images before the stage -> `target`, that by the magnitudes -> `by` [L, B]."""
        own = (source, gradient, target, self.codes[stage, part], self.magnitudes[stage, part], by[stage, part])
        self.kernels.backward(*own, self.draws[stage, part], *self.resampling)
        if self.separate[stage]:
            self.kernels.separate_backward(*own, self.others, self.partners[stage, part])

    def to_partners(self, stage: int, part: slice, source: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
        """The gradient by the other image of each one, None where there are none."""
        if not (self.codes[stage, part] == SAMPLE_PAIRING).any():
            return None
        result = np.zeros_like(source)
        own = (source, gradient, result, self.codes[stage, part], self.magnitudes[stage, part])
        self.kernels.separate_backward_others(*own, self.others, self.partners[stage, part])
        return result


def _stages(images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> _Stages:
    codes = drawn.codes.numpy()
    return _Stages(
        kernels=_kernels(),
        images=images.detach().numpy(),
        magnitudes=magnitudes.detach().numpy(),
        others=others.detach().numpy(),
        codes=codes,
        partners=drawn.partners.numpy(),
        draws=drawn.draws.numpy(),
        resampling=(drawn.fill, drawn.nearest),
        separate=tuple(bool(stage.any()) for stage in codes >= SEPARATE),
    )


class _Applied(torch.autograd.Function):
    """images, magnitudes [L, B], the images that others are paired with -> images; the rest is constant."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> Tensor:
        ctx.save_for_backward(images, magnitudes, others)
        ctx.drawn = drawn
        results = torch.empty_like(images)
        stages, last = _stages(images, magnitudes, others, drawn), results.numpy()

        def work(start: int, stop: int) -> None:
            part = slice(start, stop)
            stages.apply(len(stages.codes) - 1, part, stages.before(part)[-1], last[part])

        on_all_threads(work, len(images), images.numel())
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, magnitudes, others = ctx.saved_tensors
        stages, coming = _stages(images, magnitudes, others, ctx.drawn), gradient.contiguous().numpy()
        to_images, to_magnitudes = torch.empty_like(images), torch.empty_like(magnitudes)
        first, by_magnitudes = to_images.numpy(), to_magnitudes.numpy()
        shares: list[tuple[int, int, np.ndarray]] = []

        def work(start: int, stop: int) -> None:
            part, now = slice(start, stop), coming[start:stop]
            before = stages.before(part)  # computed again: keeping them takes longer, and more memory
            for stage in reversed(range(len(before))):
                share = stages.to_partners(stage, part, before[stage], now) if ctx.needs_input_grad[2] else None
                if share is not None:
                    shares.append((stage, start, share))
                target = np.empty_like(now) if stage else first[part]
                stages.backward(stage, part, before[stage], now, target, by_magnitudes)
                now = target

        on_all_threads(work, len(images), images.numel())
        return to_images, to_magnitudes, _of_others(shares, others, ctx.drawn) if shares else None, None


def _of_others(shares: list[tuple[int, int, np.ndarray]], others: Tensor, drawn: _Drawn) -> Tensor:
    """The sum of what came to each partner, always in the same order. shares: (stage, first image, gradients)."""
    result = torch.zeros_like(others)
    for stage, start, share in sorted(shares, key=lambda found: found[:2]):
        paired = (drawn.codes[stage, start : start + len(share)] == SAMPLE_PAIRING).nonzero()[:, 0]
        result.index_add_(0, drawn.partners[stage, start + paired], torch.from_numpy(share)[paired])
    return result


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
    Raises UserError for 8-bit images whose magnitude is NaN.
    """
    computed = torch.float32 if images.dtype in (torch.float16, torch.bfloat16) else images.dtype
    mixes = bool((codes == SAMPLE_PAIRING).any())
    paired = others.to(computed).contiguous() if mixes else None
    partner = torch.stack([partners(len(images), one[:, :1], images.device) for one in draw]) if mixes else codes
    magnitude = magnitude.to(torch.float64).contiguous()
    draw = torch.nn.functional.pad(draw.to(torch.float64), (0, max(0, 2 - draw.shape[2])), value=0.5)
    if images.dtype == torch.uint8 and np.isnan(given := magnitude.detach().numpy()).any():
        Meaning().require(given[~np.isin(codes.numpy(), WITHOUT_MAGNITUDE)], "a policy", eight_bits=True)
    drawn = _Drawn(codes.contiguous(), partner, draw.contiguous(), fill, interpolation == "nearest")
    if images.dtype == computed:
        images = images.contiguous()
        return _Applied.apply(images, magnitude, images if paired is None else paired, drawn)  # type: ignore[no-any-return]
    for stage in range(len(codes)):  # half precision is rounded to after each stage
        now, one = images.to(computed).contiguous(), slice(stage, stage + 1)
        of_stage = _Drawn(codes[one], partner[one], drawn.draws[one], *drawn[3:])
        after = _Applied.apply(now, magnitude[one], now if paired is None else paired, of_stage)
        images = after.to(images.dtype)  # type: ignore[union-attr]
    return images
