"""Policies against each other: paired by split and training seed, with searches as the unit where there are several."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from augrad.comparison.rows import TrainingRow, names_of, of_policy
from augrad.comparison.statistics import (
    LOGARITHM,
    Interval,
    Scale,
    between_share,
    holm,
    independent_interval,
    logits,
    mean_interval,
    paired_interval,
    without_interval,
)

Metric = Literal["accuracy", "loss", "calibration_error"]
Unit = Literal["searches", "divisions", "seeds"]
_T = TypeVar("_T")
_Level = Callable[[TrainingRow], Hashable]
METRICS: tuple[Metric, ...] = ("accuracy", "loss", "calibration_error")


@dataclass(frozen=True)
class Difference:
    """How much `policy` has more than `against` of `metric`.

    unit: what the interval is over (see `difference`), and values: their differences; without them, the two were
    independent. holm: p, as if it were the only comparison of the policy.
    """

    policy: str
    against: str
    metric: Metric
    interval: Interval
    unit: Unit
    values: tuple[float, ...] = ()
    holm: float | None = None

    @property
    def clear(self) -> int:
        """1: clearly better, -1: clearly worse, 0: not told, by the interval alone."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None or without_interval(self.interval) or not (low > 0 or high < 0):
            return 0
        return (1 if low > 0 else -1) * (1 if self.metric == "accuracy" else -1)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        interval = self.interval
        return {
            "policy": self.policy,
            "against": self.against,
            "metric": self.metric,
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "of": self.unit,
            "p": interval.p,
            "p_holm": self.holm,
        }


def scale_of(metric: Metric, rows: Sequence[TrainingRow]) -> Scale:
    """The scale that a metric's intervals are computed on."""
    return LOGARITHM if metric == "loss" else logits(min(row.images for row in rows))


def interval_of(rows: Sequence[TrainingRow], name: str, metric: Metric) -> Interval:
    """A policy's mean over its searches, else over its divisions, else over its trainings.

    Raises `UserError` for a policy without a row, and values that are not finite.
    """
    found = of_policy(rows, name)
    level = next((level for level in _LEVELS if len(set(map(level, found))) > 1), _training)
    means = [_mean(values) for values in _grouped((level(row), value_of(row, metric)) for row in found).values()]
    return mean_interval(means, scale=scale_of(metric, found) if found else LOGARITHM)


def difference(rows: Sequence[TrainingRow], name: str, against: str, metric: Metric) -> Difference | None:
    """How much more `name` has than `against`; None where they have no training in common.

    A training is paired with those of the other policy on the same division and seed. The interval is over whatever
    there are several of: searches, else divisions, else training seeds (it then speaks of this one policy). Where these
    are crossed, as several searches that are judged beside the same trainings of a control, it is the widest of those
    over each: none of them would see what the others have in common. Two methods of several searches each are paired
    search by search where both have the same ones, and are independent otherwise (Welch 1947).
    """
    ours, theirs = of_policy(rows, name), of_policy(rows, against)
    if name == against or not ours or not theirs:
        return None
    scale, searches = scale_of(metric, rows), [len(set(map(_search, side))) for side in (ours, theirs)]
    same = set(map(_search, ours)) == set(map(_search, theirs))
    if min(searches) > 1 and not same:
        first, second = (
            [_mean(values) for values in _grouped((_search(row), value_of(row, metric)) for row in side).values()]
            for side in (ours, theirs)
        )
        return Difference(name, against, metric, independent_interval(first, second, scale=scale), "searches")
    swapped = searches[1] > searches[0]
    pairs = _pairs(theirs, ours, metric, same) if swapped else _pairs(ours, theirs, metric, same)
    if not pairs:
        return None
    oriented = [(row, pair[::-1] if swapped else pair) for row, pair in pairs]
    chosen: list[tuple[Unit, _Level]] = []
    for unit, level in zip(_UNITS, _LEVELS, strict=True):
        several = len({level(row) for row, _ in oriented}) > 1
        if several and not any(_inside([row for row, _ in oriented], level, other) for _, other in chosen):
            chosen.append((unit, level))
    found = []
    for unit, level in chosen or [(_UNITS[-1], _LEVELS[-1])]:
        groups = _grouped((level(row), pair) for row, pair in oriented).values()
        first, second = zip(*([_mean(side) for side in zip(*group, strict=True)] for group in groups), strict=True)
        values = tuple(a - b for a, b in zip(first, second, strict=True))
        interval = paired_interval(first, second, scale=scale)
        found.append(Difference(name, against, metric, interval, unit, values))
    return max(found, key=lambda one: (one.interval.high or 0.0) - (one.interval.low or 0.0))


def _pairs(
    ours: Sequence[TrainingRow], theirs: Sequence[TrainingRow], metric: Metric, by_search: bool
) -> list[tuple[TrainingRow, tuple[float, float]]]:
    """Every training of ours that has one of theirs on the same division and seed, and both values."""
    others: dict[tuple[int, int], list[TrainingRow]] = defaultdict(list)
    for row in theirs:
        others[row.split_seed, row.seed].append(row)
    pairs: list[tuple[TrainingRow, tuple[float, float]]] = []
    for row in ours:
        found = others.get((row.split_seed, row.seed), [])
        if by_search:
            found = [other for other in found if other.search_seed == row.search_seed]
        if found:
            pairs.append((row, (value_of(row, metric), _mean([value_of(other, metric) for other in found]))))
    return pairs


def differences(rows: Sequence[TrainingRow], reference: str) -> list[Difference]:
    """`reference` against every other policy, in every metric, with Holm's correction over the policies."""
    found: list[Difference] = []
    for metric in METRICS:
        of_metric = [difference(rows, reference, name, metric) for name in names_of(rows) if name != reference]
        whole = [one for one in of_metric if one is not None]
        told = [one for one in whole if one.interval.p is not None]
        adjusted = iter(holm([one.interval.p for one in told if one.interval.p is not None]))
        found += [one if one.interval.p is None else replace(one, holm=next(adjusted)) for one in whole]
    return found


def best_of(rows: Sequence[TrainingRow], reference: str, metric: Metric) -> str | None:
    """The strongest rival of `reference`: the one that it is least ahead of, or most behind; None without any.

    Without trainings of the reference, or in common with it, by the means.
    """
    names = [name for name in names_of(rows) if name != reference]
    sign = 1 if metric == "accuracy" else -1
    found = {name: difference(rows, reference, name, metric) for name in names}
    told = {name: -sign * one.interval.mean for name, one in found.items() if one is not None}
    if len(told) < len(names):
        told = {name: sign * interval_of(rows, name, metric).mean for name in names}
    return max(told, key=told.__getitem__, default=None)


def share_of_searches(rows: Sequence[TrainingRow], name: str, against: str, metric: Metric) -> float | None:
    """Of the variance of a single difference to `against`, the share that is from search to search of `name`.

    And from division to division, where each search has its own. None where it cannot be told.
    """
    if len(set(map(_search, of_policy(rows, name)))) < 2 or len(set(map(_search, of_policy(rows, against)))) > 1:
        return None
    scale, groups = scale_of(metric, rows), defaultdict(list)
    for row, (own, other) in _pairs(of_policy(rows, name), of_policy(rows, against), metric, False):
        groups[_search(row)].append(scale.into(own) - scale.into(other))
    return between_share(list(groups.values()))


def value_of(row: TrainingRow, metric: Metric) -> float:
    """The row's value of that metric."""
    return getattr(row, metric)


def _search(row: TrainingRow) -> Hashable:
    return row.search_seed


def _split(row: TrainingRow) -> Hashable:
    return row.split_seed


def _training(row: TrainingRow) -> Hashable:
    return row.split_seed, row.seed


_LEVELS: tuple[_Level, ...] = (_search, _split, _training)
_UNITS: tuple[Unit, ...] = ("searches", "divisions", "seeds")


def _inside(rows: Sequence[TrainingRow], level: _Level, other: _Level) -> bool:
    """Whether each group of `level` lies in one of `other`, whose means then have seen what is within."""
    return all(len(set(found)) == 1 for found in _grouped((level(row), other(row)) for row in rows).values())


def _grouped(values: Iterable[tuple[Hashable, _T]]) -> dict[Hashable, list[_T]]:
    found: dict[Hashable, list[_T]] = defaultdict(list)
    for key, value in values:
        found[key].append(value)
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
