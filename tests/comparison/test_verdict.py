"""The headline says what the intervals say, and no more."""

import numpy as np
import pytest

from augrad.comparison.rows import TrainingRow
from augrad.comparison.verdict import judge, seeds_to_try
from trainings import training, trainings

_NOISE = (0.001, -0.001, 0.0, 0.002, -0.002)


def _around(mean: float, order: int = 1) -> tuple[float, ...]:
    return tuple(mean + noise for noise in _NOISE[::order])


@pytest.mark.parametrize(
    ("none", "random", "kind", "headline"),
    [
        (0.90, 0.93, "better", "Better than the best of the others, random (n = 5)"),
        (0.90, 0.95, "mixed", "Better than no augmentation, not shown to be better than random (n = 5)"),
        (0.90, 0.97, "mixed", "Better than no augmentation, worse than random (n = 5)"),
        (0.97, 0.93, "worse", "Not worth it: worse than no augmentation (n = 5)"),
        (0.95, 0.97, "worse", "Not worth it: worse than random (n = 5)"),
        (0.95, 0.95, "open", "No difference shown (n = 5)"),
    ],
)
def test_kinds(none: float, random: float, kind: str, headline: str):
    rows = trainings({"none": _around(none), "learned": _around(0.95, -1), "random": _around(random)})
    verdict = judge(rows)
    assert (verdict.kind, verdict.headline) == (kind, headline)


def test_the_reasons_name_the_best_none_and_the_start():
    means = {"none": 0.9, "initial": 0.92, "random": 0.91, "randaugment": 0.94, "learned": 0.95}
    verdict = judge(trainings({name: _around(mean) for name, mean in means.items()}))
    assert [reason.split(" (")[0] for reason in verdict.reasons] == [
        "+1.0 percentage points over randaugment, the best of the others",
        "+5.0 percentage points over no augmentation",
        "+3.0 percentage points over the start of the search",
        "Loss \u22120.010 against randaugment, the lowest of the others",
    ]


def test_a_lower_loss_counts_where_the_accuracy_is_the_same():
    """The most accurate of the others and the one with the lowest loss may be two."""

    def rows(ours: float, theirs: float, accuracy: float = 0.95) -> list[TrainingRow]:
        found = []
        for seed, noise in enumerate(_NOISE):
            found.append(training("none", 0.95 - noise, seed, loss=0.5))
            found.append(training("random", 0.90 + noise, seed, loss=theirs + noise))
            found.append(training("learned", accuracy + noise, seed, loss=ours - noise))
        return found

    verdict = judge(rows(0.2, 0.3))
    assert (verdict.kind, verdict.headline) == (
        "better",
        "A lower loss than the best of the others, random, and no lower accuracy (n = 5)",
    )
    lower = judge(rows(0.2, 0.3, accuracy=0.9498))
    assert (lower.kind, lower.headline) == (
        "mixed",
        "A lower loss than the best of the others, random; no difference in accuracy shown (n = 5)",
    )
    assert judge(rows(0.3, 0.2)).kind == "open"
    higher = judge(rows(0.3, 0.2, accuracy=0.98))
    assert (
        higher.headline == "More accurate than the best of the others, none, but at a higher loss than random (n = 5)"
    )
    assert judge(rows(0.2, 0.3, accuracy=0.93)).kind == "worse"


def test_better_is_better_than_each_of_the_others():
    """Also than one whose trainings vary so much that it may be as good."""
    noisy = (0.99, 0.90, 0.98, 0.88, 0.985)
    verdict = judge(trainings({"none": _around(0.945), "wild": noisy, "learned": _around(0.95, -1)}, loss=0.5))
    assert verdict.kind == "mixed"
    assert verdict.headline.startswith("Better than no augmentation, not shown to be better than")


def test_an_interval_that_leaves_out_zero_by_itself_is_explained() -> None:
    """Of several that are not far from each other, Holm's correction leaves none."""
    start = tuple(0.95 + 0.6 * noise for noise in (0.03, 0.01, 0.02, 0.035, 0.002))
    others = {name: _around(0.95) for name in ("none", "random", "randaugment")}
    verdict = judge(trainings({**others, "initial": start, "learned": (0.95,) * 5}))
    assert (verdict.kind, verdict.headline) == ("open", "No difference shown (n = 5)")
    (words,) = [reason for reason in verdict.reasons if "Holm" in reason]
    assert words.startswith("The interval against the start of the search leaves out zero by itself, but one of 4 ")
    assert words.endswith("nothing is left of it. Twice as many, 10, would tell more.")
    noisy = dict.fromkeys(others, (0.99, 0.85, 0.97, 0.88, 0.93))
    ahead = trainings({**noisy, "learned": start, "initial": (0.95,) * 5})
    assert judge(ahead).kind == "open"
    assert seeds_to_try(ahead, "learned") == 10
    plain = judge(trainings({**others, "learned": _around(0.95, -1)}))
    assert not any("Holm" in reason for reason in plain.reasons)


def test_one_seed_decides_nothing():
    verdict = judge(trainings({"none": (0.5,), "learned": (0.9,)}))
    assert (verdict.kind, verdict.headline) == ("open", "Too few seeds to tell")
    assert verdict.reasons == ("+40.0 percentage points over no augmentation (one seed, no interval).",)
    worse = judge(trainings({"none": (0.9,), "learned": (0.5,)}))
    assert worse.reasons == ("−40.0 percentage points against no augmentation (one seed, no interval).",)


def test_a_few_equal_seeds_decide_nothing():
    """They give an interval of no width, wherever it lies."""
    verdict = judge(trainings({"none": (0.7, 0.7), "learned": (0.8, 0.8)}))
    assert (verdict.kind, verdict.headline) == ("open", "Too few seeds to tell")
    words = "+10.0 percentage points over no augmentation (the same on 2 seeds, no interval). "
    assert verdict.reasons[0] == f"{words}This does not tell how much it varies; 6 seeds would."
    assert judge(trainings({"none": (0.5,) * 5, "learned": (0.6,) * 5})).kind == "open"
    assert judge(trainings({"none": (0.5,) * 6, "learned": (0.6,) * 6})).kind == "better"


def test_two_values_are_marked_and_so_is_how_many_would_do():
    verdict = judge(trainings({"none": (0.70, 0.72), "learned": (0.80, 0.75)}))
    assert "Two values only: their interval is wide, and its width itself hardly known." in verdict.reasons
    assert verdict.reasons[-1].startswith("A difference of 6.5 points would take some ")
    assert verdict.reasons[-1].endswith(" seeds to tell; these are 2.")


def test_nothing_was_learned():
    verdict = judge(trainings({"none": (0.09, 0.11, 0.10), "learned": (0.10, 0.104, 0.10)}))
    assert (verdict.kind, verdict.headline) == ("open", "Not decided: nothing was learned")
    assert "always names the commonest class (10.0%)" in verdict.reasons[0]
    assert "train.steps" in verdict.reasons[0]
    assert judge(trainings({"none": (0.90, 0.96), "learned": (0.91, 0.97)})).headline != verdict.headline
    few = trainings({"none": (0.10,) * 5, "learned": (0.1034,) * 5}, images=347)
    assert judge(few).headline == verdict.headline  # an image more than chance, on every seed


def test_trainings_that_have_not_converged():
    """The strongest and the judged one count; a poor one beside them may be unfinished."""
    rows = trainings({"none": _around(0.9), "learned": _around(0.95, -1)})
    late = trainings({"learned": _around(0.95, -1)}, train_loss=0.9, late=0.4)
    verdict = judge([*rows[:5], *late])
    assert (verdict.kind, verdict.headline) == ("open", "Not decided: trainings have not converged")
    assert "learned 0.900 against 1.000" in verdict.reasons[0]
    assert "(100)" in verdict.reasons[0]
    poor = trainings({"random": _around(0.5)}, train_loss=0.9, late=0.4)
    assert judge([*rows, *poor]).kind == "better"
    # Labels that are partly wrong, or a network that cannot do better: it was no longer learning.
    done = trainings({"none": _around(0.9), "learned": _around(0.95, -1)}, train_loss=0.95, late=0.05)
    assert judge(done).kind == "better"


@pytest.mark.parametrize(("seeds", "images"), [(2, 10), (2, 50), (3, 10), (6, 4)])
@pytest.mark.parametrize("rivals", [1, 4])
def test_equals_are_seldom_called_better(seeds: int, images: int, rivals: int):
    """A 95% interval allows 2.5%, also where accuracies of a small test set often agree to the last digit."""
    draw, repeats = np.random.default_rng(0), 150
    drawn = draw.binomial(images, 0.8, (repeats, rivals + 1, seeds)) / images
    kinds = []
    for none, *others in drawn.tolist():
        arms = {"learned": none, "none": others[0], **{str(index): other for index, other in enumerate(others[1:])}}
        kinds.append(judge(trainings(arms, images=images, loss=0.5)).kind)
    assert sum(kind == "better" for kind in kinds) <= 0.045 * repeats


@pytest.mark.parametrize("seeds", [3, 6])
def test_of_many_equals_few_are_called_worse(seeds: int):
    """Holm's correction: with eight rivals, one of 40 would be wrong by chance on every fifth comparison."""
    draw, repeats = np.random.default_rng(1), 120
    kinds = []
    for learned, *others in draw.normal(0.8, 0.01, (repeats, 9, seeds)).tolist():
        rows = trainings({"learned": learned, **{str(index): other for index, other in enumerate(others)}}, loss=0.5)
        kinds.append(judge(rows, baseline="0").kind)
    assert kinds.count("worse") <= 0.06 * repeats
    assert kinds.count("better") <= 0.045 * repeats


def test_other_seeds_decide_nothing():
    rows = [training("none", 0.5, seed) for seed in range(3)] + [training("learned", 0.9, seed) for seed in (7, 8)]
    verdict = judge(rows)
    assert verdict.headline == "Not judged on the same seeds"
    assert verdict.reasons == ("No training in common with none.",)


@pytest.mark.parametrize("arms", [{}, {"none": (0.9, 0.8)}, {"learned": (0.9, 0.8)}])
def test_nothing_to_compare(arms: dict[str, tuple[float, ...]]):
    assert judge(trainings(arms)).headline == "Not compared yet"


def test_a_policy_that_is_no_augmentation_is_told_so() -> None:
    """More seeds, which a difference of nothing would ask for, would not help."""
    same = (0.93, 0.95, 0.94)
    verdict = judge(trainings({"none": same, "random": (0.90, 0.91, 0.905), "learned": same}))
    assert (verdict.kind, verdict.headline) == ("open", "The same as no augmentation")
    assert verdict.reasons[0].startswith("learned does what no augmentation does: on every seed")
    assert not any("seeds would." in reason for reason in verdict.reasons)
    ahead = judge(trainings({"none": same, "random": (0.97, 0.981, 0.975), "learned": same}))
    assert ahead.headline.startswith("Not worth it: worse than random")
