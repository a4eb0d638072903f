"""Which engine runs: the one place that decides it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from augrad.engines.contract import Engine, Plan, Stages
from augrad.engines.grouped.engine import GROUPED
from augrad.engines.numba.engine import NUMBA
from augrad.engines.reference import REFERENCE
from augrad.engines.triton.engine import TRITON
from augrad.errors import UserError
from augrad.ops.spec import Op

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (REFERENCE, GROUPED, NUMBA, TRITON)}

_asked: ContextVar[str] = ContextVar("augrad_engine", default="auto")


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Within this context policies apply their operations by this engine, and no other.

    "reference": the operations' own functions, one after another, each on the images that drew it.
    "grouped": plain PyTorch, operations that share a pass over the pixels together.
    "numba": compiled code, on a CPU; differentiable once.
    "triton": one kernel a stage, on a GPU; differentiable once.
    "auto", the default: triton on a GPU where it works, numba on a CPU where it is installed, but not in double
    precision, else grouped. What these two cannot give (operations that are not augrad's own, `torch.compile`,
    transforms of `torch.func`, gradients of gradients) is computed in plain PyTorch.
    An engine that was asked for and cannot give what is asked raises UserError. A relaxed draw (`Policy.rsample`) is a
    blend of the operations' own functions: "reference" or "auto".
    Raises UserError for another name.
    """
    if not isinstance(name, str) or (name != "auto" and name not in ENGINES):
        raise UserError(f"expected one of the engines auto, {', '.join(ENGINES)}, got {name!r}")
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


def plan_of(ops: Sequence[Op]) -> Plan:
    """What all engines work out once for the operations of a policy."""
    ops, rest = tuple(ops), {}
    for name, one in ENGINES.items():
        left = tuple(None if one.knows(op) else op for op in ops)
        rest[name] = Plan(left, {GROUPED.name: GROUPED.prepare(left)}, {}) if any(left) else None
    prepared = {name: one.prepare(ops) for name, one in ENGINES.items()}
    return Plan(ops, prepared, rest)


def run(images: Tensor, stages: Stages) -> Tensor:
    """The drawn operations by the engine that was asked for, or by the fastest one that takes them.

    Raises UserError if the engine that was asked for does not take them.
    """
    name = _asked.get()
    if name == "auto":
        chosen = next((one for one in (TRITON, NUMBA) if one.is_best_for(images)), GROUPED)
    else:
        chosen = ENGINES[name]
        if why := chosen.refusal(images):
            raise UserError(f"the engine {name} {why}")
    rest = stages.plan.rest[chosen.name]
    if name != "auto":
        if rest is not None:
            foreign = ", ".join(op.name for op in rest.ops if op is not None)
            raise UserError(f"the engine {name} has nothing for {foreign}; take auto, which computes the others by it")
        stages = replace(stages, strict=True)
    if rest is None:
        return chosen.apply(images, stages)
    for stage in range(len(stages)):
        one = stages.one(stage)
        images = GROUPED.apply(chosen.apply(images, one), replace(one, plan=rest))
    return images


def alone(plan: Plan, image: Tensor) -> np.ndarray | None:
    """What `augrad.engines.numba.engine.apply_alone` calls the operations, and last none; None where that is not for
    this image, [C, H, W], or not what was asked for."""
    takes = image.dtype == torch.uint8 and type(image) is Tensor and image.numel() > 0
    if not takes or _asked.get() != "auto" or plan.rest[NUMBA.name] is not None or NUMBA.refusal(image) is not None:
        return None
    return plan.prepared[NUMBA.name]  # type: ignore[no-any-return]


def launches_alike(plan: Plan, images: Tensor) -> bool:
    """Whether `run` launches the same kernels for every draw, and nothing else: then a CUDA graph may hold them."""
    return _asked.get() in ("auto", TRITON.name) and plan.rest[TRITON.name] is None and TRITON.is_best_for(images)


def require_own_functions() -> None:
    """Raise UserError where an engine was asked for that does not take the operations' own functions."""
    if _asked.get() not in ("auto", "reference"):
        raise UserError(
            "a relaxed draw is a blend of the operations' own functions, which the engine "
            f"{_asked.get()} does not take; take reference, or auto"
        )
