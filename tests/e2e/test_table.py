"""Every estimator with every hypergradient method and every objective: a step is taken, or the reason told."""

import functools
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from augrad import UserError
from augrad.cli.configs import config_directory
from augrad.cli.parts import search_arguments
from augrad.data.digits import load_digits
from augrad.data.types import Splits
from augrad.hypergradients.none import NoHypergradient
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.search import Row, SearchParts, SearchState, begin_search, run_search

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ESTIMATORS, HYPERGRADIENTS, OBJECTIVES = (
    sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
    for group in ("estimator", "hypergradient", "objective")
)
OWN = {"whole_training", "persistent_training"}  # with an estimate of its own: in tests/e2e/test_population.py
OBJECTIVES = [name for name in OBJECTIVES if name not in OWN]
ESTIMATORS.remove("none")
SMALL = (
    "search.batch_size=16",
    "search.validation_batch_size=16",
    "search.steps=2",
    "search.warmup_steps=0",
    "search.select_every=2",
    "model.width=8",
    "space=rotation",
    "+space.ops.invert={}",
    "policy.stages=2",
)

ONE_LEVEL, TWO_LEVELS = "there is nothing that a hypergradient method could follow", "takes a hypergradient method"
NO_IMAGE_GRADIENT = "has no gradient with respect to the images"


def refusal(objective: str, hypergradient: str) -> str | None:
    """Why the two do not go together. Every estimator goes with everything."""
    if objective == "bilevel":
        return TWO_LEVELS if hypergradient == "none" else None
    return None if hypergradient == "none" else ONE_LEVEL


@functools.cache
def digits() -> Splits:
    return load_digits(train_size=64, validation_size=32, selection_size=16)


class Rows:
    """An observer that keeps the rows."""

    def __init__(self) -> None:
        self.kept: list[Row] = []

    def rows(self, rows: list[Row]) -> None:
        self.kept += rows

    def checkpoint(self, state: dict[str, Any]) -> None:
        pass

    def interrupted(self) -> bool:
        return False


@functools.cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return compose("search", [*SMALL, *overrides])


def begun(objective: str, hypergradient: str, estimator: str, *more: str) -> tuple[SearchState, SearchParts]:
    """A search before its first step. Each argument is an override."""
    config = composed(objective, *more)
    others = {
        "estimator": instantiate(composed(estimator).estimator),
        "hypergradient": instantiate(composed(hypergradient).hypergradient),
    }
    return begin_search(digits(), device=torch.device("cpu"), **{**search_arguments(config), **others})


def searched(
    objective: str, hypergradient: str, estimator: str, *more: str
) -> tuple[SearchState, list[Row], dict[str, Tensor]]:
    """Two steps: the state, its rows, and the policy as it was before. Each argument is an override."""
    (state, parts), rows = begun(objective, hypergradient, estimator, *more), Rows()
    start = {name: parameter.detach().clone() for name, parameter in state.policy.named_parameters()}
    assert run_search(state, parts, rows)
    return state, rows.kept, start


@pytest.mark.parametrize(
    ("objective", "hypergradient", "estimator"), list(product(OBJECTIVES, HYPERGRADIENTS, ESTIMATORS))
)
def test_cell(objective: str, hypergradient: str, estimator: str) -> None:
    cell = f"objective={objective}", f"hypergradient={hypergradient}", f"estimator={estimator}"
    reason = refusal(objective, hypergradient)
    if reason is not None:
        with pytest.raises(UserError, match=reason):
            searched(*cell)
        return
    state, rows, start = searched(*cell)
    assert [row["step"] for row in rows] == [1, 2]
    # At the first step a teacher is the classifier itself: nothing to gain yet.
    assert float(rows[1]["policy_gradient_norm/op_logits"] or 0) > 0
    assert all(float(row["gradient_norm"] or 0) > 0 for row in rows)
    for group in ("op_logits", "gate_logits", "magnitude_locations"):
        found = getattr(state.policy, group).detach()
        assert found.isfinite().all()
        assert not torch.equal(found, start[group]), group
    assert state.best_step == 2


DEFAULT = ("objective=bilevel", "hypergradient=one_step", "estimator=gumbel")
GOING_ON = [
    *[(*DEFAULT[:2], f"estimator={estimator}") for estimator in ESTIMATORS],
    ("objective=bilevel", "hypergradient=cg", "estimator=gumbel"),
    ("objective=density_matching", "hypergradient=none", "estimator=gumbel"),
    ("objective=adversarial", "hypergradient=none", "estimator=reinforce", "objective.teacher_decay=0.9"),
    *[(*DEFAULT, f"search.optimizer._target_=torch.optim.{name}", "~search.optimizer.nesterov",
       "~search.optimizer.momentum") for name in ("SGD", "Adam", "AdamW")],
    (*DEFAULT, "search.policy_optimizer._target_=torch.optim.SGD", "~search.policy_optimizer.betas"),
    (*DEFAULT, "search.warmup_steps=2"),
    (*DEFAULT, "search.select_every=3", "search.steps=4"),
    (*DEFAULT, "policy.learn=[]"),
    (*DEFAULT, "policy.learn=[ops]", "+search.policy_rates={op_logits: 2.0}"),
    (*DEFAULT, "search.normalize=false", "search.schedule=constant"),
]  # fmt: skip


@pytest.mark.parametrize("cell", GOING_ON, ids=" ".join)
def test_what_a_search_saves_fits_one_that_begins(cell: tuple[str, ...], tmp_path: Path) -> None:
    """At every step from the first to the last, and bit by bit."""
    state, parts = begun(*cell)
    for until in range(parts.settings.steps + 1):
        run_search(state, parts, Rows(), until)
        save_checkpoint(tmp_path / "checkpoint.pt", state.state_dict())
        other, _ = begun(*cell)
        other.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
        kept = torch.utils._pytree.tree_leaves(state.state_dict())
        for one, two in zip(kept, torch.utils._pytree.tree_leaves(other.state_dict()), strict=True):
            assert torch.equal(one, two) if isinstance(one, Tensor) else one == two


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_plain_passes_give_no_image_gradient(estimator: str) -> None:
    """The one setting that estimators cannot all live with: those that differentiate the scalar say so."""
    cell = "objective.derivative=finite_difference", "hypergradient=one_step", f"estimator={estimator}"
    if estimator in ("mixture", "rebar"):
        with pytest.raises(UserError, match=NO_IMAGE_GRADIENT):
            searched(*cell)
    else:
        assert len(searched(*cell)[1]) == 2


def test_the_default_hypergradient_steps_aside() -> None:
    """`objective=...` alone is enough."""
    for objective in ("density_matching", "adversarial"):
        assert instantiate(composed(f"objective={objective}").hypergradient) == NoHypergradient()


LONGER = ("search.steps=120", "search.batch_size=64", "policy.stages=1", "+space.ops.identity={}", "~space.ops.rotate")


def masses(op: str, *overrides: str) -> tuple[float, float]:
    """Of an operation, at the first and at the last step."""
    _, rows, _ = searched(overrides[0], "hypergradient=none", "estimator=reinforce", *LONGER, *overrides[1:])
    first, last = (float(row[f"mass/{op}"] or 0) for row in (rows[0], rows[-1]))
    return first, last


def test_density_matching_drops_what_no_real_image_looks_like() -> None:
    """There are no inverted digits among the real ones."""
    before, after = masses("invert", "objective=density_matching", "model.width=16")
    assert after < 0.2 * before


def test_the_adversary_goes_to_extremes_and_a_teacher_holds_it_back() -> None:
    """Black images are the hardest: alone, the adversary makes nothing else. The teacher cannot read them either."""
    black = "+space.ops.brightness={low: -1.0, high: -1.0, signed: false}", "~space.ops.invert"
    adversary = "objective=adversarial", *black, "objective.teacher_decay=0.9"
    before, alone = masses("brightness", *adversary, "objective.teacher_weight=0.0")
    _, taught = masses("brightness", *adversary, "objective.teacher_weight=3.0")
    assert alone > 0.9
    assert taught < 0.5 * before
