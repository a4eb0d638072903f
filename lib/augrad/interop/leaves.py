"""Operations as a library of fixed transforms knows them: one for each magnitude that is drawn."""

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from augrad.errors import UserError
from augrad.interop.losses import LEFT_OUT, Loss, loss_of
from augrad.ops import get
from augrad.ops.spec import Op
from augrad.policy_file import Entry, PolicyDocument
from augrad.policy_file.values import drawn_range, signed_values

_NOTHING = math.nan
"""In the place of a magnitude: images stay as they are."""
_LARGEST_SIDE, _MOST_VALUES = 1_000_000, 1000


@dataclass(frozen=True)
class Known:
    """What an operation is in a library.

    make: from the library's module, the magnitude with its sign, and the policy's document (how it resamples, what it
    fills with). loss: what is different there however it is drawn; "" nothing beyond one level of 255. least: the
    weakest magnitude that the library can do. beyond: what is different of magnitudes above `most`.
    """

    make: Callable[[Any, float, PolicyDocument], Any]
    loss: str = ""
    least: float = -math.inf
    most: float = math.inf
    beyond: str = ""


@dataclass(frozen=True)
class Leaf:
    """A transform of a library, the weight of being chosen in its stage, and the probability of then being applied."""

    transform: Any
    weight: float
    probability: float


def resamples(op: Op) -> bool:
    """Whether the operation reads between pixels, and uncovers some."""
    return "interpolation" in op.options


def resampled(document: PolicyDocument, known: Container[str]) -> bool:
    """Whether an operation that resamples is ever applied, of those that a library knows."""
    return any(
        entry.op in known and resamples(get(entry.op))
        for sub in document.subpolicies
        for stage in sub.stages
        for entry in stage
        if sub.weight * entry.weight * entry.probability > 0
    )


def subpolicies_of(
    document: PolicyDocument,
    library: Any,
    known: Mapping[str, Known],
    nothing: Callable[[], Any],
    values: int,
    losses: list[Loss],
) -> list[tuple[float, list[list[Leaf]]]]:
    """The weight of each sub-policy that is ever chosen, and the leaves of its stages.

    nothing: makes a transform that leaves images as they are. values: how many equally likely magnitudes stand for a
    range. What is lost, and what the library itself refuses to make, is added to `losses`.
    """

    def leaves(entry: Entry, place: str) -> Iterator[Leaf]:
        lost = losses if entry.probability > 0 else []
        for value, share in _drawn_magnitudes(entry, known, place, values, lost):
            transform = None
            if not math.isnan(value):
                try:
                    transform = known[entry.op].make(library, value, document)
                except (ValueError, TypeError, RuntimeError, AssertionError):
                    lost.append(Loss(place, "{} of {:.4g}: refused there, and left out", (entry.op, value)))
            yield Leaf(nothing() if transform is None else transform, entry.weight * share, entry.probability)

    return [
        (
            sub.weight,
            [
                [
                    leaf
                    for k, entry in enumerate(stage)
                    if entry.weight > 0
                    for leaf in leaves(entry, f"subpolicies[{s}].stages[{place}][{k}]")
                ]
                for place, stage in enumerate(sub.stages)
            ],
        )
        for s, sub in enumerate(document.subpolicies)
        if sub.weight > 0
    ]


def _drawn_magnitudes(
    entry: Entry, known: Mapping[str, Known], place: str, values: int, losses: list[Loss]
) -> list[tuple[float, float]]:
    """The magnitudes, with their signs, of transforms that together do what `entry` does, and the share of each.

    0 for an operation without a magnitude; `_NOTHING` where the library has no such operation or magnitude, and where
    it is the weak end, which is not always nothing there. What is lost is added to `losses`.
    """
    if entry.op not in known:
        losses.append(loss_of(entry.op, place, LEFT_OUT))
        return [(_NOTHING, 1.0)]
    one = known[entry.op]
    if one.loss:
        losses.append(loss_of(entry.op, place, one.loss))
    if entry.magnitude is None:
        return [(0.0, 1.0)]
    drawn = signed_values(entry, values)
    if ends := drawn_range(entry.magnitude):
        words = f"drawn from {{:.3g}} to {{:.3g}} {entry.unit}; one of {values} values there"
        losses.append(Loss(f"{place}.magnitude", words, ends))
    if entry.unit == "bits":  # as the operation itself does
        drawn = [(float(round(value)), share) for value, share in drawn]
    found = []
    for value, share in drawn:
        if value < one.least:
            losses.append(Loss(f"{place}.magnitude", f"{{}} of {{:.3g}} {entry.unit}: {LEFT_OUT}", (entry.op, value)))
        if value > one.most:
            losses.append(Loss(f"{place}.magnitude", f"{{}} of {{:.3g}} {entry.unit} {one.beyond}", (entry.op, value)))
        found.append((_NOTHING if value < one.least or value == get(entry.op).low else value, share))
    return found


def is_whole(value: object, low: int, high: int) -> TypeGuard[int]:
    """Whether `value` is a whole number from `low` to `high`; true and false are none."""
    return isinstance(value, int) and is_number(value, low, high)


def is_number(value: object, low: int | float, high: int | float) -> TypeGuard[int | float]:
    """Whether `value` is a number from `low` to `high`; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def require_side(side: object, taker: str, why: str) -> int:
    """Raise UserError unless `side`, of the images in pixels, is a whole number from 1 on. why: it is needed."""
    if not is_whole(side, 1, _LARGEST_SIDE):
        raise UserError(
            f"{taker}: expected side, of the images in pixels, because {why}, from 1 to {_LARGEST_SIDE}, got {side!r}"
        )
    return side


def require_values(values: object, taker: str) -> int:
    """Raise UserError unless `values`, how many stand for a range, is a whole number from 1 on."""
    if not is_whole(values, 1, _MOST_VALUES):
        raise UserError(f"{taker}: expected values as a whole number from 1 to {_MOST_VALUES}, got {values!r}")
    return values
