"""A search from any file that `load_policy` takes: what it fixes stays to the last bit, the rest is learned."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

import augrad as library
from augrad import Policy
from augrad.cli.configs import config_directory
from augrad.cli.parts import search_arguments
from augrad.data.digits import load_digits
from augrad.data.types import Splits
from augrad.errors import NonFiniteError
from augrad.policy.learnable import learnable
from augrad.policy_file.convert import document_of
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.search import Row, SearchParts, SearchState, begin_search, run_search
from odd_policies import ODD, brightness, document, invert, policy_of, rotate

DECAY = "+search.policy_optimizer.weight_decay=0.1"
ESTIMATORS = ("gumbel", "reinforce", "relax", "rebar", "mixture", "enumerate")
MIXED = document(
    [
        {"weight": 0.0, "stages": [[invert(probability=1.0)]]},
        {
            "weight": 0.6,
            "stages": [
                [rotate(weight=0.5, probability=1.0), invert(weight=0.5), brightness(weight=0.0)],
                [rotate(weight=0.5, magnitude={"value": 15}), {"op": "identity", "weight": 0.5}],
            ],
        },
        {"weight": 0.4, "stages": [[rotate(magnitude={"low": 0, "high": 20})]]},
    ]
)
"""A bit of everything that can be fixed, and of everything that can be learned."""


@functools.cache
def digits() -> Splits:
    return load_digits(train_size=64, validation_size=32, selection_size=16)


class Kept:
    """An observer that keeps rows and the last checkpoint."""

    def __init__(self) -> None:
        self.kept: list[Row] = []
        self.last: dict[str, Any] = {}

    def rows(self, rows: list[Row]) -> None:
        self.kept += rows

    def checkpoint(self, state: dict[str, Any]) -> None:
        self.last = state

    def interrupted(self) -> bool:
        return False


SMALL = (
    "search.batch_size=16",
    "search.validation_batch_size=16",
    "search.steps=3",
    "search.warmup_steps=0",
    "search.log_every=1",
    "search.select_every=3",
    "model.width=8",
    "hypergradient=none",
    "objective=adversarial",  # the cheapest step
)


@functools.cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return compose("search", [*SMALL, *overrides])


def started(policy: Policy | None, *overrides: str) -> tuple[SearchState, SearchParts]:
    """A search from `policy`, or from the one that the overrides make."""
    arguments = search_arguments(composed(*overrides))
    start = {} if policy is None else {"policy": policy}
    return begin_search(digits(), device=torch.device("cpu"), **{**arguments, **start})


def values(policy: Policy) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}


def searched(policy: Policy, *overrides: str) -> dict[str, bool]:
    """Three steps; whether each group moved. What is fixed must be as it was, and the policy go into a file."""
    before, moves = values(policy), learnable(policy)
    fixed_entries = _fixed_entries(policy)
    state, parts = started(policy, *overrides)
    observer = Kept()
    assert run_search(state, parts, observer)
    after = values(state.policy)
    for name, mask in moves.items():
        assert torch.equal(after[name][~mask], before[name][~mask]), name
        assert not after[name].isnan().any(), name
    assert _fixed_entries(state.best_policy()) == fixed_entries
    return {name: not torch.equal(after[name][mask], before[name][mask]) for name, mask in moves.items()}


def _fixed_entries(policy: Policy) -> list[Any]:
    """What the document says that no search may change."""
    content = document_of(policy).model_dump()
    entries = [e for sub in content["subpolicies"] for stage in sub["stages"] for e in stage]
    magnitudes = [e["magnitude"] for e in entries if not (e["magnitude"] and "scale" in e["magnitude"])]
    probabilities = [(i, e["probability"]) for i, e in enumerate(entries) if e["probability"] in (0.0, 1.0)]
    weights = [(i, e["weight"]) for i, e in enumerate(entries) if e["weight"] in (0.0, 1.0)]
    dead = [i for i, sub in enumerate(content["subpolicies"]) if sub["weight"] in (0.0, 1.0)]
    return [magnitudes, probabilities, weights, dead]


@pytest.mark.parametrize("name", [name for name in ODD if name not in ("no scale", "up to a fixed end")])
def test_every_odd_file(name: str) -> None:
    policy = policy_of(ODD[name])
    moved = searched(policy, DECAY)
    assert any(moved.values()) == any(bool(mask.any()) for mask in learnable(policy).values())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_learns_what_is_left_to_learn(estimator: str) -> None:
    moved = searched(policy_of(MIXED), f"estimator={estimator}")
    assert moved["op_logits"]
    assert moved["gate_logits"]
    assert moved["magnitude_locations"]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ODD)
def test_every_estimator_with_every_odd_file(name: str, estimator: str) -> None:
    if name in ("no scale", "up to a fixed end"):  # written as the point that they are
        pytest.skip("the location is learned along a path")
    searched(policy_of(ODD[name]), f"estimator={estimator}")


@pytest.mark.parametrize(
    "settings",
    [
        ("search.policy_optimizer._target_=torch.optim.SGD", "~search.policy_optimizer.betas", DECAY),
        ("search.policy_optimizer._target_=torch.optim.AdamW", DECAY),
        ("search.normalize=false", "+search.policy_rates={gate_logits: 3.0}", "search.select=last"),
        ("search.regularizers.strength_reward.weight=1.0", "search.regularizers.identity_prior.weight=1.0"),
        ("search.regularizers.selection_entropy.weight=1.0", "search.regularizers.selection_entropy.floor=0.5"),
        ("objective=density_matching",),
        ("objective=bilevel", "hypergradient=one_step"),
        ("objective=bilevel", "hypergradient=one_step", "objective.derivative=shared_difference"),
        ("objective=bilevel", "hypergradient=one_step", "estimator=relax", "objective.derivative=shared_difference"),
    ],
    ids=" ".join,
)
def test_every_optimiser_term_and_objective(settings: tuple[str, ...]) -> None:
    assert any(searched(policy_of(MIXED), *settings).values())


def test_a_search_that_is_taken_up_again_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = started(policy_of(MIXED))
    run_search(whole, parts, Kept())
    first, parts = started(policy_of(MIXED))
    observer = Kept()
    run_search(first, parts, observer, until=1)
    save_checkpoint(tmp_path / "checkpoint.pt", observer.last)
    again, parts = started(policy_of(MIXED))
    again.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
    run_search(again, parts, Kept())
    for name, value in values(whole.policy).items():
        assert torch.equal(value, values(again.policy)[name]), name


@pytest.mark.parametrize("magnitude", ["point", "uniform", "logit_normal"])
@pytest.mark.parametrize("estimator", ["gumbel", "mixture"])
def test_every_group_of_every_kind_of_magnitude(magnitude: str, estimator: str) -> None:
    """`policy.magnitude=point` has no scale to learn; everything else moves."""
    everything = "policy.learn=[subpolicies,ops,gates,magnitudes,magnitude_scales]"
    start, _ = started(None, f"policy.magnitude={magnitude}", everything, "policy.subpolicies=2")
    state, parts = started(None, f"policy.magnitude={magnitude}", everything, "policy.subpolicies=2",
                           f"estimator={estimator}", DECAY)  # fmt: skip
    assert run_search(state, parts, Kept())
    before, after = values(start.policy), values(state.policy)
    assert not any(bool(tensor.isnan().any()) for tensor in after.values())
    assert torch.equal(before["magnitude_log_scales"], after["magnitude_log_scales"]) == (magnitude == "point")
    assert all(not torch.equal(before[name], after[name]) for name in ("op_logits", "gate_logits"))
    document_of(state.policy)


def test_a_policy_that_is_no_number_stops_the_search() -> None:
    """Whatever made it so: the metrics do not show every parameter, and files and pictures come of them."""
    state, parts = started(policy_of(MIXED))
    before = values(state.policy)

    class Spoils(Kept):
        def interrupted(self) -> bool:
            with torch.no_grad():
                state.policy.magnitude_log_scales[1, 1, 0] = torch.nan
            return False

    with pytest.raises(NonFiniteError, match="step 1: policy/magnitude_log_scales is nan"):
        run_search(state, parts, Spoils())
    assert all(torch.equal(value, before[name]) for name, value in values(state.policy).items())


# --- by command ------------------------------------------------------------------------------------------------------


def test_search_train_and_compare_from_a_file(augrad, small, tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(json.dumps(MIXED))
    given = "policy=file", "policy.file=start.json", "compare.seeds=1"
    done = augrad("search", *small, *given, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "nothing of this policy" not in done.stderr
    start, learned = library.load_policy("start.json"), library.load_policy("out/policy.json")
    assert _fixed_entries(learned) == _fixed_entries(start)
    moves = learnable(start)
    assert not torch.equal(learned.gate_logits[moves["gate_logits"]], start.gate_logits[moves["gate_logits"]])
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert all(value is None or value == value for row in rows for value in row.values())
    assert (tmp_path / "out" / "report.html").exists()
    recipe = [item for item in small if not item.startswith(("search.", "choose."))]
    done = augrad("compare", *recipe, "policies=[start.json,out/policy.json]", "seeds=1", "hydra.run.dir=judged")
    assert done.returncode == 0, done.stderr
    done = augrad("train", *recipe, "policy.file=out/policy.json", "hydra.run.dir=trained")
    assert done.returncode == 0, done.stderr


def test_a_search_with_nothing_to_learn_says_so_and_is_a_control(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, "policy=file", "policy.file=identity", "compare=null", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "nothing of this policy can be learned" in done.stderr
    assert document_of(library.load_policy("out/policy.json"), {}) == document_of(library.load_policy("identity"), {})


@pytest.mark.slow
def test_a_policy_that_no_file_can_hold_is_refused_before_the_search(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, "policy.subpolicies=10001", "compare=null", "hydra.run.dir=out")
    assert done.returncode == 2
    assert "policy.subpolicies: expected at most 10000, got 10001" in done.stderr
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
