"""What a policy fixes (weights of 0, probabilities of 0 and 1, single magnitudes, padding) in every estimate and step.

Fixed entries have the gradient zero and keep their value to the last bit; the others have the gradient of the policy as
it is. float64.
"""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from augrad import Policy
from augrad.estimators.control import Control, estimate_with, initial_control
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Estimator
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.ops.space import make_space
from augrad.policy import Slot, parameters_like
from augrad.policy.distributions import is_certain
from augrad.policy.heaviest import heaviest
from augrad.policy.initial import Learnable, initial_policy, random_policy
from augrad.policy.learnable import anything_learnable, learnable
from augrad.policy.summary import policy_summary
from augrad.regularizers.identity_prior import IdentityPrior
from augrad.regularizers.regularizer import regularizer_gradient
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.regularizers.strength_reward import StrengthReward
from augrad.search.damping import damped_step
from augrad.types import PolicyParams, PolicySample, RelaxedSample
from odd_policies import ODD, brightness, invert, one, policy_of, rotate, two
from problems import shapes_unchecked

GROUPS = PolicyParams.names()
ESTIMATORS: dict[str, Estimator] = {
    **{f"gumbel, {how}": Gumbel(relaxation=how) for how in ("straight_through", "straight_through_pixels", "soft")},
    **{
        f"gumbel, {how}, pathwise": Gumbel(relaxation=how, magnitude="pathwise")
        for how in ("straight_through", "straight_through_pixels", "soft")
    },
    "gumbel, cold": Gumbel(temperature=1e-3, final_temperature=1e-3),
    "gumbel, soft and cold": Gumbel(relaxation="soft", temperature=1e-3, final_temperature=1e-3),
    **{
        f"reinforce, {baseline}": Reinforce(baseline=baseline)
        for baseline in ("leave_one_out", "moving_average", "none")
    },
    "relax": Relax(),
    "rebar": Rebar(eta=1.0),
    "mixture": Mixture(),
    "mixture, uniform": Mixture(subpolicy="uniform"),
    "enumerate": Enumerate(),
    "enumerate, pathwise": Enumerate(magnitude="pathwise"),
}


class Pixels:
    """A smooth number of each image's augmented pixels. With `draw`, known at that draw already."""

    def __init__(self, policy: Policy, count: int = 8, shared: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.images, self.weights = torch.rand(2, count, 1, 5, 5, generator=generator, dtype=torch.float64)
        self.policy = policy
        self.draw = policy.sample(count, generator).detach() if shared else None

    def __call__(self, sample: PolicySample | RelaxedSample) -> Tensor:
        after = self.policy(self.images, params=sample)
        return (torch.sin(3 * after) * self.weights).flatten(1).sum(1)


def estimates(policy: Policy, estimator: Estimator, shared: bool = False, count: int = 2) -> list[PolicyParams]:
    generator, found = torch.Generator().manual_seed(0), []
    control, scalar = initial_control(estimator, policy, generator), Pixels(policy, shared=shared)
    for _ in range(count):
        estimate = estimate_with(control, estimator, scalar, policy, 8, generator, 0.0)
        if control is not None:
            control.step(estimate.control_loss)
            assert all(bool(p.isfinite().all()) for p in control.module.parameters())
        found.append(estimate.grads)
    return found


SHARED = ["gumbel, straight_through", "reinforce, leave_one_out", "relax"]
"""Those that take a draw at which the scalar is known."""


@pytest.mark.parametrize(
    ("estimator", "shared"),
    [
        *(pytest.param(estimator, False, id=name) for name, estimator in ESTIMATORS.items()),
        *(pytest.param(ESTIMATORS[name], True, id=f"{name}, shared draw") for name in SHARED),
    ],
)
def test_estimates_are_numbers_and_zero_for_what_is_fixed(estimator: Estimator, shared: bool) -> None:
    for name, content in ODD.items():
        policy = policy_of(content)
        moves = learnable(policy)
        with shapes_unchecked():
            found = estimates(policy, estimator, shared)
        for grads, group in ((grads, group) for grads in found for group in GROUPS):
            gradient = getattr(grads, group)
            assert gradient.isfinite().all(), f"{name}: {group}"
            assert not gradient[~moves[group]].any(), f"{name}: {group}"
            assert torch.linalg.vector_norm(gradient).isfinite(), f"{name}: {group}"


def nearly(policy: Policy) -> Policy:
    """The same policy, with what is fixed nearly so: logits and locations of what is certain replaced by large ones."""
    params = policy.params.detach()

    def large(tensor: Tensor, size: float) -> Tensor:
        return torch.where(is_certain(tensor), size * tensor.sign(), tensor)

    return policy.with_params(
        replace(
            params,
            subpolicy_logits=large(params.subpolicy_logits, 200.0),
            op_logits=large(params.op_logits, 200.0),
            gate_logits=large(params.gate_logits, 60.0),
            magnitude_locations=large(params.magnitude_locations, 200.0),
        )
    )


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS.keys())
def test_what_is_learned_has_the_gradient_of_a_policy_that_is_nearly_fixed(estimator: Estimator) -> None:
    """With the same noise, in the limit: nothing infinite is left there that could have gone wrong."""
    moved = set()
    for name in ("probability 1", "probability 0", "weight 0", "weight 0 of a sub-policy", "uniform", "ragged"):
        policy = policy_of(ODD[name])
        moves = learnable(policy)
        with shapes_unchecked():
            (found,), (expected,) = (estimates(which, estimator, count=1) for which in (policy, nearly(policy)))
        for group in GROUPS:
            one, other = (getattr(grads, group)[moves[group]] for grads in (found, expected))
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=lambda text, at=name: f"{at}: {text}")
            moved |= {group} if bool(one.any()) else set()
    assert {"op_logits", "gate_logits"} <= moved


def some_fixed() -> Policy:
    """Over the joint space's operations: everything of which a file may fix a part, and two stages beside one."""
    angle = {"low": 0, "high": 2, "location": 0.3, "scale": 0.7}
    strength = {"low": 0, "high": 0.9, "location": -0.2, "scale": 0.6}
    return policy_of(
        two(
            (0.45, 0.55),
            [
                [
                    rotate(weight=0.4, magnitude=angle, probability=1.0),
                    {"op": "identity", "weight": 0.35},
                    brightness(weight=0.25, magnitude={"value": 0.7}, probability=0.6),
                ],
                [
                    rotate(weight=0.7, magnitude={**angle, "location": -0.4}, probability=0.3),
                    {"op": "identity", "weight": 0.3},
                    brightness(weight=0.0, magnitude=strength),
                ],
            ],
            [
                [
                    rotate(weight=0.2, magnitude=angle, probability=0.0),
                    {"op": "identity", "weight": 0.2},
                    brightness(weight=0.6, magnitude=strength, probability=0.8),
                ]
            ],
        )
    )


UNBIASED: dict[str, tuple[Estimator, int]] = {
    "reinforce": (Reinforce(), 400),
    "relax": (Relax(), 300),
    "rebar": (Rebar(eta=1.0), 300),
    "enumerate": (Enumerate(), 60),
}


def disturbed(estimator: Estimator, policy: Policy) -> Control | None:
    """An arbitrary control: the estimate's expectation does not depend on it."""
    generator = torch.Generator().manual_seed(4)
    control = initial_control(estimator, policy, generator)
    for parameter in () if control is None else control.module.parameters():
        parameter.data.add_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return control


@pytest.mark.slow
@pytest.mark.parametrize("name", UNBIASED)
def test_the_mean_estimate_is_the_exact_gradient_of_a_policy_with_fixed_parts(numerics, name: str) -> None:
    policy = some_fixed()
    problem, (estimator, count) = numerics.problem(policy=policy), UNBIASED[name]
    exact, moves = problem.exact(), learnable(policy)
    for group in GROUPS:  # so says the sum over all outcomes, which knows nothing of what is fixed
        assert not getattr(exact, group).nan_to_num()[~moves[group]].any(), group
    exact = PolicyParams(*(tensor.nan_to_num() for tensor in exact.tensors()))
    numerics.unbiased(problem.estimates(estimator, count, control=disturbed(estimator, policy)), exact)


def test_the_fixed_parts_of_the_proof_are_fixed() -> None:
    moves = learnable(some_fixed())
    assert moves["subpolicy_logits"].tolist() == [True, True]
    assert moves["op_logits"].tolist() == [[[True] * 3, [True, True, False]], [[True] * 3, [False] * 3]]
    gates = [[[False, False, True], [True, False, False]], [[False, False, True], [False] * 3]]
    assert moves["gate_logits"].tolist() == gates
    magnitudes = [[[True, False, False], [True, False, False]], [[False, False, True], [False] * 3]]
    assert moves["magnitude_locations"].tolist() == moves["magnitude_log_scales"].tolist() == magnitudes


@pytest.mark.parametrize("name", ODD)
def test_what_is_learnable(name: str) -> None:
    moves = {group: int(mask.sum()) for group, mask in learnable(policy_of(ODD[name])).items()}
    expected = {  # sub-policies, operations, gates, locations, scales
        "probability 1": (0, 2, 1, 1, 1),
        "probability 0": (0, 2, 1, 0, 0),
        "weight 0": (0, 2, 3, 2, 2),
        "weight 0 of a sub-policy": (2, 0, 2, 1, 1),
        "value": (0, 2, 2, 0, 0),
        "uniform": (0, 2, 2, 0, 0),
        "up to a drawn end": (0, 2, 2, 1, 1),
        "up to a fixed end": (0, 2, 2, 1, 0),
        "no scale": (0, 2, 2, 1, 0),
        "no range": (0, 2, 2, 0, 0),
        "ragged": (2, 5, 6, 3, 3),
        "nothing but the identity": (0, 0, 0, 0, 0),
        "all fixed": (0, 0, 0, 0, 0),
        "far out": (0, 2, 2, 2, 2),
        "far out, uniform": (0, 2, 2, 2, 2),
        "hardly a scale": (0, 2, 2, 1, 1),
        "nearly fixed": (0, 2, 2, 1, 1),
    }
    assert tuple(moves.values()) == expected[name]
    assert anything_learnable(policy_of(ODD[name])) == any(moves.values())


def test_nothing_is_learnable_of_groups_that_are_left_out() -> None:
    policy = policy_of(ODD["value"])
    policy.requires_grad_(False)
    assert not anything_learnable(policy)
    policy.magnitude_locations.requires_grad_(True)  # fixed
    assert not anything_learnable(policy)
    policy.gate_logits.requires_grad_(True)
    assert anything_learnable(policy)


OPTIMISERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.1, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS.keys())
def test_optimisers_never_see_what_is_fixed(make: Any) -> None:
    """As if the others were alone, bit for bit, with weight decay; no state of the optimiser becomes infinite."""
    values = torch.tensor([math.inf, 1.5, -math.inf, 0.3, 7.0], dtype=torch.float64)
    moves = torch.tensor([False, True, False, True, False])
    whole, alone = torch.nn.Parameter(values.clone()), torch.nn.Parameter(values[moves].clone())
    both = make([whole]), make([alone])
    for step in range(4):
        gradient = torch.tensor([math.nan, 0.4 - step, math.inf, -0.2, 3.0], dtype=torch.float64)
        whole.grad, alone.grad = gradient.clone(), gradient[moves].clone()
        damped_step(both[0], torch.tensor(0.7), {whole: moves})
        damped_step(both[1], torch.tensor(0.7))
        assert torch.equal(whole[~moves], values[~moves])
        assert torch.equal(whole[moves], alone)
    assert not torch.equal(alone, values[moves])
    for state in both[0].state.values():
        assert all(bool(torch.as_tensor(part).isfinite().all()) for part in state.values() if part is not None)


@pytest.mark.parametrize("name", ODD)
def test_regularisers_and_summaries_are_numbers(name: str) -> None:
    policy = policy_of(ODD[name])
    terms = [SelectionEntropy(0.3, 0.9), StrengthReward(0.7), IdentityPrior(0.4, 0.2)]
    moves = learnable(policy)
    for group, gradient in vars(regularizer_gradient(policy, terms)).items():
        assert gradient.isfinite().all()
        assert not gradient[~moves[group]].any()
    for quantity, value in policy_summary(policy).items():
        assert value.isfinite(), quantity
    with torch.no_grad():
        relaxed = policy.rsample(4, generator=torch.Generator().manual_seed(0))
        images = torch.rand(4, 1, 5, 5)
        assert policy(images, params=relaxed).isfinite().all()
        assert policy(images, generator=torch.Generator().manual_seed(0)).isfinite().all()


def test_the_largest_entropy_is_that_of_what_is_possible() -> None:
    """A floor as a share of it: two of three candidates, and no sub-policy of weight 0."""
    assert policy_of(ODD["weight 0"]).max_selection_entropy == pytest.approx(math.log(2))
    assert policy_of(ODD["weight 0 of a sub-policy"]).max_selection_entropy == pytest.approx(math.log(2))
    assert policy_of(ODD["ragged"]).max_selection_entropy == pytest.approx(math.log(2 + 3))
    assert policy_of(one([rotate(weight=0.0), invert()])).max_selection_entropy == 0.0


def test_the_policy_of_comparisons_keeps_what_is_fixed() -> None:
    for content in ODD.values():
        policy = policy_of(content)
        other, moves = random_policy(policy, 1), learnable(policy)
        for group, mask in moves.items():
            before, after = getattr(policy, group), getattr(other, group)
            assert torch.equal(before[~mask], after[~mask])
            assert group == "magnitude_log_scales" or not (before[mask] == after[mask]).any()


def test_sub_policies_of_weight_zero_stay_so_when_the_heaviest_are_drawn_evenly() -> None:
    policy = policy_of(ODD["weight 0 of a sub-policy"])
    assert heaviest(policy, None, uniform=True).subpolicy_probabilities().tolist() == [0.0, 0.5, 0.5]


def test_points_and_scales_that_are_to_be_learned() -> None:
    """`policy.magnitude=point` with everything learned: the scale stays 0, and only a path moves the location."""
    everything: list[Learnable] = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
    space = make_space({"rotate": {}, "identity": {}, "brightness": {}})
    policy = initial_policy(space, stages=2, magnitude="point", learn=everything)
    moves = learnable(policy)
    assert moves["magnitude_locations"].sum() == 4
    assert not moves["magnitude_log_scales"].any()
    for estimator, moved in ((Gumbel(), False), (Gumbel(magnitude="pathwise"), True), (Mixture(), True)):
        (grads,) = estimates(policy, estimator, count=1)
        assert all(tensor.isfinite().all() for tensor in grads.tensors())
        assert bool(grads.magnitude_locations.any()) == moved


def test_a_stage_without_candidates_pads_with_numbers() -> None:
    slots = (((Slot(0), Slot(1)),), ((Slot(0),), (Slot(1),)))
    ops = [candidate.op for candidate in make_space({"invert": {}, "identity": {}}).candidates]
    params = parameters_like(slots)
    logits = torch.full_like(params.op_logits, math.nan)
    logits[0, 0], logits[1, :, 0] = 0.0, 0.0  # the candidates
    policy = Policy(ops, slots, replace(params, op_logits=logits))
    assert not policy.op_logits[~policy.tables.present].any()
