"""Policies against each other: paired by split and training seed, with searches as the unit where there are several."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from augrad.comparison.rows import TrainingRow, names_of, of_policy
from augrad.comparison.statistics import (
    LOGARITHM,
    Interval,
    Scale,
    between_share,
    holm,
    logits,
    mean_interval,
    paired_interval,
)

Metric = Literal["accuracy", "loss", "calibration_error"]
_T = TypeVar("_T")
METRICS: tuple[Metric, ...] = ("accuracy", "loss", "calibration_error")


@dataclass(frozen=True)
class Difference:
    """How much `policy` has more than `against` of `metric`.

    n of the interval: how many searches, or splits, or trainings it is the mean over (see `difference`), and values:
    what they are. holm: p, as if it were the only comparison of the policy.
    """

    policy: str
    against: str
    metric: Metric
    interval: Interval
    values: tuple[float, ...] = ()
    holm: float | None = None

    @property
    def clear(self) -> int:
        """1: clearly better, -1: clearly worse, 0: not told, by the interval."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None or not (low > 0 or high < 0):
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
            "p": interval.p,
            "p_holm": self.holm,
        }


def scale_of(metric: Metric, rows: Sequence[TrainingRow]) -> Scale:
    """The scale that a metric's intervals are computed on."""
    return LOGARITHM if metric == "loss" else logits(min(row.images for row in rows))


def interval_of(rows: Sequence[TrainingRow], name: str, metric: Metric) -> Interval:
    """A policy's mean over its searches and splits where there are several, else over its trainings.

    Raises `UserError` for a policy without a row, and values that are not finite.
    """
    found = of_policy(rows, name)
    means = [_mean(values) for values in _grouped((row, value_of(row, metric)) for row in found)]
    return mean_interval(means, scale=scale_of(metric, found) if found else LOGARITHM)


def difference(rows: Sequence[TrainingRow], name: str, against: str, metric: Metric) -> Difference | None:
    """How much more `name` has than `against`; None where they have no training in common.

    A training is paired with that of the other policy on the same split and seed: of the same search where the other is
    searched, too, else with the mean over its searches. Where there are several searches, or several splits, the
    interval is that of the means over each of them: what varies from search to search counts in full, and n is their
    number. Else it is over the training seeds: it then speaks of this one policy.
    """
    ours, theirs = of_policy(rows, name), of_policy(rows, against)
    swapped = _searches(theirs) > _searches(ours)
    if swapped:
        ours, theirs = theirs, ours
    others: dict[tuple[int, int], list[TrainingRow]] = defaultdict(list)
    for row in theirs:
        others[row.split_seed, row.seed].append(row)
    pairs: list[tuple[TrainingRow, tuple[float, float]]] = []
    for row in ours:
        found = others.get((row.split_seed, row.seed), [])
        found = [other for other in found if other.search_seed == row.search_seed] or found
        if found:
            own, other = value_of(row, metric), _mean([value_of(other, metric) for other in found])
            pairs.append((row, (other, own) if swapped else (own, other)))
    if not pairs or name == against:
        return None
    first, second = zip(*([_mean(side) for side in zip(*group, strict=True)] for group in _grouped(pairs)), strict=True)
    interval = paired_interval(first, second, scale=scale_of(metric, rows))
    return Difference(name, against, metric, interval, tuple(a - b for a, b in zip(first, second, strict=True)))


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


def best_of(rows: Sequence[TrainingRow], names: Sequence[str], metric: Metric) -> str:
    """Of these policies the one with the highest mean accuracy, or the lowest mean of another metric."""
    sign = 1 if metric == "accuracy" else -1
    return max(names, key=lambda name: sign * interval_of(rows, name, metric).mean)


def share_of_searches(rows: Sequence[TrainingRow], name: str, metric: Metric) -> float | None:
    """Of the variance of one training with a searched policy, the share that is the search's; None where not told."""
    groups: dict[tuple[int | None, int], list[float]] = defaultdict(list)
    found = of_policy(rows, name)
    if len({row.search_seed for row in found}) < 2:
        return None
    scale = scale_of(metric, found)
    for row in found:
        groups[row.search_seed, row.split_seed].append(scale.into(value_of(row, metric)))
    return between_share(list(groups.values()))


def value_of(row: TrainingRow, metric: Metric) -> float:
    """The row's value of that metric."""
    return getattr(row, metric)


def _searches(rows: Sequence[TrainingRow]) -> int:
    return len({row.search_seed for row in rows})


def _grouped(values: Iterable[tuple[TrainingRow, _T]]) -> list[list[_T]]:
    """By search and split where there are several of them, else each for itself."""
    found: dict[tuple[int | None, int], list[_T]] = defaultdict(list)
    for row, value in values:
        found[row.search_seed, row.split_seed].append(value)
    return list(found.values()) if len(found) > 1 else [[value] for group in found.values() for value in group]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
