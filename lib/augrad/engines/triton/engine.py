"""One kernel a stage, as an engine. Triton itself is imported when it runs: it is not installed everywhere."""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from augrad.engines.contract import Stages
from augrad.engines.triton.kinds import has_kernel
from augrad.engines.triton.stage import fused_stage
from augrad.errors import AugradWarning
from augrad.ops.numeric import transformed
from augrad.ops.spec import Op


@dataclass(frozen=True)
class Triton:
    """A fixed number of launches for a stage, whatever the images drew; nothing is read back."""

    name: str = "triton"
    differentiable: Literal["once", "twice"] = "once"

    def prepare(self, ops: tuple[Op | None, ...]) -> tuple[Op | None, ...]:
        return ops

    def knows(self, op: Op) -> bool:
        return op.kind == "identity" or has_kernel(op)

    def refusal(self, images: Tensor) -> str | None:
        if find_spec("triton") is None:
            return "needs the package triton, which is not installed; take auto, or grouped"
        if transformed():
            return (
                "is not seen through by torch.compile, transforms of torch.func and forward-mode differentiation; "
                "take auto, or grouped"
            )
        if not images.is_cuda and not _interpreted():
            return (
                f"needs images on a GPU, got {images.device}; move them, or set TRITON_INTERPRET=1 "
                "before Triton is imported, which runs the kernels slowly on any device"
            )
        return None

    def is_best_for(self, images: Tensor) -> bool:
        return images.is_cuda and not transformed() and _work_on(images.device)

    def apply(self, images: Tensor, stages: Stages) -> Tensor:
        for stage in range(len(stages)):
            images = fused_stage(images, stages.one(stage))
        return images


def _interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


@lru_cache
def _work_on(device: torch.device) -> bool:
    if find_spec("triton") is None:
        return False
    from augrad.engines.triton.launch import probe

    try:
        probe(device)
    except Exception as error:  # whatever a compiler, a driver or an old card may raise
        words = f"Triton's kernels do not work on {device} ({error!r}); plain PyTorch is slower"
        warnings.warn(words, AugradWarning, stacklevel=2)
        return False
    return True


TRITON = Triton()
