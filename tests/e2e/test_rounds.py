"""Rounds of a search: the classifier begins anew, the policy goes on."""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import augrad
from augrad.data.digits import load_digits
from augrad.data.standard import StandardAugmentation
from augrad.hypergradients import ConjugateGradients, NoHypergradient
from augrad.models.small_conv import SmallConvNet
from augrad.objectives import Adversarial
from augrad.search import run_search
from augrad.search.begin import begin_search
from augrad.settings import SearchSettings, round_of, warmup_of

DATA = load_digits(train_size=120, validation_size=60, selection_size=60)
MODEL = partial(SmallConvNet, width=8)
GIVEN: dict[str, Any] = {"batch_size": 32, "validation_batch_size": 32, "select_every": 1, "log_every": 1, "seed": 2}


def policies_of(**settings: Any) -> tuple[augrad.SearchResult, list[Any]]:
    result = augrad.learn(DATA, MODEL, policy=augrad.Policy.over(["identity", "rotate", "invert"]), **GIVEN, **settings)
    return result, list(result.metrics)


def test_lengths() -> None:
    assert round_of(SearchSettings(steps=10, rounds=3)) == 4
    assert warmup_of(SearchSettings(steps=1000, warmup_steps=100)) == 100
    assert warmup_of(SearchSettings(steps=100, rounds=2, warmup_steps=100)) == 10
    assert warmup_of(SearchSettings(steps=100, warmup_steps=100, warmup_share=0.75)) == 75
    assert all(warmup_of(SearchSettings(steps=n, warmup_steps=n)) == n // 5 for n in range(1, 500))


def test_each_round_has_the_whole_schedule_a_warm_up_and_a_classifier_that_knows_nothing() -> None:
    _, rows = policies_of(steps=30, rounds=3, warmup_steps=2)
    rates = [row["learning_rate"] for row in rows]
    assert rates[:10] == rates[10:20] == rates[20:]
    assert rates[0] > rates[9]
    losses = torch.tensor([row["selection_loss"] for row in rows]).view(3, 10)
    assert (losses[1:, 0] > losses[:-1, -1] + 0.01).all()  # what had been learned is gone
    assert losses[0, 0] != losses[1, 0] != losses[2, 0]  # and the new ones are others
    moves = torch.tensor([row["regularizer_gradient_norm"] for row in rows]).view(3, 10) > 0
    assert not moves[:, :2].any()
    assert moves[:, 2:].all()


def test_a_restart_forgets_the_network_and_its_optimiser_and_nothing_else() -> None:
    given: dict[str, Any] = {"objective": Adversarial(), "hypergradient": NoHypergradient()}
    state, parts = begin_search(
        DATA,
        MODEL,
        policy=augrad.Policy.over(["identity", "rotate"]),
        estimator=augrad.estimators.Reinforce(),
        regularizers=(),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        policy_optimizer=partial(torch.optim.Adam, lr=0.1),
        standard=StandardAugmentation(),
        settings=SearchSettings(steps=4, batch_size=32, validation_batch_size=32, warmup_steps=0),
        seed=0,
        device=torch.device("cpu"),
        **given,
    )

    class Silent:
        def rows(self, rows: Any) -> None: ...
        def checkpoint(self, state: Any) -> None: ...
        def interrupted(self) -> bool:
            return False

    assert run_search(state, parts, Silent())
    before = deepcopy(state.state_dict())
    assert state.companion is not None
    assert len(state.optimizer.state) > 0
    state.restart(parts)
    assert len(state.optimizer.state) == 0
    assert state.optimizer.param_groups[0]["lr"] == before["optimizer"]["param_groups"][0]["lr"]
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(state.companion.state_dict()[name], tensor)  # a teacher begins as its classifier
    old, new = before["model"], state.model.state_dict()
    assert not any(torch.equal(old[name], new[name]) for name in old if name.endswith("weight") and old[name].dim() > 1)
    after = state.state_dict()
    for name in ("policy", "average", "best_params"):
        assert all(torch.equal(before[name][key], after[name][key]) for key in before[name]), name
    assert len(after["policy_optimizer"]["state"]) == len(before["policy_optimizer"]["state"]) > 0
    assert torch.equal(before["generator"], after["generator"])


def test_a_single_round_is_what_it_was_without_rounds() -> None:
    one, _ = policies_of(steps=6, warmup_steps=1, rounds=1)
    other, _ = policies_of(steps=6, warmup_steps=1)
    for first, second in zip(one.policy.params.tensors(), other.policy.params.tensors(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("part", [{}, {"hypergradient": ConjugateGradients()}, {"objective": Adversarial()}])
@pytest.mark.parametrize("stop", [3, 5, 6])
def test_a_search_that_is_resumed_in_any_round_is_the_one_that_was_not(
    part: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    settings = {"steps": 8, "rounds": 2, "warmup_steps": 0, "checkpoint_every": 1, **part}
    if "objective" in part:
        settings |= {"hypergradient": None, "estimator": augrad.estimators.Reinforce()}
    whole, rows = policies_of(**settings)
    file = tmp_path / "checkpoint.pt"
    policies_of(**settings, checkpoint=file, callback=lambda row: row["step"] >= stop)
    resumed, later = policies_of(**settings, checkpoint=file)
    for first, second in zip(whole.policy.params.tensors(), resumed.policy.params.tensors(), strict=True):
        assert torch.equal(first, second)
    assert later[-1]["selection_loss"] == rows[-1]["selection_loss"]
