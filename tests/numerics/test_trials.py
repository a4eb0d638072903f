"""The measures of experiments/trials on made-up outcomes, and the data of its trials. No search is run."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import compose, initialize_config_dir

from augrad import Policy
from augrad.cli.building import built
from augrad.cli.configs import config_directory
from augrad.comparison.rows import TrainingRow
from augrad.data.arrays import load_arrays

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield tuple(importlib.import_module(f"experiments.trials.{name}") for name in ("measures", "cases", "trials"))


@pytest.fixture(scope="module")
def measures(modules) -> ModuleType:
    return modules[0]


@pytest.fixture(scope="module")
def cases(modules) -> ModuleType:
    return modules[1]


@pytest.fixture(scope="module")
def trials(modules) -> ModuleType:
    return modules[2]


def row(policy: str, seed: int, split: int, accuracy: float, loss: float) -> TrainingRow:
    search = split if policy == "learned" else None
    numbers = {"calibration_error": 0.1, "diversity": 0.1, "train_loss": 0.1, "held_out_loss": 0.1, "late": 0.1}
    return TrainingRow(
        policy, search, split, seed, accuracy, loss, 10, 1.0, **numbers, images=1000, chance=0.1, digest=""
    )


def compared(measures, gains: list[float], losses: list[float], rival: str = "initial") -> list:
    """An outcome for each gain in accuracy and in loss over a rival at 0.9 and 0.3."""
    return [
        measures.Outcome(
            split,
            rows=[
                row(name, seed, split, 0.9 + 0.001 * seed + own * gain, 0.3 + own * worse)
                for seed in (0, 1)
                for name, own in ((rival, 0), ("learned", 1))
            ],
        )
        for split, (gain, worse) in enumerate(zip(gains, losses, strict=True))
    ]


def test_what_a_policy_leaves_alone(measures) -> None:
    """In both stages the identity, or a gate that is closed one time in four: (1/2 + 1/2 * 1/4) squared."""
    policy = Policy.over({"identity": None, "invert": None}, stages=2, probability=0.75)
    assert measures.left_alone(policy) == pytest.approx((1 - 0.375) ** 2)
    images = torch.rand(20_000, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4
    same = (policy(images, generator=torch.Generator().manual_seed(1)) == images).flatten(1).all(1)
    # An image that is inverted twice is as it was, but for rounding.
    assert float(same.float().mean()) == pytest.approx((1 - 0.375) ** 2, abs=0.02)
    assert measures.shares_of(policy) == pytest.approx({"invert": 0.375, "identity": 0.625})
    without = Policy.over({"invert": None}, probability=0.75)
    assert measures.shares_of(without) == pytest.approx({"invert": 0.75, "identity": 0.25})
    assert measures.left_alone(without) == pytest.approx(0.25)


def test_the_bar_of_what_is_left_alone_is_held_on_each_seed(measures) -> None:
    values = measures.leaves_alone(0.9)([measures.Outcome(seed, alone=alone) for seed, alone in ((0, 0.95), (1, 0.89))])
    assert [(value.words, value.passed) for value in values] == [("0.95", True), ("0.89", False)]


def test_planted_operations_are_found_where_each_has_more_than_any_other(measures) -> None:
    def passed(shares: dict[str, float], *planted: str) -> bool:
        (value,) = measures.finds(*planted)([measures.Outcome(0, shares=shares)])
        return value.passed

    assert passed({"rotate": 0.3, "brightness": 0.2, "cutout": 0.1, "identity": 0.4}, "rotate", "brightness")
    assert not passed({"rotate": 0.5, "brightness": 0.1, "cutout": 0.2, "identity": 0.2}, "rotate", "brightness")
    assert passed({"rotate": 0.1, "identity": 0.9}, "rotate")
    assert not passed({"identity": 1.0}, "rotate")  # no augmentation was exported


def test_the_distance_to_the_last_steps(measures) -> None:
    late = measures.mean_shares([{"mass/rotate": 0.2, "mass/invert": 0.1}, {"mass/rotate": 0.4, "mass/invert": 0.1}])
    assert late == pytest.approx({"rotate": 0.3, "invert": 0.1, "identity": 0.6})
    assert measures.total_variation({"identity": 1.0}, late) == pytest.approx(0.4)
    near, far = {"rotate": 0.34, "invert": 0.1, "identity": 0.56}, {"rotate": 0.36, "invert": 0.1, "identity": 0.54}
    values = measures.settles(0.05)([measures.Outcome(0, shares=shares, late=late) for shares in (near, far)])
    assert [value.passed for value in values] == [True, False]


@pytest.mark.parametrize(
    ("gains", "losses", "passed"),
    [
        ([0.01, 0.012, 0.011], [-0.02, -0.021, -0.02], True),
        ([0.02, -0.03, 0.005], [0.02, -0.03, 0.01], True),
        ([-0.02, -0.021, -0.022], [0.0, 0.01, -0.01], False),
        ([0.0, 0.01, -0.01], [0.05, 0.051, 0.052], False),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], True),
    ],
)
def test_below_the_start_is_what_the_interval_over_searches_says(measures, gains, losses, passed) -> None:
    (value,) = measures.not_below_the_start()(compared(measures, gains, losses))
    assert value.passed is passed
    if any(gains):
        assert "n =" not in value.words
        assert value.words.startswith(
            measures.points(
                measures.difference(
                    [one for outcome in compared(measures, gains, losses) for one in outcome.rows],
                    "learned",
                    "initial",
                    "accuracy",
                ).interval
            )
        )


def test_the_gap_that_is_closed(measures) -> None:
    def closed(none: float, true: float, learned: float):
        rows = [
            row(name, 0, 0, value, 0.1) for name, value in (("none", none), ("rotation", true), ("learned", learned))
        ]
        (value,) = measures.closes_the_gap("rotation", 0.9)([measures.Outcome(0, rows=rows)])
        return value

    assert closed(0.6, 0.8, 0.79) == ("95%", True)
    assert closed(0.6, 0.8, 0.7) == ("50%", False)
    assert not closed(0.8, 0.8, 0.9).passed


def test_a_search_that_did_not_end_has_not_passed(measures, trials) -> None:
    broken = measures.Outcome(1, error="status 1")
    values = measures.leaves_alone(0.9)([measures.Outcome(0, alone=1.0), broken])
    assert [value.passed for value in values] == [True, False]
    whole = measures.not_below_the_start()([*compared(measures, [0.01, 0.012], [-0.02, -0.021]), broken])
    assert [value.passed for value in whole] == [True, False]
    assert [value.passed for value in measures.finds("rotate")([broken, broken])] == [False, False]


def test_the_verdict_says_how_many(measures, trials) -> None:
    yes, no = measures.Value("", True), measures.Value("", False)
    assert [trials.verdict(values) for values in ([yes, yes], [yes, no], [yes], [no])] == [
        "yes (2 of 2)",
        "**no** (1 of 2)",
        "yes",
        "**no**",
    ]


def test_the_page_is_made_of_what_lies_beside_it(measures, trials, tmp_path: Path) -> None:
    trial = next(trial for trial in trials.TRIALS if trial.name == "few_images")
    outcomes = compared(measures, [-0.02, -0.021, -0.022], [0.0, 0.01, -0.01])
    trials.write_kept(tmp_path, trial, outcomes, "Command: this.")
    page = trials.page_of(tmp_path)
    assert [line for line in page.splitlines() if line.startswith("| few")] == trials.lines_of(trial, outcomes)
    assert "**no**" in page
    assert "Command: this." in page
    assert "`gap_mnist_rotation`: not run yet; it needs `--mnist`" in page
    assert "`harmful`: not run yet" in page


def test_every_trial_is_a_search_that_can_be_composed(cases) -> None:
    assert len({trial.name for trial in cases.TRIALS}) == len(cases.TRIALS)
    with initialize_config_dir(config_directory(), version_base="1.3"):
        searches = [compose("search", [*trial.overrides, *trial.search]) for trial in cases.TRIALS]
        for overrides in {(*trial.overrides, *trial.recipe) for trial in cases.TRIALS if trial.against}:
            compose("compare", list(overrides))
    for config in searches:
        ops = {op.name for op in built(config.policy, "policy")(space=built(config.space, "space"), seed=0).ops}
        assert {"rotate", "identity"} <= ops


def test_the_data_of_the_trials(cases, trials, tmp_path: Path) -> None:
    digits = cases.load_digits(seed=3)
    found = {}
    for name in ("wrong_labels", "imbalanced", "pairs_of_digits"):
        path = tmp_path / f"{name}.npz"
        trials.write_images(path, getattr(cases, name)(3, None))
        found[name] = load_arrays(path, seed=3)
    wrong = cases.wrong_labels(3, None)
    assert int((wrong["train"].labels != digits.train.labels).sum()) == 200
    assert torch.equal(wrong["test"].labels, digits.test.labels)
    for part in ("train", "validation", "selection"):
        counts = getattr(found["imbalanced"], part).labels.bincount().sort().values
        assert counts[4] * 6 <= counts[5], part
    assert found["imbalanced"].test.labels.bincount().min() > 30
    pairs = found["pairs_of_digits"]
    assert (pairs.class_count, pairs.image_shape) == (100, (1, 16, 32))
    assert pairs.train.labels.bincount().tolist() == [5] * 100
    left = next(index for index, label in enumerate(pairs.test.labels.tolist()) if label == 37)
    halves = [pairs.test.images[left, :, :, side] for side in (slice(16), slice(16, 32))]
    own = [digits.test.labels[(digits.test.images == half).flatten(1).all(1)].tolist() for half in halves]
    assert own == [[3], [7]]
