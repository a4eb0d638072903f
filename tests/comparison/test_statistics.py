"""Means and intervals against scipy and against a textbook's numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from augrad.comparison.statistics import (
    LOGARITHM,
    Interval,
    between_share,
    change,
    holm,
    logits,
    mean_interval,
    paired_interval,
    percent,
    points,
    seeds_to_tell,
    signed,
)
from augrad.errors import UserError

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


def test_different_numbers_of_values_do_not_pair():
    with pytest.raises(UserError, match="got 2 and 3 values"):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=8), images=st.integers(10, 10_000))
def test_an_interval_of_shares_is_one_of_shares(values: list[float], images: int):
    interval = mean_interval(values, scale=logits(images))
    assert interval.low is not None
    assert interval.high is not None
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_an_interval_on_the_scale_is_scipys_put_back():
    values = [0.93, 0.95, 0.96, 0.99]
    interval = mean_interval(values, scale=logits(10_000))
    low, high = stats.ttest_1samp(special.logit(values), 0.0).confidence_interval(0.95)
    assert (interval.low, interval.high) == (pytest.approx(special.expit(low)), pytest.approx(special.expit(high)))
    losses = [0.1, 0.12, 0.2]
    interval = mean_interval(losses, scale=LOGARITHM)
    low, high = stats.ttest_1samp(np.log(losses), 0.0).confidence_interval(0.95)
    assert (interval.low, interval.high) == (pytest.approx(np.exp(low)), pytest.approx(np.exp(high)))


def test_a_paired_difference_on_the_scale_is_scipys_put_back():
    first, second = np.array([0.93, 0.95, 0.96, 0.99]), np.array([0.9, 0.94, 0.955, 0.97])
    interval = paired_interval(first.tolist(), second.tolist(), scale=logits(10_000))
    test = stats.ttest_rel(special.logit(first), special.logit(second))
    at = special.logit(second.mean())
    ends = [special.expit(at + end) - second.mean() for end in test.confidence_interval(0.95)]
    assert (interval.low, interval.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    assert interval.p == pytest.approx(test.pvalue)
    assert interval.mean == pytest.approx((first - second).mean())


@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_a_difference_stays_where_it_can_be(pairs: list[tuple[float, float]]):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    interval = paired_interval(first, second, scale=logits(100))
    assert interval.low is not None
    assert interval.high is not None
    against = np.mean(second)
    half_an_image = 0.5 / 101  # as far from 0 and 1 as the scale is finite
    assert interval.low >= -against - half_an_image
    assert interval.high <= 1 - against + half_an_image


def test_far_from_the_edge_the_scale_changes_little():
    first, second = [0.61, 0.62, 0.60, 0.615], [0.6, 0.601, 0.597, 0.6]
    plain, scaled = paired_interval(first, second), paired_interval(first, second, scale=logits(1000))
    assert plain.low is not None
    assert plain.high is not None
    width = plain.high - plain.low
    assert (scaled.low, scaled.high) == pytest.approx((plain.low, plain.high), abs=0.03 * width)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p_values: list[float]):
    """The k-th smallest times the number of those that are left, never falling."""
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    m = len(p_values)
    expected = np.minimum(np.maximum.accumulate(np.array(p_values)[order] * (m - np.arange(m))), 1)
    assert np.array(adjusted)[order] == pytest.approx(expected)


def test_holm_of_a_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_share_between_groups_is_that_of_the_truth():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        searches = generator.normal(0, 1.0, (6, 1))
        found.append(between_share((searches + generator.normal(0, 2.0, (6, 5))).tolist()))
    variances = [share for share in found if share is not None]
    assert np.mean(variances) == pytest.approx(1 / 5, abs=0.05)
    assert between_share([[1.0, 1.0], [3.0, 3.0]]) == 1
    assert between_share([[1.0, 2.0]]) is None
    assert between_share([[1.0], [2.0]]) is None
    assert between_share([[1.0, 1.0], [1.0, 1.0]]) is None


def test_the_share_between_groups_by_the_analysis_of_variance():
    groups = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [5.0, 5.0, 8.0]]
    statistic = stats.f_oneway(*groups).statistic  # (inside + 3 between) / inside
    between = (statistic - 1) / 3
    assert between_share(groups) == pytest.approx(between / (between + 1))


def test_how_many_seeds_would_tell():
    """So many values with this mean and spread show the mean in four cases of five, and one fewer does not."""
    interval = mean_interval([-0.5, 0.2, 0.9, 1.0, 0.4])
    n = seeds_to_tell(interval)
    assert n is not None
    deviation = float(np.std([-0.5, 0.2, 0.9, 1.0, 0.4], ddof=1))
    drawn = np.random.default_rng(0).normal(interval.mean, deviation, (20_000, n))
    shown = stats.ttest_1samp(drawn, 0.0, axis=1)
    assert np.mean((shown.pvalue < 0.05) & (shown.statistic > 0)) == pytest.approx(0.8, abs=0.07)
    assert seeds_to_tell(mean_interval([0.5])) is None


def test_losses_of_any_size_give_numbers_that_can_be_read():
    for first, second in (([0.3, 0.9], [0.9, 0.3]), ([1e1, 1e31], [0.2, 0.2]), ([0.0, 0.1], [0.1, 0.0])):
        interval = paired_interval(first, second, scale=LOGARITHM)
        assert interval.high is not None
        assert np.isfinite(interval.high)
        assert len(change(interval)) < 60


def test_words():
    assert percent(Interval(0.9551, 0.949, 0.9612, 5)) == "95.5% (94.9 to 96.1, n = 5)"
    assert points(Interval(0.031, -0.002, 0.0604, 5)) == "+3.1 (−0.2 to +6.0)"
    assert [signed(value) for value in (0.04, -0.04, 0.05001, -12.34)] == ["0.0", "0.0", "+0.1", "−12.3"]
