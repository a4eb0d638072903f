"""How strongly: the derivative with respect to a magnitude's location, against brute force on a network in training."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from augrad.estimators.control import Control, estimate_with, initial_control
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.learning.classifier import Weights
from augrad.problems.strength import (
    Strength,
    derivative_at_fixed_u,
    expected_pathwise,
    flat,
    part_masses,
    strength_problem,
)
from problems import shapes_unchecked

RELU, SMOOTH = "ReLU, max pooling", "SiLU, average pooling"
LOCATION = 1.1
PARTS = 60


@cache
def problem(network: str, steps: int = 100) -> Strength:
    """Small, after some steps of training."""
    with shapes_unchecked():
        return strength_problem(network=network, steps=steps, batch_size=64, validation_size=64, width=8)


@cache
def truth(network: str) -> tuple[Weights, float]:
    """u, scaled so that scores are around 1, and the derivative at fixed u by sums over magnitudes."""
    of = problem(network)
    policy, generator = of.policy(LOCATION), torch.Generator().manual_seed(0)
    with shapes_unchecked():
        u = of.mean_u(policy, 16, generator)
        with torch.no_grad():
            spread = of.scalar(u, policy)(policy.sample(64, generator)).std()
        u = {name: part / spread for name, part in u.items()}
        return u, derivative_at_fixed_u(of.table(PARTS), u, LOCATION, 1.0)


def estimates(network: str, way: Any, count: int, control: Control | None = None, train: bool = False) -> Tensor:
    """[count]: estimates of 64 draws each."""
    of = problem(network)
    policy, generator, found = of.policy(LOCATION), torch.Generator().manual_seed(1), []
    scalar = of.scalar(truth(network)[0], policy)
    with shapes_unchecked():
        for _ in range(count):
            one = estimate_with(control, way, scalar, policy, 64, generator, 0.0)
            found.append(one.grads.magnitude_locations.flatten()[0])
            if train and control is not None:
                control.step(one.control_loss)
    return torch.stack(found)


def error(draws: Tensor, exact: float) -> float:
    """Of the mean, in standard errors."""
    return float(draws.mean() - exact) / (float(draws.std()) / math.sqrt(len(draws)))


def test_masses_are_those_of_the_draws() -> None:
    policy = Strength.policy(problem(RELU, steps=1), 0.4, 0.8)
    magnitude = policy.sample(20_000, torch.Generator().manual_seed(0)).magnitude.detach().flatten()
    found = torch.histc(magnitude, 6, 0.0, 90.0) / len(magnitude)
    masses = part_masses(0.4, 0.8, 6)
    assert float(masses.sum()) == pytest.approx(1, abs=1e-12)
    assert ((found - masses).abs() < 4 * (masses * (1 - masses) / len(magnitude)).sqrt()).all()


def test_the_step_is_the_optimisers() -> None:
    """The validation loss after the step, and u, which is its derivative with respect to the training gradient."""
    of = problem(SMOOTH, steps=1)
    gradients = of.drawn(of.policy(0.0), torch.Generator().manual_seed(0))
    u = of.u(gradients)
    along = {name: torch.randn_like(part) for name, part in gradients.items()}
    ahead, behind = (
        of.loss_after({name: part + sign * 1e-5 * along[name] for name, part in gradients.items()}) for sign in (1, -1)
    )
    torch.testing.assert_close((ahead - behind) / 2e-5, flat(u) @ flat(along), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_sums_and_common_draws_agree() -> None:
    """Two ways to the truth; and the derivative of the whole is near that at fixed u."""
    u, exact = truth(RELU)
    with shapes_unchecked():
        whole, fixed = problem(RELU).differences(u, LOCATION, 1.0, 0.3, 60, torch.Generator().manual_seed(3))
    assert abs(error(fixed, exact)) < 4
    assert float(fixed.std()) / math.sqrt(60) < 0.3 * abs(exact)
    assert torch.corrcoef(torch.stack([whole, fixed]))[0, 1] > 0.7


@pytest.mark.slow
def test_scores_have_no_bias_where_pathwise_has() -> None:
    """ReLU and max-pooling: the pathwise gradient is off by many standard errors, the others are not."""
    _, exact = truth(RELU)
    relax = Relax(learning_rate=0.02)
    control = initial_control(relax, problem(RELU).policy(LOCATION), torch.Generator().manual_seed(0))
    estimates(RELU, relax, 50, control, train=True)
    for draws in (estimates(RELU, Reinforce(), 150), estimates(RELU, relax, 150, control)):
        assert abs(error(draws, exact)) < 4
    pathwise = estimates(RELU, Gumbel(magnitude="pathwise"), 60)
    assert abs(error(pathwise, exact)) > 8
    u, _ = truth(RELU)
    by_sums = expected_pathwise(problem(RELU).slopes(u, PARTS), problem(RELU).high, LOCATION, 1.0)
    assert abs(error(pathwise, by_sums)) < 4


@pytest.mark.slow
def test_pathwise_has_no_bias_in_a_smooth_network() -> None:
    u, exact = truth(SMOOTH)
    pathwise = estimates(SMOOTH, Gumbel(magnitude="pathwise"), 60)
    assert abs(error(pathwise, exact)) < 4
    by_sums = expected_pathwise(problem(SMOOTH).slopes(u, PARTS), problem(SMOOTH).high, LOCATION, 1.0)
    assert by_sums == pytest.approx(exact, abs=0.05 * abs(exact) + 1e-3)


def test_gumbel_learns_magnitudes_as_reinforce_does() -> None:
    """By default: the same draws give the same estimate."""
    of = problem(RELU, steps=1)
    policy = of.policy(LOCATION)
    scalar = of.scalar({name: torch.ones_like(part) for name, part in of.weights.items()}, policy)
    found = [
        way(scalar, policy, 64, torch.Generator().manual_seed(2), 0.0).grads.magnitude_locations
        for way in (Gumbel(), Reinforce())
    ]
    torch.testing.assert_close(*found)
