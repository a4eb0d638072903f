"""The headline says what the intervals say, and no more."""

import numpy as np
import pytest

from augrad.show.statistics import ComparisonRow
from augrad.show.verdict import judge

_NOISE = (0.001, -0.001, 0.0, 0.002, -0.002)


def _row(name: str, mean: float, order: int = 1) -> ComparisonRow:
    return ComparisonRow(name, tuple(mean + noise for noise in _NOISE[::order]))


@pytest.mark.parametrize(
    ("none", "random", "kind", "headline"),
    [
        (0.90, 0.93, "better", "Worth it: better than all it was compared with"),
        (0.90, 0.95, "mixed", "Better than no augmentation, not shown to be better than random"),
        (0.90, 0.97, "mixed", "Better than no augmentation, worse than random"),
        (0.97, 0.93, "worse", "Not worth it: worse than no augmentation"),
        (0.95, 0.97, "worse", "Not worth it: worse than random"),
        (0.95, 0.95, "open", "No difference shown"),
    ],
)
def test_kinds(none: float, random: float, kind: str, headline: str):
    verdict = judge([_row("none", none), _row("learned", 0.95, -1), _row("random", random)])
    assert (verdict.kind, verdict.headline) == (kind, headline)


def test_reasons_name_none_random_and_the_best():
    verdict = judge([_row("none", 0.9), _row("random", 0.92), _row("randaugment", 0.94), _row("learned", 0.95)])
    assert [reason.split(" (")[0] for reason in verdict.reasons] == [
        "+5.0 percentage points over no augmentation",
        "+3.0 percentage points over a random policy",
        "+1.0 percentage points over randaugment, the best of the others",
    ]


def test_one_seed_decides_nothing():
    verdict = judge([ComparisonRow("none", (0.5,)), ComparisonRow("learned", (0.9,))])
    assert (verdict.kind, verdict.headline) == ("open", "Too few seeds to tell")
    assert verdict.reasons == ("+40.0 percentage points over no augmentation (one seed, no interval).",)


def test_a_few_equal_seeds_decide_nothing():
    """They give an interval of no width, wherever it lies."""
    verdict = judge([ComparisonRow("none", (0.7, 0.6)), ComparisonRow("learned", (0.8, 0.7))])
    assert (verdict.kind, verdict.headline) == ("open", "Too few seeds to tell")
    words = "+10.0 percentage points over no augmentation (the same on 2 seeds, no interval). "
    assert verdict.reasons == (f"{words}This does not tell how much it varies; 6 seeds would.",)
    assert judge([ComparisonRow("none", (0.5,) * 5), ComparisonRow("learned", (0.6,) * 5)]).kind == "open"
    assert judge([ComparisonRow("none", (0.5,) * 6), ComparisonRow("learned", (0.6,) * 6)]).kind == "better"


@pytest.mark.parametrize(("seeds", "images"), [(2, 10), (2, 50), (3, 10), (6, 4)])
def test_equals_are_seldom_called_better(seeds: int, images: int):
    """A 95% interval allows 2.5%, also where accuracies of a small test set often agree to the last digit."""
    draw, repeats = np.random.default_rng(0), 1000
    drawn = draw.binomial(images, 0.8, (repeats, 2, seeds)) / images
    verdicts = [
        judge([ComparisonRow("none", tuple(none.tolist())), ComparisonRow("learned", tuple(learned.tolist()))])
        for none, learned in drawn
    ]
    assert sum(verdict.kind == "better" for verdict in verdicts) <= 0.04 * repeats


def test_other_seeds_decide_nothing():
    verdict = judge([ComparisonRow("none", (0.5, 0.6, 0.5)), ComparisonRow("learned", (0.9, 0.9))])
    assert verdict.kind == "open"
    assert verdict.reasons == ("Against no augmentation: not judged on the same seeds.",)


@pytest.mark.parametrize("rows", [[], [_row("none", 0.9)], [_row("learned", 0.9)]])
def test_nothing_to_compare(rows: list[ComparisonRow]):
    assert judge(rows).headline == "Not compared yet"
