"""A recipe beside another option of a group than its own: that option has its own settings, and the line's."""

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig


@pytest.fixture
def taken(augrad, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The configuration with which a command begins, in place of the command."""
    found: list[DictConfig] = []
    for name in ("search._search_in", "train._train_in", "compare._compare_in"):
        monkeypatch.setattr(f"augrad.cli.{name}", lambda config, *rest: found.append(config) or 0.0)

    def take(command: str, *overrides: str) -> DictConfig:
        done = augrad(command, *overrides)
        assert done.returncode == 0, done.stderr
        return found[-1]

    return take


@pytest.mark.parametrize(
    ("recipe", "group", "option"),
    [
        ("dada", "estimator", "reinforce"),
        ("dada", "estimator", "gumbel"),  # which has a temperature, too
        ("dada", "policy", "default"),
        ("madao", "hypergradient", "t1t2"),
        ("ddas", "policy", "pairs"),
        ("adversarial_autoaugment", "objective", "bilevel"),
        ("recover_translation", "objective", "density_matching"),
    ],
)
def test_another_option_has_its_own_settings(taken, recipe: str, group: str, option: str) -> None:
    found, plain = taken("search", f"experiment={recipe}", f"{group}={option}"), taken("search", f"{group}={option}")
    assert found[group] == plain[group]
    alone = taken("search", f"experiment={recipe}")
    assert found[group] != alone[group]
    assert found.search == alone.search


@pytest.mark.parametrize("command", ["search", "train", "compare"])
def test_settings_of_the_line_hold_for_it(taken, command: str) -> None:
    line = ["experiment=recover_translation", "estimator=gumbel", "objective=density_matching"]
    found = taken(command, *line, "objective.class_weight=0.5", "data.planted.low=-0.5", "seed=3")
    assert (found.objective.class_weight, found.objective.penalty_weight) == (0.5, 10.0)
    assert (found.data.planted.low, found.data.planted.high, found.seed) == (-0.5, 0.25, 3)
    assert "draws" not in found.objective


def test_the_recipes_own_option_keeps_its_settings(taken) -> None:
    found = taken("search", "experiment=dada", "estimator=relax", "policy=pairs", "policy.level=0.25")
    assert (found.estimator.temperature, found.policy.scale, found.policy.level) == (0.5, 0.5, 0.25)


def test_a_setting_that_only_the_recipes_option_has_is_refused(augrad) -> None:
    done = augrad("search", "experiment=dada", "estimator=reinforce", "estimator.hidden=3")
    assert done.returncode == 2
    assert "the chosen option of estimator has no hidden; it belongs to estimator=relax" in done.stderr
