"""What is paired with what, and what an interval is over."""

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


def test_searches_are_the_unit_where_there_are_several():
    rows = _nested()
    found = difference(rows, "learned", "none", "accuracy")
    assert found is not None
    none = {row.seed: row.accuracy for row in rows if row.policy == "none"}
    learned = {s: [r.accuracy for r in rows if r.search_seed == s] for s in range(3)}
    first, second = [np.mean(learned[s]) for s in range(3)], [np.mean(list(none.values()))] * 3
    test = stats.ttest_rel(special.logit(first), special.logit(second))
    assert found.interval.n == 3
    assert found.interval.mean == pytest.approx(np.mean(first) - second[0])
    assert found.interval.p == pytest.approx(test.pvalue)
    back = difference(rows, "none", "learned", "accuracy")
    assert back is not None
    assert back.interval.n == 3
    assert back.interval.mean == pytest.approx(-found.interval.mean)
    assert interval_of(rows, "learned", "accuracy").n == 3
    assert interval_of(rows, "none", "accuracy").n == 4


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
    share = share_of_searches(_nested(), "learned", "accuracy")
    assert share is not None
    assert 0 < share < 0.5  # most of the spread is the training seeds'
    assert share_of_searches(_nested(searches=1), "learned", "accuracy") is None


def test_the_best_is_the_most_accurate_or_has_the_lowest_loss():
    rows = trainings({"none": (0.7, 0.7), "random": (0.8, 0.8)})
    assert best_of(rows, ["none", "random"], "accuracy") == "random"
    assert best_of(rows, ["none", "random"], "loss") == "random"


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
