"""What PyTorch has once in a process, used by one thread at a time: global generators, forward-mode differentiation.

A thread that seeds the global generators for a while borrows them. All other threads draw from a copy of what the CPU's
was before, without waiting, and that copy is put back in the end. The thread itself, and the threads of autograd that
work for it, draw from the borrowed ones: PyTorch hands what is stashed in its thread-local state on to those.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from torch.autograd import forward_ad

_TURN = threading.RLock()
"""Held by the thread whose turn it is to borrow."""
_LOOK = threading.RLock()
"""Held for a moment, while it is decided which generator is whose."""
_BORROWER, _DIFFERENTIATES = "augrad borrower", "augrad forward mode"

_others: torch.Generator | None = None
"""What threads other than the borrower draw from; None where nothing is borrowed."""
_forward_mode: object | None = None
"""Stands for the thread that differentiates in forward mode; None where none does."""


@contextmanager
def generators_kept(gpus: Sequence[int] = ()) -> Iterator[None]:
    """Inside, this thread alone has PyTorch's global generators of the CPU and of these GPUs; afterwards they are as
    they were before, but for what other threads took from the CPU's meanwhile. Other borrowers wait; one may nest."""
    with _TURN, _lent() if _others is None else nullcontext(), torch.random.fork_rng(list(gpus)):
        yield


@contextmanager
def _lent() -> Iterator[None]:
    global _others
    with _LOOK:
        _others = others = torch.default_generator.clone_state()
        _stash(_BORROWER, others)
    try:
        yield
    finally:
        with _LOOK:
            torch.default_generator.set_state(others.get_state())
            _others = None
            _stash(_BORROWER, None)


def base_seed() -> int:
    """A number from PyTorch's global generator of the CPU, or from what stands in for it in this thread."""
    with _LOOK:
        borrowed = _others is not None and not _is_stashed(_BORROWER, _others)
        generator = _others if borrowed else torch.default_generator
        return int(torch.empty((), dtype=torch.int64, device="cpu").random_(generator=generator))


@contextmanager
def forward_mode() -> Iterator[None]:
    """Inside, this thread alone differentiates in forward mode: PyTorch has one level of it, for all threads."""
    global _forward_mode
    with _TURN:
        before, _forward_mode = _forward_mode, object()
        _stash(_DIFFERENTIATES, _forward_mode)
        try:
            yield
        finally:
            _forward_mode = before
            _stash(_DIFFERENTIATES, before)


def differentiates_forward() -> bool:
    """Whether this thread, or the one that it works for, is inside of forward-mode differentiation."""
    if forward_ad._current_level < 0:
        return False
    return _forward_mode is None or _is_stashed(_DIFFERENTIATES, _forward_mode)


def _stash(key: str, value: object) -> None:
    """Puts `value` in the place of `key` in PyTorch's thread-local state."""
    if _stash_borrows():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    torch._C._stash_obj_in_tls(key, value)


@cache
def _stash_borrows() -> bool:
    """Whether this PyTorch gives up a reference to what it stashes without having taken one: older ones do."""
    value = object()
    before = sys.getrefcount(value)
    torch._C._stash_obj_in_tls("augrad probe", value)
    borrows = sys.getrefcount(value) == before
    if borrows:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    return borrows


def _is_stashed(key: str, value: object) -> bool:
    return torch._C._is_key_in_tls(key) and torch._C._get_obj_in_tls(key) is value


def _renew() -> None:
    """In a forked child, where the thread that forked is the only one: what others had borrowed is put back."""
    global _TURN, _others, _forward_mode
    if _others is not None and not _is_stashed(_BORROWER, _others):
        torch.default_generator.set_state(_others.get_state())
        _others = None
    if _forward_mode is not None and not _is_stashed(_DIFFERENTIATES, _forward_mode):
        _forward_mode = None
    if _others is None and _forward_mode is None:
        _TURN = threading.RLock()
    _LOOK.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_LOOK.acquire, after_in_parent=_LOOK.release, after_in_child=_renew)
