"""What is paired with what, and what an interval is over."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from augrad.comparison.differences import best_of, difference, differences, interval_of, share_of_searches
from augrad.comparison.rows import TrainingRow, affinity_of
from augrad.comparison.summary import csv_of, markdown_of
from trainings import training, trainings


def _nested(searches: int = 3, seeds: int = 4) -> list[TrainingRow]:
    """A method searched several times, each trained several times, and a control on the same training seeds."""
    draw = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        of_seed = draw.normal(0, 0.02)
        rows.append(training("none", 0.80 + of_seed + draw.normal(0, 0.002), seed))
        rows += [
            training("learned", 0.82 + 0.01 * search + of_seed + draw.normal(0, 0.002), seed, search_seed=search)
            for search in range(searches)
        ]
    return rows


def _own_divisions(rows: list[TrainingRow]) -> list[TrainingRow]:
    """The same trainings, each search's on a division of its own, with a control there."""
    found = []
    for row in rows:
        if row.policy == "learned":
            found.append(replace(row, split_seed=row.search_seed))
        else:
            found += [replace(row, split_seed=split, accuracy=row.accuracy + 0.001 * split) for split in range(3)]
    return found


def test_searches_are_the_unit_where_each_has_its_own_division():
    rows = _own_divisions(_nested())
    found = difference(rows, "learned", "none", "accuracy")
    assert found is not None
    means = {
        name: [np.mean([r.accuracy for r in rows if r.policy == name and r.split_seed == s]) for s in range(3)]
        for name in ("learned", "none")
    }
    test = stats.ttest_rel(special.logit(means["learned"]), special.logit(means["none"]))
    assert (found.interval.n, found.unit) == (3, "searches")
    assert found.interval.mean == pytest.approx(np.mean(means["learned"]) - np.mean(means["none"]))
    assert found.interval.p == pytest.approx(test.pvalue)
    back = difference(rows, "none", "learned", "accuracy")
    assert back is not None
    assert back.interval.n == 3
    assert back.interval.mean == pytest.approx(-found.interval.mean)
    assert interval_of(rows, "learned", "accuracy").n == 3
    assert interval_of(_nested(), "none", "accuracy").n == 4


@pytest.mark.parametrize("searches", [2, 3, 5])
@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize(("of_search", "of_training"), [(0.0, 0.01), (0.005, 0.01), (0.01, 0.003)])
def test_an_interval_covers_the_truth_where_searches_share_a_controls_trainings(
    searches: int, seeds: int, of_search: float, of_training: float
):
    """Equals: the truth is 0. The trainings of the control are the same for all searches, and count once."""
    draw, covered, repeats = np.random.default_rng(searches * 10 + seeds), 0, 300
    for _ in range(repeats):
        rows = [training("none", 0.8 + draw.normal(0, of_training), seed) for seed in range(seeds)]
        for search in range(searches):
            shift = draw.normal(0, of_search)
            rows += [
                training("learned", 0.8 + shift + draw.normal(0, of_training), seed, search_seed=search)
                for seed in range(seeds)
            ]
        found = difference(rows, "learned", "none", "accuracy")
        assert found is not None
        assert found.interval.low is not None
        assert found.interval.high is not None
        covered += found.interval.low <= 0 <= found.interval.high
    assert covered / repeats > 0.9


def test_searches_that_are_judged_on_all_divisions_are_still_so_many():
    rows = [
        training(
            name, 0.8 + 0.01 * (search or 0) + 0.02 * split + 0.001 * seed, seed, search_seed=search, split_seed=split
        )
        for split in range(3)
        for seed in range(2)
        for name, search in (("none", None), ("learned", 0), ("learned", 1), ("learned", 2))
    ]
    found = difference(rows, "learned", "none", "accuracy")
    assert found is not None
    assert found.interval.n <= 3


def test_two_methods_with_other_searches_are_independent():
    """Welch's interval of the means of the searches, by scipy."""
    draw = np.random.default_rng(3)
    rows = [
        training(name, 0.8 + draw.normal(0, 0.01), seed, search_seed=search)
        for name, searches in (("a", range(5)), ("b", range(10, 13)))
        for search in searches
        for seed in range(2)
    ]
    found = difference(rows, "a", "b", "accuracy")
    assert found is not None
    means = [
        [special.logit(np.mean([r.accuracy for r in rows if r.search_seed == search])) for search in searches]
        for searches in (range(5), range(10, 13))
    ]
    test = stats.ttest_ind(*means, equal_var=False)
    assert found.interval.p == pytest.approx(test.pvalue)
    low, _ = test.confidence_interval(0.95)
    at = special.logit(np.mean([r.accuracy for r in rows if r.policy == "b"]))
    assert found.interval.low == pytest.approx(special.expit(at + low) - special.expit(at), abs=1e-4)


def test_one_search_speaks_of_its_one_policy():
    rows = _nested(searches=1)
    found = difference(rows, "learned", "none", "accuracy")
    assert found is not None
    assert found.interval.n == 4
    pairs = [
        (a.accuracy, b.accuracy)
        for a in rows
        for b in rows
        if a.search_seed == 0 and b.search_seed is None and a.seed == b.seed
    ]
    assert sorted(found.values) == pytest.approx(sorted(a - b for a, b in pairs))


def test_splits_are_the_unit_where_there_are_several():
    rows = [
        training(name, value + 0.01 * split + 0.001 * seed, seed, split_seed=split)
        for split in range(3)
        for seed in range(2)
        for name, value in (("none", 0.7), ("learned", 0.75))
    ]
    found = difference(rows, "learned", "none", "accuracy")
    assert found is not None
    assert found.interval.n == 3


def test_two_searched_methods_are_paired_by_search():
    rows = _nested()
    rows += [
        training("other", row.accuracy - 0.01, row.seed, search_seed=row.search_seed)
        for row in rows
        if row.policy == "learned"
    ]
    found = difference(rows, "learned", "other", "accuracy")
    assert found is not None
    assert found.values == pytest.approx([0.01] * 3)


def test_the_share_of_the_search():
    share = share_of_searches(_nested(), "learned", "none", "accuracy")
    assert share is not None
    assert share > 0.8  # what the training seeds do to both is gone
    assert share_of_searches(_nested(searches=1), "learned", "none", "accuracy") is None
    divided = _own_divisions(_nested())
    assert share_of_searches(divided, "learned", "none", "accuracy") is not None


def test_the_best_is_the_one_that_the_policy_is_least_ahead_of():
    rows = trainings({"none": (0.7, 0.7), "random": (0.8, 0.8), "learned": (0.9, 0.9)})
    assert best_of(rows, "learned", "accuracy") == "random"
    assert best_of(rows, "learned", "loss") == "random"
    assert best_of(rows, "missing", "accuracy") == "learned"
    assert best_of(rows[:2], "none", "accuracy") is None
    # On its own, harder division the other one is worse by its mean, and yet the stronger rival.
    apart = [training("a", 0.95, 0), training("a", 0.75, 0, split_seed=1)]
    apart += [training("m1", 0.94, 0), training("m2", 0.80, 0, split_seed=1)]
    assert best_of(apart, "a", "accuracy") == "m2"


def test_every_metric_against_every_other():
    rows = trainings({"none": (0.7, 0.72), "random": (0.8, 0.79), "learned": (0.81, 0.83)})
    found = differences(rows, "learned")
    assert [(one.against, one.metric) for one in found] == [
        (name, metric) for metric in ("accuracy", "loss", "calibration_error") for name in ("none", "random")
    ]
    assert found[0].clear == 0 or found[0].as_dict()["p_holm"] >= found[0].as_dict()["p"]
    assert [one.as_dict()["mean"] > 0 for one in found[:4]] == [True, True, False, False]


def test_affinity_is_measured_by_the_classifier_without_a_policy():
    rows = [
        training("none", 0.8, 0, affinities={"a": 0.9, "b": 0.5}),
        training("none", 0.8, 1, affinities={"a": 0.8, "b": 0.5}),
        training("learned", 0.8, 0, digest="a"),
        training("learned", 0.8, 1, digest="a"),
        training("random", 0.8, 0, digest="c"),
    ]
    assert affinity_of(rows, "learned") == pytest.approx(0.85)
    assert affinity_of(rows, "random") is None


def test_as_text():
    rows = trainings({"none": (0.7, 0.72), "a|b": (0.81, 0.83)})
    text = markdown_of(rows, "a|b")
    assert r"**a\|b**" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    lines = csv_of(rows).splitlines()
    assert lines[0].startswith("policy,search_seed,split_seed,seed,accuracy,loss,steps,seconds")
    assert len(lines) == 5
