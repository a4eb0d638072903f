"""Every estimator that claims to be unbiased, against the exact gradient; and what each control is worth. float64."""

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from augrad import Policy
from augrad.errors import UserError
from augrad.estimators.control import Control
from augrad.estimators.enumerate import (
    Enumerate,
    outcome_count,
    outcome_probabilities,
    outcomes_of,
)
from augrad.estimators.estimate import Estimate, leave_one_out
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.ops.space import make_space
from augrad.policy.distributions import normal_log_probability, uniform_up_to_log_probability
from augrad.policy.initial import Learnable, initial_policy
from augrad.types import PolicyParams

pytestmark = pytest.mark.slow

GROUPS = PolicyParams.names()
CHOICES = GROUPS[:3]
Report = Callable[[str, object], None]


@pytest.fixture(scope="module")
def trained_relax(numerics) -> Control:
    problem, estimator = numerics.problem(), Relax(learning_rate=0.02)
    control = estimator.initial_control(problem.policy, torch.Generator().manual_seed(0))
    problem.estimates(estimator, 400, control=control, train=True, seed=1)
    return control


@pytest.fixture(scope="module")
def trained_rebar(numerics) -> Control:
    problem, estimator = numerics.problem(), Rebar(learning_rate=0.03)
    control = estimator.initial_control(problem.policy, torch.Generator())
    problem.estimates(estimator, 150, control=control, train=True, seed=1)
    return control


def disturbed(control: Control, size: float) -> Control:
    """The same with every parameter moved at random: an arbitrary control variate."""
    other, generator = deepcopy(control), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return other


@pytest.mark.parametrize("baseline", ["leave_one_out", "moving_average", "none"])
def test_reinforce(numerics, baseline: str) -> None:
    problem, estimator = numerics.problem(), Reinforce(baseline=baseline)  # type: ignore[arg-type]
    control = estimator.initial_control(problem.policy, torch.Generator())
    assert (control is None) == (baseline != "moving_average")
    numerics.unbiased(problem.estimates(estimator, 500, control=control, train=True), problem.exact())


@pytest.mark.parametrize("control", ["none", "arbitrary", "trained"])
def test_relax(numerics, trained_relax: Control, control: str) -> None:
    problem = numerics.problem()
    chosen = {"none": None, "arbitrary": disturbed(trained_relax, 0.7), "trained": trained_relax}[control]
    numerics.unbiased(problem.estimates(Relax(), 300, control=chosen), problem.exact())


def test_relax_in_a_batch_of_two_and_while_it_learns(numerics) -> None:
    """With two images the baseline is the other image alone: an image that saw its own draw there would show."""
    problem, estimator = numerics.problem(), Relax(learning_rate=0.03)
    control = disturbed(estimator.initial_control(problem.policy, torch.Generator()), 0.5)
    numerics.unbiased(problem.estimates(estimator, 1200, batch=2, control=control, train=True), problem.exact())


@pytest.mark.parametrize("control", ["none", "arbitrary", "trained"])
def test_rebar(numerics, trained_rebar: Control, control: str) -> None:
    """eta: the paper's 1, arbitrary numbers, and the learned ones."""
    problem = numerics.problem()
    chosen = {"none": None, "arbitrary": disturbed(trained_rebar, 1.5), "trained": trained_rebar}[control]
    numerics.unbiased(problem.estimates(Rebar(eta=1.0), 300, control=chosen), problem.exact())


@pytest.mark.parametrize("magnitude", ["score", "pathwise"])
def test_enumerate(numerics, magnitude: str) -> None:
    problem = numerics.problem(jump=0.7 if magnitude == "score" else 0.0)
    estimator = Enumerate(magnitude=magnitude)  # type: ignore[arg-type]
    numerics.unbiased(problem.estimates(estimator, 60, batch=16), problem.exact())


@pytest.mark.parametrize("group", ["magnitude_locations", "magnitude_log_scales"])
def test_pathwise_misses_the_jumps(numerics, group: str) -> None:
    """The bias that the docstrings state is there: a step in the magnitude is not in the pathwise gradient."""
    problem = numerics.problem(jump=3.0)
    draws = numerics.stacked(problem.estimates(Enumerate(magnitude="pathwise"), 60, batch=16), group)
    error = (draws.mean(0) - getattr(problem.exact(), group).flatten()).abs()
    assert (error > 8 * draws.std(0) / len(draws) ** 0.5).any()


# --- what it is worth ------------------------------------------------------------------------------------------------


def compare(
    numerics, report: Report, name: str, before: list[Estimate], after: list[Estimate], below: dict[str, float]
) -> None:
    for group, bound in below.items():
        ratio = numerics.variance(after, group) / numerics.variance(before, group)
        report(f"variance ratio, {name}, {group}", ratio)
        print(f"variance {name}, {group}: {ratio:.3f}")
        assert ratio < bound, group


def test_a_trained_control_variate_lowers_the_variance(
    numerics, trained_relax: Control, record_property: Report
) -> None:
    """DADA's defect 1: there the control variate cancels, and training it cannot lower anything."""
    problem = numerics.problem()
    before, after = (problem.estimates(Relax(), 300, control=control) for control in (None, trained_relax))
    bounds = {"op_logits": 0.85, "gate_logits": 0.6, "magnitude_locations": 0.5, "magnitude_log_scales": 0.5}
    compare(numerics, record_property, "relax, trained / zero", before, after, bounds)


def test_learned_eta_lowers_the_variance(numerics, trained_rebar: Control, record_property: Report) -> None:
    problem = numerics.problem()
    before = problem.estimates(Rebar(eta=0.0), 300)
    after = problem.estimates(Rebar(), 300, control=trained_rebar)
    bounds = {"subpolicy_logits": 0.98, "op_logits": 0.85, "gate_logits": 0.85}
    compare(numerics, record_property, "rebar, learned eta / eta 0", before, after, bounds)


@pytest.mark.parametrize("baseline", ["leave_one_out", "moving_average"])
def test_baselines_lower_the_variance(numerics, baseline: str, record_property: Report) -> None:
    problem, estimator = numerics.problem(offset=5.0), Reinforce(baseline=baseline)  # type: ignore[arg-type]
    control = estimator.initial_control(problem.policy, torch.Generator())
    before = problem.estimates(Reinforce(baseline="none"), 200)
    after = problem.estimates(estimator, 300, control=control, train=True)[100:]
    compare(numerics, record_property, f"{baseline} / none", before, after, dict.fromkeys(GROUPS, 0.5))


def test_enumeration_leaves_only_the_magnitudes_noise(numerics, record_property: Report) -> None:
    problem = numerics.problem()
    before, after = problem.estimates(Reinforce(), 200, batch=16), problem.estimates(Enumerate(), 60, batch=16)
    compare(numerics, record_property, "enumerate / reinforce", before, after, dict.fromkeys(CHOICES, 0.1))


# --- each estimator's own --------------------------------------------------------------------------------------------


def test_the_moving_average_is_one(numerics) -> None:
    problem, estimator = numerics.problem(), Reinforce(baseline="moving_average", decay=0.8)
    control = estimator.initial_control(problem.policy, torch.Generator())
    expected = 0.0
    for estimate in problem.estimates(estimator, 20, control=control, train=True):
        expected = 0.8 * expected + 0.2 * float(estimate.value)
    assert float(control.module.mean.detach()) == pytest.approx(expected, rel=1e-12)  # type: ignore[union-attr]


def test_outcomes_are_all_there(numerics) -> None:
    policy = numerics.problem().policy
    outcomes = outcomes_of(policy)
    assert outcome_count(policy) == len(outcomes) == 2 * 3 * 3  # nothing, rotate, brightness; the identity is nothing
    rows = torch.cat([outcomes.subpolicy[:, None], torch.where(outcomes.applied, outcomes.slot, -1)], 1)
    assert len(rows.unique(dim=0)) == len(outcomes)
    assert float(outcome_probabilities(policy, outcomes).detach().sum()) == pytest.approx(1.0, abs=1e-12)


def test_inner_products_are_the_mean_scores_of_the_outcomes(numerics) -> None:
    """DDAS: d E / d P(o) is the scalar's mean at o, and the chain rule through P gives the exact gradient."""
    problem = numerics.problem(jump=0.0)
    with torch.no_grad():
        problem.policy.magnitude_log_scales.fill_(-40.0)  # magnitudes without noise: no draw is left
    outcomes, products = Enumerate().inner_products(problem, problem.policy, batch_size=5)
    found = torch.autograd.grad(
        (outcome_probabilities(problem.policy, outcomes) * products).sum(),
        [getattr(problem.policy, group) for group in CHOICES],
    )
    for group, gradient in zip(CHOICES, found, strict=True):
        torch.testing.assert_close(gradient, getattr(problem.exact(), group), rtol=0, atol=1e-12)


def test_too_many_outcomes_are_refused_with_their_number() -> None:
    policy = initial_policy(make_space({"rotate": {}, "identity": {}, "invert": {}, "brightness": {}}), 3, 3)
    assert outcome_count(policy) == 3 * 4**3
    with pytest.raises(UserError, match=r"^max_outcomes: .*192 possible outcomes.*more than 100"):
        Enumerate(max_outcomes=100)(lambda sample: sample.magnitude[:, 0], policy, 4, None, 0.0)


@pytest.mark.parametrize("subpolicy", ["weight", "uniform"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_mixture_is_the_derivative_of_the_blend(numerics, group: str, subpolicy: str) -> None:
    """For fixed noise the blend's value is a plain function of the parameters: finite differences must agree."""
    problem, estimator = numerics.problem(jump=0.0), Mixture(0.5, 0.5, 0.7, subpolicy)  # type: ignore[arg-type]
    policy, step = problem.policy, 1e-6
    found = getattr(estimator(problem, policy, 16, torch.Generator().manual_seed(2), 0.0).grads, group).flatten()
    parameter = getattr(policy, group).data.view(-1)

    def value() -> float:
        with torch.no_grad():
            return float(problem(estimator.draw(policy, 16, torch.Generator().manual_seed(2), 0.0)).mean())

    for index in range(len(parameter)):
        before, values = float(parameter[index]), []
        for sign in (1, -1):
            parameter[index] = before + sign * step
            values.append(value())
        parameter[index] = before
        assert float(found[index]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)
    assert bool(found.any()) == (group != "subpolicy_logits" or subpolicy == "weight")


def test_the_mixture_weights_are_a_sharp_softmax_without_noise(numerics) -> None:
    policy = numerics.problem().policy
    drawn = Mixture(temperature=0.05, final_temperature=0.05).draw(policy, 3, torch.Generator().manual_seed(0), 0.0)
    expected = torch.softmax(policy.op_logits / 0.05, -1)
    torch.testing.assert_close(drawn.op, expected.expand_as(drawn.op))
    assert not torch.equal(drawn.gate[0], drawn.gate[1])  # gates are drawn for each image


def test_frozen_groups_get_zeros_and_cost_nothing(numerics) -> None:
    policy = numerics.problem().policy
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name == "gate_logits")
    problem = numerics.problem(policy=policy)
    for estimator in (Relax(), Rebar(eta=1.0), Enumerate(), Mixture()):
        (estimate,) = problem.estimates(estimator, 1)
        assert estimate.grads.gate_logits.any()
        assert not any(getattr(estimate.grads, name).any() for name in GROUPS if name != "gate_logits")


def _up_to() -> Policy:
    """Rotation alone, always applied, uniform up to a range around 0.6 of 90 degrees."""
    space = make_space({"rotate": {"low": 0.0, "high": 90.0}})
    learn: list[Learnable] = ["magnitudes", "magnitude_scales"]
    return initial_policy(space, probability=0.9999, magnitude="uniform", level=0.6, scale=0.4, learn=learn)


def test_the_density_up_to_a_drawn_range_integrates_to_one_and_fits_the_draws() -> None:
    policy = _up_to()
    location, log_scale = policy.magnitude_locations.flatten(), policy.magnitude_log_scales.flatten()
    grid = torch.linspace(0, 1, 200_001, dtype=torch.float64)[1:-1]
    density = uniform_up_to_log_probability(grid, location, log_scale, torch.tensor(True)).exp().detach()
    assert torch.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)
    drawn = policy.sample(20_000, torch.Generator().manual_seed(0)).magnitude.flatten().detach() / 90
    cumulative = torch.cumulative_trapezoid(density, grid)
    expected = cumulative[(drawn * 200_000).long().clamp(1, len(cumulative)) - 1]
    assert kstest(expected.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0])
@pytest.mark.parametrize("location", [-1000.0, -100.0, -60.0, -36.0, -30.0])
@pytest.mark.parametrize("low", [0.0, 5.0])
def test_the_score_of_a_range_that_is_almost_nothing_is_that_of_a_uniform_draw_up_to_it(
    low: float, location: float, scale: float
) -> None:
    """Far below 0, sigmoid is exp: the density up to the range is exp(-location), so the score by the location is -1 of
    every magnitude that is not at the range's end."""
    space = make_space({"rotate": {"low": low, "high": 30.0}})
    policy = initial_policy(space, magnitude="uniform", scale=scale, learn=["magnitudes", "magnitude_scales"])
    with torch.no_grad():
        policy.magnitude_locations.fill_(location)
    sample = policy.sample(800 if scale == 1e-8 else 100, torch.Generator().manual_seed(0))
    by_location = []
    for index in sample.gate[:, 0].nonzero()[:, 0].tolist():
        score = policy.score_terms(sample[index : index + 1]).magnitude.sum()
        found = torch.autograd.grad(score, [policy.magnitude_locations, policy.magnitude_log_scales])
        assert all(torch.isfinite(one).all() for one in found)
        by_location.append(float(found[0]))
    below = np.abs(np.array(by_location) + 1) < 1e-6
    if scale == 1e-8:  # no draw of these is as near to the end as that
        assert below.all()
    elif scale == 1e-3:
        assert below.mean() > 0.95


def test_reinforce_learns_the_range_without_bias_and_with_less_variance_than_through_the_range_drawn(
    record_property: Report,
) -> None:
    """f jumps in the angle. The exact gradient is that of the integral of f times the density."""
    policy, generator = _up_to(), torch.Generator().manual_seed(1)

    def f(angle: Tensor) -> Tensor:
        return torch.sin(angle / 20) + 0.5 * (angle > 40)

    nodes = torch.linspace(0, 1, 400_001, dtype=torch.float64)[1:-1]
    location, log_scale = policy.magnitude_locations.flatten(), policy.magnitude_log_scales.flatten()
    density = uniform_up_to_log_probability(nodes, location, log_scale, torch.tensor(True)).exp()
    exact = torch.stack(torch.autograd.grad(torch.trapezoid(f(90 * nodes) * density, nodes), [location, log_scale]))
    marginal, latent = [], []
    for _ in range(400):
        found = Reinforce()(lambda sample: f(sample.magnitude[:, 0]), policy, 64, generator, 0.0).grads
        marginal.append(torch.stack([found.magnitude_locations.flatten(), found.magnitude_log_scales.flatten()]))
        sample = policy.sample(64, generator)
        score = normal_log_probability(sample.latent.detach(), location, log_scale, torch.tensor(True)).sum(1)
        value = (leave_one_out(f(sample.magnitude.detach()[:, 0])) * score).mean()
        latent.append(torch.stack(torch.autograd.grad(value, [location, log_scale])))
    for draws in (torch.stack(marginal), torch.stack(latent)):
        assert ((draws.mean(0) - exact).abs() < 4 * draws.std(0) / math.sqrt(len(draws))).all()
    ratio = torch.stack(marginal).var(0) / torch.stack(latent).var(0)
    record_property("variance, marginal over latent score", ratio.flatten().tolist())
    print(ratio)
    assert (ratio < 0.5).all()
