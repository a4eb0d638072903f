"""Operations as a library of fixed transforms knows them: one for each magnitude that is drawn."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from augrad.errors import UserError
from augrad.interop.losses import Loss
from augrad.ops import get
from augrad.policy_file import Entry, PolicyDocument, Value
from augrad.policy_file.values import range_in_words, signed_values

_NOTHING = math.nan
_LARGEST_SIDE, _MOST_VALUES = 1_000_000, 1000
"""In the place of a magnitude: images stay as they are."""


@dataclass(frozen=True)
class Known:
    """What an operation is in a library.

    make: from the library's module, the magnitude with its sign, and the policy's document (how it resamples, what it
    fills with). loss: what is different there however it is drawn; "" nothing beyond one level of 255. least: the
    weakest magnitude that the library can do. beyond: what is different of magnitudes above `most`. uncovers: it moves
    pixels in from outside.
    """

    make: Callable[[Any, float, PolicyDocument], Any]
    loss: str = ""
    least: float = -math.inf
    most: float = math.inf
    beyond: str = ""
    uncovers: bool = False


@dataclass(frozen=True)
class Leaf:
    """A transform of a library, the weight of being chosen in its stage, and the probability of then being applied."""

    transform: Any
    weight: float
    probability: float


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
        for value, share in _drawn_magnitudes(entry, known, place, values, losses):
            transform = None
            if not math.isnan(value):
                try:
                    transform = known[entry.op].make(library, value, document)
                except (ValueError, TypeError, RuntimeError, AssertionError):
                    losses.append(Loss(place, f"{entry.op} of {value:.4g} is refused there, and is left out"))
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

    0 for an operation without a magnitude; `_NOTHING` where the
    library has no such operation or magnitude, and where it is the weak end, which is not always nothing there. What is
    lost is added to `losses`.
    """
    if entry.op not in known:
        losses.append(Loss(place, f"{entry.op} is not known there, and is left out"))
        return [(_NOTHING, 1.0)]
    one = known[entry.op]
    if one.loss:
        losses.append(Loss(place, f"{entry.op}: {one.loss}"))
    if entry.magnitude is None:
        return [(0.0, 1.0)]
    drawn = signed_values(entry, values)
    if spread := range_in_words(entry.magnitude):
        losses.append(Loss(f"{place}.magnitude", f"drawn from {spread}; one of {values} values there"))
    if entry.unit == "bits":
        if isinstance(entry.magnitude, Value) and entry.magnitude.value % 1:
            losses.append(Loss(f"{place}.magnitude", f"{entry.magnitude.value:.4g} bits become {drawn[0][0]:.0f}"))
        drawn = [(float(round(value)), share) for value, share in drawn]
    found = []
    for value, share in drawn:
        if value < one.least:
            losses.append(Loss(f"{place}.magnitude", f"{entry.op} of {value:.3g} is not known there, and is left out"))
        if value > one.most:
            losses.append(Loss(f"{place}.magnitude", f"{entry.op} of {value:.3g} {one.beyond}"))
        found.append((_NOTHING if value < one.least or value == get(entry.op).low else value, share))
    return found


def require_side(side: object, taker: str, why: str) -> int:
    """Raise UserError unless `side`, of the images in pixels, is a whole number from 1 on. why: it is needed."""
    if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
        raise UserError(
            f"{taker}: expected side, of the images in pixels, because {why}, from 1 to {_LARGEST_SIDE}, got {side!r}"
        )
    return side


def require_values(values: object, taker: str) -> int:
    """Raise UserError unless `values`, how many stand for a range, is a whole number from 1 on."""
    if isinstance(values, bool) or not isinstance(values, int) or not 1 <= values <= _MOST_VALUES:
        raise UserError(f"{taker}: expected values as a whole number from 1 to {_MOST_VALUES}, got {values!r}")
    return values
