"""A call of a policy: the checks of what it is given, and the draw that becomes of images and targets."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from augrad.checks import require_flag
from augrad.engines.apply import apply_hard, apply_relaxed, check_magnitudes, limits_of
from augrad.engines.choice import plan_of
from augrad.engines.contract import Plan
from augrad.errors import AugradWarning, UserError
from augrad.ops.numeric import check_images
from augrad.ops.spec import Op
from augrad.ops.targets import Augmented, check_targets, move_targets
from augrad.policy.slots import Slots
from augrad.types import PolicySample, RelaxedSample

Sample = PolicySample | RelaxedSample


@dataclass(frozen=True)
class Application:
    """What is worked out once of a policy's operations and slots. limits: see `augrad.engines.apply.limits_of`.

    places: [S][L][K], the operation of each candidate, an index into `ops`.
    """

    ops: tuple[Op, ...]
    plan: Plan
    limits: np.ndarray
    places: Sequence[Sequence[Sequence[int]]]


def application_of(ops: tuple[Op, ...], slots: Slots) -> Application:
    """Of these operations and candidates."""
    places = [[[slot.op for slot in stage] for stage in subpolicy] for subpolicy in slots]
    return Application(ops, plan_of(ops), limits_of(ops), places)


def checked_call(
    given: Augmented, params: Sample | None, ops: Sequence[Op], same_on_batch: bool, return_params: bool
) -> Augmented:
    """The images and targets of a call, as all operations can read them.

    Raises UserError for images and targets that an operation of `ops` cannot take, and for arguments that do not go
    together. params: the draw to replay; None: a fresh one.
    """
    check_images(given.images)
    # What reads pixels as they lie in memory does not know of the bit that stands for a minus.
    if not torch.compiler.is_compiling() and given.images.is_neg():
        given = given._replace(images=given.images.resolve_neg())
    require_flag(same_on_batch, "same_on_batch")
    require_flag(return_params, "return_params")
    if _has_targets(given):
        if isinstance(params, RelaxedSample):
            raise UserError("a relaxed draw blends images: targets cannot be in several places; pass a hard draw")
        check_targets(given, ops)
    if params is not None and same_on_batch:
        raise UserError("same_on_batch decides how to draw: it cannot go with params, which are drawn already")
    return given


def apply_draw(
    application: Application, given: Augmented, sample: Sample, fill: float, interpolation: str, replayed: bool
) -> tuple[Any, Sample]:
    """What the draw makes of the images, or of images and targets; and the draw on the images' device.

    replayed: it came from outside. Raises UserError for one that does not go with these images.
    """
    images, ops = given.images, application.ops
    if len(sample) != len(images):
        raise UserError(f"params hold {len(sample)} draws, the batch {len(images)} images; slice or redraw")
    if replayed and isinstance(sample, PolicySample):
        check_magnitudes(ops, application.limits, sample, images.dtype == torch.uint8)
    if sample.op.device.type == "meta" and images.device.type != "meta":
        raise UserError(
            "expected a draw of numbers, got one of the meta device, which has none; make or load the policy anew"
        )
    sample = sample.to(images.device)
    if isinstance(sample, RelaxedSample):
        if not images.is_floating_point():
            raise UserError(f"a relaxed draw blends images: expected floating point in [0, 1], got {images.dtype}")
        return apply_relaxed(images, ops, application.places, sample, fill, interpolation), sample
    output = apply_hard(images, application.plan, sample, fill, interpolation)
    return (move_targets(given, output, ops, sample) if _has_targets(given) else output), sample


def _has_targets(given: Augmented) -> bool:
    return any(target is not None for target in given[1:])


def warn_in_evaluation(training: bool) -> None:
    """Says, once in a process, that a policy augments in evaluation mode, too: test images are to pass by it."""
    if not training and not torch.compiler.is_compiling() and not _said_in_evaluation.cache_info().currsize:
        _said_in_evaluation()


@lru_cache(maxsize=1)
def _said_in_evaluation() -> None:
    warnings.warn(
        "a policy in evaluation mode augments all the same, as transforms do; images that are to be judged should pass "
        "by it: call it in the training loop, and leave it out of the network",
        AugradWarning,
        stacklevel=2,
    )
