"""Where a run computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from augrad.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])


def made_on_cpu(function: Function) -> Function:
    """A function whose tensors are on the CPU, whatever the default device: what it reads of them are numbers."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with torch.device("cpu"):
            return function(*arguments, **named)

    return cast(Function, call)


@contextmanager
def in_single_precision() -> Iterator[None]:
    """Within it tensors are made in single precision, whatever the default type: images are, and so are networks."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def find_device(name: object) -> torch.device:
    """auto: a CUDA device if there is one, else the CPU; cpu; cuda or cuda:N. Raises UserError for a missing one."""
    if not isinstance(name, str):
        raise UserError(f"device: expected auto, cpu or cuda, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device: {name} was asked for, but PyTorch finds no CUDA device here; use device=cpu or device=auto"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device: {name} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device
