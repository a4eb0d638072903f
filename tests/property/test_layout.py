"""Draws and parameters know which operations they are over, and another policy refuses them."""

import copy
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import augrad
from augrad import Policy, PolicySample, RelaxedSample, UserError
from augrad.estimators.mixture import Mixture
from augrad.layout import layout_of
from augrad.ops.space import make_space
from augrad.policy.heaviest import heaviest
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.policy.slots import slots_layout, slots_ranges

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def over(*names: str, **options: int) -> Policy:
    return initial_policy(make_space({name: {} for name in names}), probability=0.9, **options)  # type: ignore[arg-type]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


ONE = ("rotate", "translate_x", "color", "posterize")
OTHERS = {
    "as many": (("color", "invert", "rotate", "equalize"), "translate_x, posterize instead of invert, equalize"),
    "fewer": (("rotate", "translate_x"), "color, posterize besides"),
    "in another order": (("translate_x", "rotate", "color", "posterize"),
                         "rotate, translate_x, color, posterize instead of translate_x, rotate, color, posterize"),
    "none of them": (("invert",), "rotate, translate_x, color, posterize instead of invert"),
}  # fmt: skip


def uses(
    sample: PolicySample, relaxed: RelaxedSample, state: dict[str, Tensor]
) -> dict[str, Callable[[Policy], object]]:
    return {
        "hard": lambda policy: policy(IMAGES, params=sample),
        "part": lambda policy: policy(IMAGES[:3], params=sample[2:5]),
        "relaxed": lambda policy: policy(IMAGES, params=relaxed),
        "score": lambda policy: policy.score_terms(sample),
        "harden": lambda policy: policy.harden(relaxed),
        "state_dict": lambda policy: policy.load_state_dict(state),
        "state_dict, not strict": lambda policy: policy.load_state_dict(state, strict=False),
        "state_dict of a model": lambda policy: nn.Sequential(nn.Identity(), policy).load_state_dict(
            {f"1.{key}": value for key, value in state.items()}
        ),
    }


@pytest.fixture(scope="module")
def use() -> dict[str, Callable[[Policy], object]]:
    policy = over(*ONE)
    return uses(policy.sample(12), policy.rsample(12), policy.state_dict())


@pytest.mark.parametrize("kind", OTHERS)
def test_a_policy_over_other_operations_refuses_and_names_them(use: dict, kind: str) -> None:
    names, words = OTHERS[kind]
    policy = over(*names)
    before = copy.deepcopy(policy.state_dict())
    for name, call in use.items():
        with pytest.raises(UserError, match=f"this .*operations, got {words}.*; (draw with|load it into)"):
            call(policy)
        assert all(torch.equal(value, before[key]) for key, value in policy.state_dict().items()), name


def test_the_same_operations_in_other_places_take_hard_draws_only(use: dict) -> None:
    """A hard draw says which operation; relaxed draws, scores and parameters are by place."""
    space = make_space({name: {} for name in ONE})
    for policy in (over(*ONE, stages=2), over(*ONE, subpolicies=3), pair_policy(space)):
        for name, call in use.items():
            if name in ("hard", "part"):
                call(policy)
                continue
            with pytest.raises(UserError, match="1 sub-policies of 1 stages of 4 candidates instead of"):
                call(policy)
    turned = pair_policy(space)
    slots = tuple(stages[::-1] for stages in turned.slots)
    other = Policy(turned.ops, slots, turned.params)
    with pytest.raises(UserError, match="got the same in other places"):
        other(IMAGES, params=turned.rsample(12))


RANGES = {
    "another end": (
        {"rotate": {"high": 45.0}},
        {},
        r"rotate from 0 to 30 \(signed\) instead of from 0 to 45 \(signed\)",
    ),
    "one sign": ({"rotate": {"signed": False}}, {}, r"rotate from 0 to 30 \(signed\) instead of from 0 to 30;"),
    "uniform": ({}, {"magnitude": "uniform"}, r"instead of from 0 to 30 \(signed, uniform\)"),
    "of the last": ({"cutout": {"low": 0.1}}, {}, r"cutout from 0 to 0\.2 instead of from 0\.1 to 0\.2"),
}


@pytest.mark.parametrize("kind", RANGES)
def test_parameters_say_nothing_of_other_ranges_and_draws_do(kind: str) -> None:
    ops = {"rotate": {}, "invert": {}, "cutout": {}}
    policy = initial_policy(make_space(ops), stages=2)
    changes, options, words = RANGES[kind]
    other = initial_policy(make_space({**ops, **changes}), stages=2, **options)
    before = copy.deepcopy(other.state_dict())
    state = {f"1.{key}": value for key, value in policy.state_dict().items()}
    with pytest.raises(UserError, match=f"state_dict: expected .* this one's ranges, got .*{words}"):
        nn.Sequential(nn.Identity(), other).load_state_dict(state)
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())
    sample, relaxed = policy.sample(12), policy.rsample(12)  # in absolute units
    assert torch.equal(other(IMAGES, params=sample), policy(IMAGES, params=sample))
    assert torch.equal(other(IMAGES, params=relaxed), policy(IMAGES, params=relaxed))
    for layout in (
        slots_layout(policy.ops, policy.slots),
        slots_ranges(policy.ops, policy.slots),
    ):  # older ones: without
        numbers = torch.tensor(list(layout.encode()), dtype=torch.float64)
        policy.load_state_dict({**policy.state_dict(), "_extra_state": numbers})
    older = torch.tensor(list(policy.layout.encode()), dtype=torch.float64)
    other.load_state_dict({**policy.state_dict(), "_extra_state": older})


def test_ranges_that_do_nothing_and_whole_numbers_are_no_difference() -> None:
    policy = initial_policy(make_space({"rotate": {"high": 20}, "invert": {}}))
    slots = tuple(tuple(tuple(replace(slot, uniform=slot.op == 1) for slot in stage) for stage in stages)
                  for stages in policy.slots)  # fmt: skip
    Policy(policy.ops, slots, policy.params).load_state_dict(policy.state_dict())


def test_the_layout_of_thousands_of_subpolicies_is_short() -> None:
    policy = initial_policy(make_space({"rotate": {}, "cutout": {}}), subpolicies=2000, stages=2)
    ranged = slots_ranges(policy.ops, policy.slots)
    assert len(ranged) < 2.1 * len(policy.layout)  # each range once, and where it stands
    begin = time.process_time()
    for _ in range(100):
        policy.require_own(policy_sample := policy.sample(2))
    assert policy_sample.layout is policy.layout
    assert time.process_time() - begin < 2.0  # without reading it: that alone would take longer


def test_policies_alike_share_draws_and_parameters(tmp_path: Path) -> None:
    policy = random_policy(over(*ONE, subpolicies=2, stages=2), seed=1)
    augrad.save_policy(policy, tmp_path / "policy.json")
    alike = {
        "new": over(*ONE, subpolicies=2, stages=2),
        "copy": copy.deepcopy(policy),
        "pickled": pickle.loads(pickle.dumps(policy)),
        "other parameters": policy.with_params(policy.params),
        "loaded": augrad.load_policy(tmp_path / "policy.json"),  # it has the identity besides
        "half": copy.deepcopy(policy).half(),
    }
    sample, relaxed = policy.sample(12), policy.rsample(12)
    for name, other in alike.items():
        assert torch.equal(other(IMAGES, params=sample), policy(IMAGES, params=sample)), name
        assert torch.equal(other(IMAGES, params=relaxed), policy(IMAGES, params=relaxed)), name
        other.load_state_dict(policy.state_dict())
        policy.load_state_dict(other.state_dict())
        other.score_terms(sample)
    kept = heaviest(policy, 1)
    assert torch.equal(kept(IMAGES, params=sample), policy(IMAGES, params=sample))
    with pytest.raises(UserError, match="2 sub-policies"):
        kept.load_state_dict(policy.state_dict())


def test_what_is_made_of_a_draw_is_over_the_same_operations(tmp_path: Path) -> None:
    policy = over(*ONE)
    sample, relaxed = policy.sample(12), policy.rsample(12)
    layout = layout_of(ONE, [[[0, 1, 2, 3]]])
    made = [
        sample,
        sample.to("cpu"),
        sample.detach(),
        sample[2:],
        sample[torch.arange(3)],
        policy.sample(1).expand(3),
        sample.map(torch.clone),
        replace(sample, sign=-sample.sign),
        PolicySample.concatenate([sample[:3], policy.sample(2)]),
        PolicySample(**vars(sample)),
        copy.deepcopy(sample.detach()),
        pickle.loads(pickle.dumps(sample)),
        relaxed,
        relaxed.detach(),
        policy.harden(relaxed),
        Mixture(subpolicy="uniform").draw(policy, 2, None, 0.0),
    ]
    torch.save({"sample": sample, "dict": vars(sample)}, tmp_path / "sample.pt")
    loaded = torch.load(tmp_path / "sample.pt", weights_only=True)
    made += [loaded["sample"], PolicySample(**loaded["dict"])]
    assert [draw.layout for draw in made] == [layout] * len(made)  # type: ignore[attr-defined]


def test_draws_over_other_operations_are_not_joined() -> None:
    one, other, alike = (
        over("rotate", "color"),
        over("color", "rotate"),
        over("rotate", "color", stages=1, subpolicies=2),
    )
    with pytest.raises(UserError, match="concatenate: expected samples over the same operations, got"):
        PolicySample.concatenate([one.sample(2), other.sample(2)])
    joined = PolicySample.concatenate([one.sample(2), alike.sample(2)])  # of two policies: which, is not known
    one(IMAGES[:4], params=joined)
    known = PolicySample.concatenate([one.sample(2), without_layout(one.sample(2))])
    one(IMAGES[:4], params=known)


def without_layout(sample: PolicySample) -> PolicySample:
    """As older versions saved them."""
    return PolicySample(**{name: value for name, value in vars(sample).items() if isinstance(value, Tensor)})


def test_draws_and_parameters_of_older_versions_are_taken() -> None:
    policy = over(*ONE)
    sample = policy.sample(12)
    older = without_layout(sample)
    assert torch.equal(policy(IMAGES, params=older), policy(IMAGES, params=sample))
    pickled = pickle.dumps(sample)
    unpickled = pickle.loads(pickled)
    del unpickled.__dict__["layout"]
    assert torch.equal(policy(IMAGES, params=pickle.loads(pickle.dumps(unpickled))), policy(IMAGES, params=sample))
    policy.score_terms(older)
    state = {name: value.clone() for name, value in policy.named_parameters()}
    assert policy.load_state_dict(state) == ([], [])
    model = nn.Sequential(policy, nn.Linear(2, 2))
    assert model.load_state_dict({key: v for key, v in model.state_dict().items() if "extra" not in key}) == ([], [])
    relaxed = policy.rsample(12)
    with pytest.raises(UserError, match=r"expected a relaxed draw over \(1, 2, 4\) .* got \(1, 1, 4\)"):
        over(*ONE, stages=2)(IMAGES, params=RelaxedSample(**{**vars(relaxed), "layout": ""}))
    attributes = {name: value for name, value in vars(policy).items() if name != "layout"}
    older_policy = Policy.__new__(Policy)
    older_policy.__setstate__({**attributes, "_generator": None, "_generator_key": None})
    assert torch.equal(older_policy(IMAGES, params=policy.sample(12, generator=generator())),
                       policy(IMAGES, generator=generator()))  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda state, _: {key: value.clone() for key, value in state.items()},
        lambda state, _: {key: value.half() for key, value in state.items()},
        lambda state, _: {key: value.bfloat16() for key, value in state.items()},
        lambda state, other: {key: torch.stack([value, other[key]]).mean(0) for key, value in state.items()},
        lambda state, other: {key: torch.lerp(value, other[key], 0.3) for key, value in state.items()},
        lambda state, other: {key: 0.999 * value + 0.001 * other[key] for key, value in state.items()},
    ],
)
def test_a_state_dict_may_be_copied_cast_and_averaged(change: Callable[..., dict[str, Tensor]]) -> None:
    one, other = (random_policy(over(*ONE), seed) for seed in (1, 2))
    changed = change(one.state_dict(), other.state_dict())
    for assign in (False, True):
        policy = over(*ONE)
        policy.load_state_dict(changed, assign=assign)
        assert {parameter.dtype for parameter in policy.parameters()} == {torch.float64}
        torch.testing.assert_close(policy.op_logits.detach(), changed["op_logits"].double(), rtol=0, atol=0)
        assert policy(IMAGES).shape == IMAGES.shape
        with pytest.raises(UserError, match="state_dict"):
            over("invert").load_state_dict(changed, assign=assign)


def test_averaged_models_and_damaged_layouts() -> None:
    policy = over(*ONE)
    averaged = AveragedModel(nn.Sequential(policy, nn.Linear(2, 2)))
    averaged.update_parameters(nn.Sequential(policy, nn.Linear(2, 2)))
    averaged.load_state_dict(averaged.state_dict())
    state = policy.state_dict()
    for damaged in (state["_extra_state"] + 1, state["_extra_state"][:-3]):
        with pytest.raises(UserError, match=r"state_dict: .* damaged"):
            policy.load_state_dict({**state, "_extra_state": damaged})
