"""Compiled stages as part of autograd."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from augrad.engines.contract import Stages, require_more
from augrad.engines.numba.codes import KINDS, NONE, SAMPLE_PAIRING, SEPARATE, TABLE, TAKES
from augrad.engines.numba.disk import SOURCES, OnDisk, count_apart, source_hash
from augrad.engines.numba.threads import on_all_threads
from augrad.engines.reference import REFERENCE
from augrad.ops import is_own
from augrad.ops.meaning import Meaning
from augrad.ops.mix import partners
from augrad.ops.numeric import transformed
from augrad.ops.spec import Op
from augrad.ops.twice import asks_for_more, gradients_of


class Kernels(NamedTuple):
    """The compiled functions of `augrad.engines.numba.stage`, of `augrad.engines.numba.separate`, and of
    `augrad.engines.numba.candidates`."""

    forward: Callable[..., None]
    forward_8bit: Callable[..., None]
    backward: Callable[..., None]
    separate_forward: Callable[..., None]
    separate_backward: Callable[..., None]
    separate_backward_others: Callable[..., None]
    choose: Callable[..., Any]
    look_up: Callable[..., Any]


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    from augrad.engines.numba.candidates import candidate_kernels
    from augrad.engines.numba.separate import separate_kernels
    from augrad.engines.numba.stage import kernels  # compiles nothing yet, but importing Numba takes a second

    found = Kernels(*kernels(), *separate_kernels(), *candidate_kernels())
    # Other sources than those that were imported: what is compiled may be of neither. It is not kept then.
    if count_apart() and source_hash() == SOURCES:
        for name, kernel in found._asdict().items():
            kernel._cache = OnDisk(name)
    return found


@cache
def _is_switched_off() -> bool:
    """Whether Numba leaves functions as they are (NUMBA_DISABLE_JIT), and not compiled."""
    from numba.core import config

    return bool(getattr(config, "DISABLE_JIT", False))


def at_hand(**numbers: Sequence[Tensor]) -> Kernels | None:
    """The compiled functions, for what is worth neither loading nor compiling them: None where no image has been
    augmented by them yet, and where one of `numbers`, by the names of their types, is not as they would find it.

    That is of its type, on the CPU, contiguous, without a gradient, and seen by nothing that needs to see every step.
    """
    if transformed() or not _kernels.cache_info().currsize:
        return None
    for name, tensors in numbers.items():
        dtype = getattr(torch, name)
        for one in tensors:
            plain = type(one) is Tensor and one.dtype is dtype and one.is_cpu and one.is_contiguous()
            if not plain or one.requires_grad:
                return None
    return _kernels()


class _Drawn(NamedTuple):
    """What is to be done: codes, partners [L, B], draws [L, B, D], and the stages that they are of.

    All of it but the stages is its own: no change of a sample before the backward pass reaches it.
    """

    codes: np.ndarray
    partners: Tensor
    draws: np.ndarray
    stages: Stages


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
            self.kernels.separate_forward(*own, self.draws[stage, part], self.others, self.partners[stage, part])

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
            self.kernels.separate_backward(*own, self.draws[stage, part], self.others, self.partners[stage, part])

    def to_partners(self, stage: int, part: slice, source: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
        """The gradient by the other image of each one, None where there are none."""
        if not (self.codes[stage, part] == SAMPLE_PAIRING).any():
            return None
        result = np.zeros_like(source)
        own = (source, gradient, result, self.codes[stage, part], self.magnitudes[stage, part])
        self.kernels.separate_backward_others(*own, self.others, self.partners[stage, part])
        return result


def _own_draws(draw: Tensor) -> np.ndarray:
    """[B, L, D] -> [L, B, 2 or more], a copy: what becomes of `draw` until the backward pass makes no difference."""
    given = draw.detach().to(torch.float64).numpy()
    draws = np.full((given.shape[1], len(given), max(2, given.shape[2])), 0.5)
    draws[..., : given.shape[2]] = given.swapaxes(0, 1)
    return draws


def _stages(images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> _Stages:
    return _Stages(
        kernels=_kernels(),
        images=images.detach().numpy(),
        magnitudes=magnitudes.detach().numpy(),
        others=others.detach().numpy(),
        codes=drawn.codes,
        partners=drawn.partners.numpy(),
        draws=drawn.draws,
        resampling=(drawn.stages.settings.fill, drawn.stages.settings.interpolation == "nearest"),
        separate=tuple((KINDS[drawn.codes] == SEPARATE).any(1).tolist()),
    )


def _results(images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> Tensor:
    results = torch.empty_like(images)
    stages, last = _stages(images, magnitudes, others, drawn), results.numpy()

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        stages.apply(len(stages.codes) - 1, part, stages.before(part)[-1], last[part])

    on_all_threads(work, len(images), images.numel())
    return results


class _Applied(torch.autograd.Function):
    """images, magnitudes [L, B], the images that others are paired with -> images; the rest is constant."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, magnitudes: Tensor, others: Tensor, drawn: _Drawn) -> Tensor:
        ctx.save_for_backward(images, magnitudes, others)
        ctx.drawn = drawn
        return _results(images, magnitudes, others, drawn)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, magnitudes, others = ctx.saved_tensors
        if asks_for_more(gradient):
            require_more(ctx.drawn.stages, "numba")
            definition = partial(_by_definition, ctx.drawn)
            needed = ctx.needs_input_grad[:3]
            return *gradients_of(definition, (images, magnitudes, others), needed, gradient), None
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


def _by_definition(drawn: _Drawn, images: Tensor, magnitudes: Tensor, others: Tensor) -> Tensor:
    """What `_Applied` computes, by the operations' own functions."""
    stages = drawn.stages
    settings, draw = replace(stages.settings, others=others), torch.from_numpy(drawn.draws).to(stages.draw.dtype)
    stages = replace(stages, magnitude=magnitudes.t(), draw=draw.transpose(0, 1), settings=settings)
    return REFERENCE.apply(images, stages)


def _of_others(shares: list[tuple[int, int, np.ndarray]], others: Tensor, drawn: _Drawn) -> Tensor:
    """The sum of what came to each partner, always in the same order. shares: (stage, first image, gradients)."""
    result = torch.zeros_like(others)
    for stage, start, share in sorted(shares, key=lambda found: found[:2]):
        (paired,) = map(torch.from_numpy, (drawn.codes[stage, start : start + len(share)] == SAMPLE_PAIRING).nonzero())
        result.index_add_(0, drawn.partners[stage, start + paired], torch.from_numpy(share)[paired])
    return result


@dataclass(frozen=True)
class Numba:
    """Compiled code, which takes one part of the batch after another through all stages."""

    name: str = "numba"
    differentiable: Literal["once", "twice"] = "once"

    def prepare(self, ops: tuple[Op | None, ...]) -> np.ndarray:
        """What compiled code calls each operation, and last none."""
        return np.array([TABLE.index(op) if op in TABLE else NONE for op in (*ops, None)])

    def knows(self, op: Op) -> bool:
        return op.kind == "identity" or is_own(op)

    def refusal(self, images: Tensor) -> str | None:
        if find_spec("numba") is None:
            return "needs the package numba, which is not installed; take auto, or grouped"
        if _is_switched_off():
            return "needs Numba's compiler, which NUMBA_DISABLE_JIT switches off; take auto, or grouped"
        if images.device.type != "cpu":
            return f"needs images on the CPU, got {images.device}; take auto, triton or grouped"
        if transformed():
            return (
                "is not seen through by torch.compile, transforms of torch.func and forward-mode differentiation; "
                "take auto, or grouped"
            )
        return None

    def is_best_for(self, images: Tensor) -> bool:
        # Double precision is for proofs, seldom and small.
        return images.dtype != torch.float64 and self.refusal(images) is None

    def apply(self, images: Tensor, stages: Stages) -> Tensor:
        """Differentiable once in images, `settings.others` and magnitudes.

        Raises UserError for 8-bit images whose magnitude is NaN.
        """
        computed = torch.float32 if images.dtype in (torch.float16, torch.bfloat16) else images.dtype
        codes = stages.plan.prepared["numba"][stages.chosen.t().numpy()]
        mixes = bool((codes == SAMPLE_PAIRING).any())
        paired = stages.settings.others.to(computed).contiguous() if mixes else None
        partner = (
            torch.stack([partners(len(images), one, images.device) for one in stages.draw.unbind(1)])
            if mixes
            else torch.from_numpy(codes)
        )
        magnitude = stages.magnitude.t().to(torch.float64).contiguous()
        if images.dtype == torch.uint8 and np.isnan(given := magnitude.detach().numpy()).any():
            Meaning().require(given[TAKES[codes]], "a policy", eight_bits=True)
        drawn = _Drawn(codes, partner, _own_draws(stages.draw), stages)
        differentiated = torch.is_grad_enabled() and (images.requires_grad or magnitude.requires_grad or mixes)
        compute = _Applied.apply if differentiated else _results
        if images.dtype == computed:
            images = images.contiguous()
            return compute(images, magnitude, images if paired is None else paired, drawn)  # type: ignore[no-any-return]
        for stage in range(len(codes)):  # half precision is rounded to after each stage
            now, one = images.to(computed).contiguous(), slice(stage, stage + 1)
            of_stage = _Drawn(codes[one], partner[one], drawn.draws[one], stages.one(stage))
            after = compute(now, magnitude[one], now if paired is None else paired, of_stage)
            images = after.to(images.dtype)  # type: ignore[union-attr]
        return images


def apply_alone(
    image: np.ndarray, codes: np.ndarray, magnitudes: np.ndarray, draw: Tensor, fill: float, nearest: bool
) -> np.ndarray:
    """One image, [1, C, H, W] of 8 bits, through all stages, with nothing around the kernels: for what takes
    microseconds.

    codes: [L, 1], as `Numba.prepare` gives them, none of them of an operation that mixes images. magnitudes: [L, 1],
    float64, numbers. draw: see `Stages`.
    """
    separate = tuple((KINDS[codes] == SEPARATE).any(1).tolist())
    stages = _Stages(_kernels(), image, magnitudes, image, codes, codes, _own_draws(draw), (fill, nearest), separate)
    result, whole = np.empty_like(image), slice(0, 1)
    stages.apply(len(codes) - 1, whole, stages.before(whole)[-1], result)
    return result


NUMBA = Numba()
