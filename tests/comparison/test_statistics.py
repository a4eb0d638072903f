"""Means and intervals against scipy and against a textbook's numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from augrad.errors import UserError
from augrad.show.statistics import (
    ComparisonRow,
    Interval,
    difference,
    mean_interval,
    paired_interval,
    percent,
    points,
    signed,
)

_ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=20)


@given(values=_ACCURACIES, level=st.floats(0.5, 0.999))
def test_mean_interval_is_scipys(values: list[float], level: float):
    interval = mean_interval(values, level)
    expected = stats.ttest_1samp(values, 0.0) if np.std(values) > 1e-6 else None
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(np.mean(values), abs=1e-12)
    if expected is not None:
        low, high = expected.confidence_interval(level)
        assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_paired_interval_is_scipys(pairs: list[tuple[float, float]]):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    interval = paired_interval(first, second)
    if np.std(np.subtract(first, second)) > 1e-6:
        low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
        assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_by_hand():
    # mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (interval.mean, interval.low, interval.high) == (3, pytest.approx(3 - half), pytest.approx(3 + half))


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.9, 0.01, size=(2000, 5))
    covered = 0
    for row in draws.tolist():
        interval = mean_interval(row, 0.9)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.9 <= interval.high
    assert abs(covered / 2000 - 0.9) < 4 * math.sqrt(0.09 / 2000)


def test_pairing_removes_what_a_seed_does_to_both():
    seeds = np.random.default_rng(1).normal(0, 0.05, 8)
    noise = np.random.default_rng(2).normal(0, 0.002, 8)
    interval = paired_interval((0.9 + seeds + noise).tolist(), (0.88 + seeds).tolist())
    assert interval.low is not None
    assert 0.015 < interval.low < 0.02


def test_one_seed_has_no_interval_and_says_so():
    interval = mean_interval([0.95])
    assert interval == Interval(0.95, None, None, 1)
    assert percent(interval) == "95.0% (one seed, no interval)"
    assert points(paired_interval([0.95], [0.9])) == "+5.0 (one seed, no interval)"


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.inf]])
def test_nothing_to_average(values: list[float]):
    with pytest.raises(UserError, match="expected at least one finite value"):
        mean_interval(values)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels(level: float):
    with pytest.raises(UserError, match="between 0 and 1"):
        mean_interval([1.0, 2.0], level)


def test_different_numbers_of_seeds_do_not_pair():
    with pytest.raises(UserError, match="got 2 and 3 values"):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    rows = [ComparisonRow("none", (0.5,)), ComparisonRow("learned", (0.6, 0.7)), ComparisonRow("random", (0.4, 0.5))]
    assert difference(rows, "none") is None
    assert difference(rows, "learned") is None
    assert difference(rows, "missing") is None
    found = difference(rows, "random")
    assert found is not None
    assert found.mean == pytest.approx(0.2)


def test_words():
    assert percent(Interval(0.9551, 0.949, 0.9612, 5)) == "95.5% (94.9 to 96.1, n = 5)"
    assert points(Interval(0.031, -0.002, 0.0604, 5)) == "+3.1 (−0.2 to +6.0)"
    assert [signed(value) for value in (0.04, -0.04, 0.05001, -12.34)] == ["0.0", "0.0", "+0.1", "−12.3"]
