"""Means over trainings with their uncertainty: Student's t on a scale on which every number is a possible result.

An accuracy and a calibration error are taken as logits, a loss as its logarithm: an interval of an accuracy stays
inside 0..1, that of a loss above 0, however few trainings there are. Where nothing is near the edge, the interval is
the plain one but for a few per cent of its width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit  # scipy.stats would take a second to import

from augrad.errors import UserError


@dataclass(frozen=True)
class Interval:
    """A mean over n independent values and its confidence interval; low and high are None for n = 1, which has none.

    p: the two-sided probability of a mean this far from 0, or farther, if the truth is 0; None without an interval, and
    for what is not a difference.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None


@dataclass(frozen=True)
class Scale:
    """Where the t interval is computed: `into` the scale and `back`. Both rise."""

    into: Callable[[float], float]
    back: Callable[[float], float]


PLAIN = Scale(lambda value: value, lambda value: value)
LOGARITHM = Scale(lambda value: math.log(max(value, 1e-6)), lambda value: math.exp(min(value, 700.0)))
"""A loss below a millionth counts as that."""


def logits(images: int) -> Scale:
    """Of a share of so many images. None or all of them count as half an image less, where the logit is finite."""
    least = 0.5 / (images + 1)

    def into(share: float) -> float:
        share = min(max(share, least), 1 - least)
        return math.log(share / (1 - share))

    return Scale(into, lambda value: 1 / (1 + math.exp(-min(max(value, -700.0), 700.0))))


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


def mean_interval(values: Sequence[float], level: float = 0.95, scale: Scale = PLAIN) -> Interval:
    """The mean of independent `values` and its t interval: on the scale, mean +- t(level, n - 1) * s / sqrt(n).

    The ends are those of the scale's interval, put back; the mean is that of the values themselves, and the interval is
    stretched to it where that lies outside. Raises `UserError` for no values or values that are not finite, or a level
    outside (0, 1).
    """
    if not 0 < level < 1:
        raise UserError(f"confidence level: expected a number between 0 and 1, got {level}")
    if not values or not all(math.isfinite(value) for value in values):
        raise UserError(f"mean over seeds: expected at least one finite value, got {list(values)}")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Interval(mean, None, None, n)
    centre, error = _centre_and_error([scale.into(value) for value in values])
    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return _containing(mean, scale.back(centre - half), scale.back(centre + half), n)


def paired_interval(
    first: Sequence[float], second: Sequence[float], level: float = 0.95, scale: Scale = PLAIN
) -> Interval:
    """The mean of first - second over pairs and its t interval; what a seed does to both cancels.

    The interval is that of the differences on the scale, put back at the mean of `second`: first can be no more than
    what the scale allows. p is that of the differences on the scale. Raises `UserError` if they are not as many, or as
    `mean_interval` does.
    """
    if len(first) != len(second):
        raise UserError(
            f"paired difference: expected the same seeds on both sides, got {len(first)} and {len(second)} values"
        )
    differences = [scale.into(a) - scale.into(b) for a, b in zip(first, second, strict=True)]
    found = mean_interval(differences, level)
    mean, against = (
        math.fsum(values) / found.n for values in ([a - b for a, b in zip(first, second, strict=True)], second)
    )
    if found.low is None or found.high is None:
        return Interval(mean, None, None, found.n)
    at = scale.into(against)
    low, high = (scale.back(at + end) - scale.back(at) for end in (found.low, found.high))
    return _containing(mean, low, high, found.n, _p_value(differences))


def independent_interval(
    first: Sequence[float], second: Sequence[float], level: float = 0.95, scale: Scale = PLAIN
) -> Interval:
    """The difference of two independent means and its t interval, with unequal variances (Welch 1947).

    On the scale, and put back, as `paired_interval` does. n: of the smaller side. Raises `UserError` as `mean_interval`
    does.
    """
    means = [mean_interval(side, level).mean for side in (first, second)]
    n = min(len(first), len(second))
    if n == 1:
        return Interval(means[0] - means[1], None, None, n)
    (a, s), (b, t) = (_centre_and_error([scale.into(value) for value in side]) for side in (first, second))
    error = math.hypot(s, t)
    parts = sum(e**4 / (len(side) - 1) for e, side in ((s, first), (t, second)))
    freedom = error**4 / parts if parts > 0 else float(n - 1)
    half, at = float(stdtrit(freedom, (1 + level) / 2)) * error, scale.into(means[1])
    low, high = (scale.back(at + a - b + end) - scale.back(at) for end in (-half, half))
    p = 2 * float(stdtr(freedom, -abs((a - b) / error))) if error else float(a == b)
    return _containing(means[0] - means[1], low, high, n, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several comparisons as if each were the only one (Holm 1979): none of them errs more often."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def between_share(groups: Sequence[Sequence[float]]) -> float | None:
    """Of the variance of a single value, the share that is between the groups (0..1), from the analysis of variance.

    Groups of different sizes count with their effective size (Searle et al. 1992, section 3.6). None where it cannot be
    told: fewer than two groups, no group of two, or values that are all the same.
    """
    groups = [group for group in groups if group]
    sizes, total = [len(group) for group in groups], sum(map(len, groups))
    if len(groups) < 2 or total == len(groups):
        return None
    means = [math.fsum(group) / len(group) for group in groups]
    grand = math.fsum(value for group in groups for value in group) / total
    inside = math.fsum((v - m) ** 2 for group, m in zip(groups, means, strict=True) for v in group)
    inside /= total - len(groups)
    outside = math.fsum(size * (m - grand) ** 2 for size, m in zip(sizes, means, strict=True)) / (len(groups) - 1)
    effective = (total - sum(size**2 for size in sizes) / total) / (len(groups) - 1)
    between = max(0.0, (outside - inside) / effective)
    return between / (between + inside) if between + inside > 0 else None


def seeds_to_tell(interval: Interval, smallest: float = 0.0) -> int | None:
    """How many values like these would show the mean, were it the truth, or `smallest` if that is larger, in four cases
    of five.

    Found from the interval's width at the present n: its half-width times sqrt(n) is t * s. None without an interval,
    and where the mean is zero and there is no smallest.
    """
    if without_interval(interval) is not None or interval.low is None or interval.high is None:
        return None
    effect = max(abs(interval.mean), smallest)
    deviation = (interval.high - interval.low) / 2 * math.sqrt(interval.n) / float(stdtrit(interval.n - 1, 0.975))
    if effect == 0:
        return None
    n = 2
    while n < 10_000 and float(stdtrit(n - 1, 0.975) + stdtrit(n - 1, 0.8)) * deviation / math.sqrt(n) > effect:
        n += 1 if n < 100 else n // 50
    return n


def _centre_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and its standard error."""
    n = len(values)
    mean = math.fsum(values) / n
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _containing(mean: float, low: float, high: float, n: int, p: float | None = None) -> Interval:
    return Interval(mean, min(low, mean), max(high, mean), n, p)


def _p_value(differences: Sequence[float]) -> float:
    mean, error = _centre_and_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(len(differences) - 1, -abs(mean / error)))


def percent(interval: Interval, with_n: bool = True) -> str:
    """An accuracy as text: "96.2% (95.5 to 96.9, n = 5)"; a single seed says that it has no interval.

    So do a few equal ones, see `without_interval`. with_n: whether n is told.
    """
    reason = without_interval(interval)
    if interval.low is None or interval.high is None or reason is not None:
        return f"{100 * interval.mean:.1f}% ({reason})"
    n = f", n = {interval.n}" if with_n else ""
    return f"{100 * interval.mean:.1f}% ({100 * interval.low:.1f} to {100 * interval.high:.1f}{n})"


def points(interval: Interval) -> str:
    """A difference of accuracies in percentage points: "+3.1 (+2.2 to +4.0)"; one seed, or a few equal ones, have none
    (see `without_interval`)."""
    return change(interval, 100.0, 1)


def change(interval: Interval, factor: float = 1.0, decimals: int = 3) -> str:
    """A difference: "+0.031 (+0.022 to +0.040)", times the factor; as `points`."""
    reason = without_interval(interval)
    mean = signed(factor * interval.mean, decimals)
    if interval.low is None or interval.high is None or reason is not None:
        return f"{mean} ({reason})"
    low, high = sorted((factor * interval.low, factor * interval.high))
    return f"{mean} ({signed(low, decimals)} to {signed(high, decimals)})"


def signed(value: float, decimals: int = 1) -> str:
    """So many decimals with the sign, a true minus, and no sign on zero."""
    text = f"{abs(value):.{decimals}f}" if abs(value) < 1e5 else f"{abs(value):.1e}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "\u2212") + text
