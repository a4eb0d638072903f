"""Where an operation's magnitudes lie on its range, for a bar from the weak end to the strong one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from augrad import ops
from augrad.ops.definition import Definition
from augrad.policy_file import Entry, Magnitude, Value
from augrad.policy_file.quantiles import quantile
from augrad.show.words import Row, describe_value

LEVELS = {"low": 0.1, "middle": 0.5, "high": 0.9}
"""Quantiles of a magnitude: four draws in five lie between the first and the last, half of them below the second."""
_POINTS = [index / 20 for index in range(1, 20)]
"""Quantiles that stand for a magnitude that is drawn; with one row alone they give `LEVELS` exactly."""


@dataclass(frozen=True)
class Levels:
    """The magnitude at each of `LEVELS`, by its name; signed: a sign is drawn beside it."""

    values: dict[str, float]
    signed: bool


def levels_of(rows: Sequence[Row], definitions: Mapping[str, Definition]) -> Levels:
    """What images meet of an operation that stands in these rows, each with its share of the images.

    Where a sign is drawn in some rows and not in others it counts as a part of the magnitude. Empty for an operation
    without a magnitude.
    """
    drawn = [(row.entry, row.entry.magnitude, row.mass) for row in rows if row.entry.magnitude is not None]
    if not drawn:
        return Levels({}, False)
    signed = all(entry.signed for entry, _, _ in drawn)
    points = []
    for entry, magnitude, mass in drawn:
        signs, of_entry = (1,) if signed or not entry.signed else (1, -1), _values(magnitude)
        weight = mass / (len(signs) * len(of_entry))
        points += [(sign * value, weight) for sign in signs for value in of_entry]
    weak, strong, _ = _range(drawn[0][0], definitions)
    points.sort(reverse=strong < weak)
    values, weights = np.array(points).T
    passed = np.cumsum(weights) / weights.sum()
    places = {name: min(int(np.searchsorted(passed, level)), len(values) - 1) for name, level in LEVELS.items()}
    return Levels({name: float(values[place]) for name, place in places.items()}, signed)


def _values(magnitude: Magnitude) -> list[float]:
    return [magnitude.value] if isinstance(magnitude, Value) else [quantile(magnitude, level) for level in _POINTS]


@dataclass(frozen=True)
class Track:
    """A bar; places and widths are percentages from its left end.

    ends: what the two ends are, in words. still: where the operation does nothing, where that is not the left end.
    spans: (left, width) of where four draws in five are, one for each sign. medians: of these.
    """

    ends: tuple[str, str]
    still: float | None
    spans: tuple[tuple[float, float], ...]
    medians: tuple[float, ...]


def track_of(entry: Entry, definitions: Mapping[str, Definition]) -> Track | None:
    """The bar of an entry's magnitude; None without a magnitude.

    It is the operation's own range, and wider where four draws in five go beyond it; from end to end through 0 where
    the operation goes both ways. definitions: of the operations that are not augrad's own.
    """
    if entry.magnitude is None or entry.unit is None:
        return None
    levels = [quantile(entry.magnitude, level) for level in LEVELS.values()]
    signs = (-1, 1) if entry.signed else (1,)
    shown = [sign * level for sign in signs for level in levels]
    weak, strong, both_ways = _range(entry, definitions)
    if both_ways:
        reach = max(map(abs, [weak, strong, *shown])) or 1.0
        weak, strong = -reach, reach
    elif strong >= weak:
        weak, strong = min([weak, *shown]), max([strong, *shown])
    else:
        weak, strong = max([weak, *shown]), min([strong, *shown])

    def place(value: float) -> float:
        return round(100 * (value - weak) / (strong - weak), 2) if strong != weak else 0.0

    spans = []
    for sign in signs:
        left, right = sorted(place(sign * level) for level in (levels[0], levels[-1]))
        spans.append((left, round(right - left, 2)))
    return Track(
        ends=(describe_value(entry.op, entry.unit, weak), describe_value(entry.op, entry.unit, strong)),
        still=50.0 if both_ways else None,
        spans=tuple(spans),
        medians=tuple(place(sign * levels[len(levels) // 2]) for sign in signs),
    )


def goes_both_ways(entry: Entry, definitions: Mapping[str, Definition]) -> bool:
    """Whether the operation has a sign: a drawn one here, or one by its own definition."""
    return bool(entry.signed or (definitions.get(entry.op) or ops.get(entry.op)).signed)


def _range(entry: Entry, definitions: Mapping[str, Definition]) -> tuple[float, float, bool]:
    """The weak and the strong end of the operation's own range, and whether it goes both ways."""
    defined = definitions.get(entry.op) or ops.get(entry.op)
    assert defined.low is not None
    assert defined.high is not None
    return defined.low, defined.high, goes_both_ways(entry, definitions)
