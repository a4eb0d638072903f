"""Regularisers: closed forms, finite differences, and the ends. float64."""

import itertools
import math

import pytest
import torch

from augrad import Policy, UserError
from augrad.ops.space import make_space
from augrad.policy import Slot, parameters_like
from augrad.policy.initial import Learnable, initial_policy, random_policy
from augrad.policy.summary import policy_summary
from augrad.regularizers.identity_prior import IdentityPrior
from augrad.regularizers.regularizer import Regularizer, regularizer_gradient
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.regularizers.strength_reward import StrengthReward
from augrad.types import PolicyParams
from problems import central_difference

EVERYTHING: list[Learnable] = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
TERMS: list[Regularizer] = [SelectionEntropy(0.3, 0.9), StrengthReward(0.7), IdentityPrior(0.4, 0.2)]


def policy_of(subpolicies: int = 2, stages: int = 2) -> Policy:
    space = make_space({"rotate": {}, "identity": {}, "brightness": {}, "invert": {}})
    return random_policy(initial_policy(space, subpolicies, stages, learn=EVERYTHING), seed=3)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_gradients_are_those_of_the_value(term: Regularizer) -> None:
    policy = policy_of()
    found = regularizer_gradient(policy, [term])
    for group in PolicyParams.names():
        if isinstance(term, StrengthReward) and group != "magnitude_locations":
            assert not getattr(found, group).any()  # its weights count as fixed
            continue
        parameter = getattr(policy, group)
        for index in itertools.product(*map(range, parameter.shape)):
            expected = central_difference(parameter, index, lambda: float(term(policy).detach()), 1e-6)
            assert float(getattr(found, group)[index]) == pytest.approx(expected, abs=1e-8), f"{group} {index}"


def test_terms_add_up_and_frozen_groups_get_zeros() -> None:
    policy = policy_of()
    alone = [regularizer_gradient(policy, [term]) for term in TERMS]
    together = regularizer_gradient(policy, TERMS)
    for group in PolicyParams.names():
        torch.testing.assert_close(getattr(together, group), sum(getattr(one, group) for one in alone))
    policy.op_logits.requires_grad_(False)
    assert not regularizer_gradient(policy, TERMS).op_logits.any()
    assert not any(tensor.any() for tensor in regularizer_gradient(policy, []).tensors())


@pytest.mark.parametrize("term", [lambda policy: 3.0, lambda policy: policy.op_logits, lambda policy: None])
def test_a_term_that_is_not_one_number_is_refused(term) -> None:
    with pytest.raises(UserError, match="regularizer <lambda>: expected one number with a gradient"):
        regularizer_gradient(policy_of(), [term])


def test_selection_entropy_in_closed_form() -> None:
    """Two candidates of weight p and 1 - p: weight * (floor - H(p) / log 2) below the floor, and nothing above."""
    policy = initial_policy(make_space({"rotate": {}, "invert": {}}))
    with torch.no_grad():
        policy.op_logits[0, 0] = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    share = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert float(SelectionEntropy(0.5, 0.8)(policy).detach()) == pytest.approx(0.5 * (0.8 - share), rel=1e-12)
    assert not regularizer_gradient(policy, [SelectionEntropy(0.5, share - 1e-6)]).op_logits.any()
    descent = regularizer_gradient(policy, [SelectionEntropy(0.5, 0.8)]).op_logits[0, 0]
    assert descent[0] > 0 > descent[1]  # against it, the larger weight falls


def test_nothing_to_choose_between_has_no_entropy_term() -> None:
    policy = initial_policy(make_space({"rotate": {}}))
    assert float(SelectionEntropy()(policy)) == 0.0
    assert not regularizer_gradient(policy, [SelectionEntropy()]).op_logits.any()


def test_the_strength_reward_in_closed_form() -> None:
    """Each location's gradient is - weight * p_sub * p_op * p_gate / L * sigmoid'; none without a magnitude."""
    policy = policy_of()
    found = regularizer_gradient(policy, [StrengthReward(0.7)]).magnitude_locations
    chosen = policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities() / 2
    slope = policy.magnitude_locations.sigmoid() * (1 - policy.magnitude_locations.sigmoid())
    expected = -0.7 * chosen * policy.gate_probabilities() * slope
    expected[..., [1, 3]] = 0.0
    torch.testing.assert_close(found, expected.detach())
    assert (found[..., [0, 2]] < 0).all()  # against it, every magnitude grows


def test_the_identity_prior_is_zero_at_its_mass_and_pulls_towards_it() -> None:
    policy = policy_of(subpolicies=1, stages=1)
    mass = float(policy_summary(policy)["identity_mass"])
    assert float(IdentityPrior(1.0, mass)(policy).detach()) == pytest.approx(0.0, abs=1e-12)
    for target in (0.5 * mass, 0.5 + 0.5 * mass):
        term = IdentityPrior(1.0, target)
        expected = target * math.log(target / mass) + (1 - target) * math.log((1 - target) / (1 - mass))
        assert float(term(policy).detach()) == pytest.approx(expected, rel=1e-9)
        pull = regularizer_gradient(policy, [term]).op_logits[0, 0, 1]
        assert (pull > 0) == (target < mass)


def test_the_prior_is_finite_where_nothing_is_left_to_pull() -> None:
    """Gates at exactly 0 or 1, as files have them, and an operation of weight zero."""
    op = make_space({"invert": {}, "identity": {}}).candidates
    slots = (((Slot(0), Slot(1)),),)
    for gate, logits in ((math.inf, [0.0, -math.inf]), (-math.inf, [0.0, 0.0])):
        policy = Policy([candidate.op for candidate in op], slots, parameters_like(slots))
        with torch.no_grad():
            policy.gate_logits.fill_(gate)
            policy.op_logits[0, 0] = torch.tensor(logits)
        for tensor in regularizer_gradient(policy, [IdentityPrior(), SelectionEntropy(), StrengthReward()]).tensors():
            assert tensor.isfinite().all()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SelectionEntropy(weight=-1.0), "weight"),
        (lambda: SelectionEntropy(floor=1.5), "floor"),
        (lambda: StrengthReward(weight=math.inf), "weight"),
        (lambda: IdentityPrior(mass=1.0), "strictly between"),
    ],
)
def test_settings_outside_their_range(make, word: str) -> None:
    with pytest.raises(UserError, match=word):
        make()


@pytest.mark.parametrize("probability", [1e-300, 1e-160, 1e-30])
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_prior_of_the_identity_where_hardly_anything_acts(probability: float, weight: float) -> None:
    """d KL / d logit = m - (1 - mass), m the share that acts: close to mass - 1 times the weight."""
    policy = initial_policy(make_space({"rotate": None}), probability=probability)
    found = regularizer_gradient(policy, [IdentityPrior(weight)]).gate_logits
    torch.testing.assert_close(found, torch.full_like(found, -0.5 * weight), rtol=1e-6, atol=0)
