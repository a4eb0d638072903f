"""What is certain stays so: under averages of parameters, under an optimiser of one's own, in files and state_dicts."""

import copy
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

import augrad
from augrad import Policy, UserError
from augrad.ops.space import make_space
from augrad.policy.heaviest import heaviest
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.policy.learnable import learnable
from augrad.policy.slots import Slot, grid_of
from odd_policies import ODD, policy_of

AVERAGES: dict[str, dict[str, Any]] = {
    "equal": {},
    "moving": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "moving, one by one": {"avg_fn": get_ema_avg_fn(0.9)},
}


def draw(policy: Policy) -> augrad.PolicySample:
    return policy.sample(64, generator=torch.Generator().manual_seed(0))


def assert_draws_alike(one: Policy, other: Policy) -> None:
    for name, values in vars(draw(one)).items():
        if isinstance(values, Tensor) and name != "latent":  # infinite where infinity was set by hand
            assert torch.equal(values, getattr(draw(other), name)), name


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES)
def test_the_average_of_a_policy_that_does_not_move_is_the_policy(average: dict[str, Any], buffers: bool) -> None:
    for name, content in ODD.items():
        model = nn.Sequential(policy_of(content), nn.BatchNorm2d(3))
        averaged = AveragedModel(model, use_buffers=buffers, **average)
        for _ in range(4):
            averaged.update_parameters(model)
        kept = averaged.module[0]
        moves = learnable(model[0])
        for group, values in vars(model[0].params).items():
            found = getattr(kept, group)
            assert torch.equal(found[~moves[group]], values[~moves[group]]), f"{name}: {group}"
            torch.testing.assert_close(found, values)
        assert all(torch.equal(mask, learnable(kept)[group]) for group, mask in moves.items()), name


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.1, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
def test_weight_decay_of_an_optimiser_of_ones_own_leaves_certain_things_certain(make: Any) -> None:
    space = make_space({"rotate": None, "color": None})
    always, never = (initial_policy(space, probability=one, magnitude="point") for one in (1.0, 0.0))
    for policy, probability in ((always, 1.0), (never, 0.0)):
        fixed = {name: ~mask for name, mask in learnable(policy).items()}
        optimizer, before = make(policy.parameters()), draw(policy)
        policy.requires_grad_(True)
        for _ in range(300):
            policy.zero_grad()
            for parameter in policy.parameters():  # nothing but the decay moves anything
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        assert (policy.gate_probabilities() == probability).all()
        assert torch.equal(draw(policy).magnitude, before.magnitude)
        assert all(bool(parameter.isfinite().all()) for parameter in policy.parameters())
        for name, mask in learnable(policy).items():
            assert torch.equal(~mask, fixed[name]), name


def test_infinities_of_older_state_dicts_are_read() -> None:
    """And those that are set by hand are certain, too."""
    for content in ODD.values():
        policy = policy_of(content)
        older = {
            name: torch.where(values.abs() > 1e20, values.sign() * math.inf, values)
            for name, values in policy.state_dict().items()
        }
        loaded, by_hand = policy_of(content), policy_of(content)
        loaded.load_state_dict(older)
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                parameter.copy_(older[name])
        for other in (loaded, by_hand, policy_of(content).with_params(by_hand.params)):
            assert_draws_alike(policy, other)
            assert all(torch.equal(mask, learnable(other)[group]) for group, mask in learnable(policy).items())
        assert all(bool(parameter.isfinite().all()) for parameter in loaded.parameters())


def test_certain_things_come_back_from_files(tmp_path: Path) -> None:
    policy = initial_policy(make_space({"rotate": None, "identity": None}), probability=1.0, magnitude="point")
    averaged = AveragedModel(policy)
    for _ in range(3):
        averaged.update_parameters(policy)
    augrad.save_policy(averaged.module, tmp_path / "policy.json")
    loaded = augrad.load_policy(tmp_path / "policy.json")
    assert (loaded.gate_probabilities() == 1).all()
    assert torch.equal(draw(loaded).magnitude, draw(policy).magnitude)
    file = io.BytesIO()
    torch.save(policy.state_dict(), file)
    file.seek(0)
    policy.load_state_dict(torch.load(file))
    assert (policy.gate_probabilities() == 1).all()


@pytest.mark.parametrize("group", ["subpolicy_logits", "op_logits", "gate_logits"])
def test_parameters_that_are_no_numbers_are_refused_where_they_are_drawn_from(group: str) -> None:
    policy = initial_policy(make_space({"rotate": None, "invert": None}), subpolicies=2)
    with pytest.raises(UserError, match=f"expected numbers, got NaN in {group}"):
        policy.with_params(policy.params.map(lambda t: t * math.nan if t is getattr(policy, group) else t))
    with torch.no_grad():
        getattr(policy, group).fill_(math.nan)
    images = torch.rand(4, 3, 8, 8)
    for use in (lambda: policy.sample(4), lambda: policy(images), lambda: policy(images, same_on_batch=True)):
        with pytest.raises(UserError, match=f"got NaN in {group}; its training diverged"):
            use()
    assert policy(images, params=policy.rsample(4)).isnan().all()
    with pytest.raises(UserError, match=f"got NaN in {group}; its training diverged"):
        policy.to(torch.float16).sample(1)


def test_a_stage_of_nothing_possible_is_refused() -> None:
    policy = initial_policy(make_space({"rotate": None, "invert": None}), stages=2)
    params = policy.params.map(lambda tensor: tensor.detach().clone())
    params.op_logits[0, 1] = -math.inf
    with pytest.raises(UserError, match="expected a weight above 0 in every choice"):
        policy.with_params(params)
    with torch.no_grad():
        policy.op_logits[0, 1] = -math.inf
    with pytest.raises(UserError, match="expected parameters that are numbers"):
        policy.sample(4)


@pytest.mark.parametrize("copied", [
    lambda policy: policy.with_params(policy.params),
    lambda policy: random_policy(policy, 0),
    lambda policy: heaviest(policy, 2),
    lambda policy: heaviest(policy, None, uniform=True),
])  # fmt: skip
def test_a_copy_learns_what_its_original_learns(copied: Callable[[Policy], Policy]) -> None:
    policy = pair_policy(make_space({"rotate": None, "invert": None, "color": None}), learn=["gates"])
    for mode in (True, False):
        copy_of = copied(policy.train(mode))
        assert copy_of.training == mode
        assert {name for name, p in copy_of.named_parameters() if p.requires_grad} == {"gate_logits"}
        assert all(p.is_leaf for p in copy_of.parameters())


def test_tables_are_no_buffers_and_move_with_the_policy() -> None:
    policy = initial_policy(make_space({"rotate": None, "cutout": None}), stages=2)
    assert not list(policy.buffers())
    tables = vars(policy.tables)
    assert len(tables) == 9
    assert not [name for name, value in vars(policy).items() if isinstance(value, Tensor)]
    elsewhere = copy.deepcopy(policy).to("meta")
    assert {getattr(elsewhere.tables, name).device.type for name in tables} == {"meta"}
    again = copy.deepcopy(policy).half()
    for name, values in tables.items():
        assert getattr(again.tables, name).dtype == values.dtype
        assert torch.equal(getattr(again.tables, name), values)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_another_process_writes_to_a_large_table_stays_there() -> None:
    table = grid_of((((Slot(0),) * 1500, *[()] * 1499),)).table(torch.zeros(1500, dtype=torch.float64))
    assert table.nbytes >= 2**24
    child = os.fork()
    if not child:
        table[0, 5, 5] = 7.0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not table.any()
