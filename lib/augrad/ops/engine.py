"""Which of the ways to apply a stage is taken: Triton's kernels or plain PyTorch."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.numeric import transformed

Engine = Literal["auto", "plain", "triton"]

_chosen: ContextVar[Engine] = ContextVar("augrad_engine", default="auto")


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Within this context operations are applied by Triton's kernels ("triton") or without them ("plain").

    "auto", the default, takes the kernels on a GPU that they work on. Inside `torch.compile`, and under transforms of
    `torch.func` and forward-mode differentiation, the plain path is taken.
    Raises UserError for another name, and for "triton" where Triton is not installed.
    """
    if name not in get_args(Engine):
        raise UserError(f"expected one of the engines {', '.join(get_args(Engine))}, got {name!r}")
    if name == "triton" and find_spec("triton") is None:
        raise UserError("the engine triton needs the package triton, which is not installed; use auto or plain")
    token = _chosen.set(name)  # type: ignore[arg-type]
    try:
        yield
    finally:
        _chosen.reset(token)


def takes_kernels(images: Tensor) -> bool:
    """Whether `images` go through Triton's kernels.

    Raises UserError if the kernels are asked for, and cannot run where the images are.
    """
    name = _chosen.get()
    if name == "plain" or transformed():  # transforms do not see into kernels
        return False
    if name == "auto":
        return images.is_cuda and _work_on(images.device)
    if not images.is_cuda and not _interpreted():
        raise UserError(
            f"the engine triton needs images on a GPU, got {images.device}; move them, or set TRITON_INTERPRET=1 "
            "before Triton is imported, which runs the kernels slowly on any device"
        )
    return True


def _interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


@lru_cache
def _work_on(device: torch.device) -> bool:
    if find_spec("triton") is None:
        return False
    from augrad.ops.fused.launch import probe

    try:
        probe(device)
    except Exception as error:  # whatever a compiler, a driver or an old card may raise
        warnings.warn(f"Triton's kernels do not work on {device} ({error!r}); plain PyTorch is slower", stacklevel=2)
        return False
    return True
