"""Means over seeds with their uncertainty: Student's t intervals, plain and paired."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit  # scipy.stats would take a second to import

from augrad.errors import UserError


@dataclass(frozen=True)
class ComparisonRow:
    """One policy's results. accuracies: one per seed, in 0..1, the seeds in the same order in every row."""

    name: str
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class Interval:
    """A mean over n values and its confidence interval; low and high are None for n = 1, which has none."""

    mean: float
    low: float | None
    high: float | None
    n: int


ENOUGH_EQUAL = 6
"""Seeds that have to give the very same for it to say something: equals would favour one side on all of them in one
case of 64 (the sign test), and a 95% interval allows one of 40."""


def without_interval(interval: Interval) -> str | None:
    """Why there is no interval, in words: one seed, or a few that gave the very same, which do not tell how much it
    varies. None where there is one."""
    if interval.low is None or interval.high is None:
        return "one seed, no interval"
    if interval.n < ENOUGH_EQUAL and interval.high - interval.low < 1e-9:  # but for rounding
        return f"the same on {interval.n} seeds, no interval"
    return None


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of independent `values` and its t interval: mean +- t(level, n - 1) * s / sqrt(n).

    Raises `UserError` for no values or values that are not finite, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise UserError(f"confidence level: expected a number between 0 and 1, got {level}")
    if not values or not all(math.isfinite(value) for value in values):
        raise UserError(f"mean over seeds: expected at least one finite value, got {list(values)}")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, n)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)


def paired_interval(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of first - second over seeds and its t interval; what a seed does to both cancels.

    Raises `UserError` if they are not as many, or as `mean_interval` does.
    """
    if len(first) != len(second):
        raise UserError(
            f"paired difference: expected the same seeds on both sides, got {len(first)} and {len(second)} values"
        )
    return mean_interval([a - b for a, b in zip(first, second, strict=True)], level)


def find_row(rows: Sequence[ComparisonRow], name: str) -> ComparisonRow | None:
    """The row called `name`, or None."""
    return next((row for row in rows if row.name == name), None)


def difference(rows: Sequence[ComparisonRow], name: str, reference: str = "learned") -> Interval | None:
    """How much better `reference` is than `name`, paired by seed; None if either is missing, they are the same row, or
    they do not have the same number of seeds."""
    row, other = find_row(rows, reference), find_row(rows, name)
    if row is None or other is None or row is other or len(row.accuracies) != len(other.accuracies):
        return None
    return paired_interval(row.accuracies, other.accuracies)


def percent(interval: Interval) -> str:
    """An accuracy as text: "96.2% (95.5 to 96.9, n = 5)"; a single seed says that it has no interval.

    So do a few equal ones, see `without_interval`.
    """
    reason = without_interval(interval)
    if interval.low is None or interval.high is None or reason is not None:
        return f"{100 * interval.mean:.1f}% ({reason})"
    return f"{100 * interval.mean:.1f}% ({100 * interval.low:.1f} to {100 * interval.high:.1f}, n = {interval.n})"


def points(interval: Interval) -> str:
    """A difference of accuracies in percentage points: "+3.1 (+2.2 to +4.0)"; one seed, or a few equal ones, have none
    (see `without_interval`)."""
    reason = without_interval(interval)
    if interval.low is None or interval.high is None or reason is not None:
        return f"{signed(100 * interval.mean)} ({reason})"
    return f"{signed(100 * interval.mean)} ({signed(100 * interval.low)} to {signed(100 * interval.high)})"


def signed(value: float) -> str:
    """One decimal with its sign, a true minus, and no sign on zero."""
    text = f"{abs(value):.1f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "\u2212") + text
