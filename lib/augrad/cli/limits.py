"""Numbers that are too large for this machine: what the system says of them, as a message."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from augrad.errors import UserError

_NO_MEMORY = r"[Oo]ut of memory|[Cc]an't allocate memory|cannot allocate memory|alloc_cpu"
_OVERFLOW = r"[Oo]verflow|too large"


class OutOfMemory(RuntimeError):
    """The memory did not suffice for a run that had begun."""


@contextmanager
def too_large_refused(config: DictConfig) -> Iterator[None]:
    """What cannot be held while the parts of a run are made becomes a UserError with the largest numbers given."""
    try:
        yield
    except Exception as error:
        reason = _reason(error, f"{_NO_MEMORY}|{_OVERFLOW}", (MemoryError, OverflowError))
        if reason is None or isinstance(error, UserError | OutOfMemory):
            raise
        raise UserError(f"a number is too large for this machine: {reason}; {_advice(config)}") from error


@contextmanager
def out_of_memory_told(config: DictConfig) -> Iterator[None]:
    """The same for a run that has begun: a failure, no mistake."""
    try:
        yield
    except Exception as error:
        reason = _reason(error, _NO_MEMORY, (MemoryError,))
        if reason is None or isinstance(error, UserError):
            raise
        raise OutOfMemory(f"the memory of this machine does not suffice: {reason}; {_advice(config)}") from error


def _reason(error: BaseException | None, pattern: str, kinds: tuple[type[Exception], ...]) -> str | None:
    """What the system said, in a line; None for an error of another kind.

    augrad's own errors say what is wrong themselves, and paths in a message are a user's words, not the system's.
    """
    while error is not None and type(error).__module__.partition(".")[0] != "augrad":
        words = re.sub(r"\S*[/\\]\S*", "", str(error))
        told = isinstance(error, RuntimeError | TypeError) and re.search(pattern, words)
        if isinstance(error, kinds) or (told and error.__cause__ is None):
            first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            return re.sub(r"^\[enforce fail at [^\]]*\] [^.]*\. ", "", first)[:200].rstrip(". ")
        error = error.__cause__
    return None


def _advice(config: DictConfig) -> str:
    """The largest numbers that were given, or else that there are."""
    keys = [given.partition("=")[0].lstrip("+") for given in HydraConfig.get().overrides.task]
    every = dict(_numbers(OmegaConf.to_container(config, resolve=True, throw_on_missing=False), ""))
    numbers = {key: value for key, value in every.items() if key in keys} or every
    largest = sorted(numbers, key=lambda key: -abs(numbers[key]))[:3]
    return f"lower what is large: {', '.join(f'{key}={numbers[key]}' for key in largest)}"


def _numbers(node: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _numbers(value, f"{place}.{key}".removeprefix("."))
    elif isinstance(node, int | float) and not isinstance(node, bool) and place.rpartition(".")[2] != "seed":
        yield place, node
