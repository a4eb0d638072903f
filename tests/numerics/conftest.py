"""A joint space small enough to sum over: its exact gradient is what every estimator is held against. float64."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from problems import shapes_unchecked
from torch import Tensor

from augrad import Policy
from augrad.estimators.control import Control, estimate_with
from augrad.estimators.estimate import Estimate, Estimator
from augrad.initial import Learnable, initial_policy, random_policy
from augrad.ops.space import make_space
from augrad.types import PolicyParams, PolicySample, RelaxedSample

S, L, K = 2, 2, 3
EVERYTHING: list[Learnable] = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]


def _table() -> Tensor:
    """[S, K + 1, K + 1]: what a joint outcome costs, without structure. Column 0: nothing is applied."""
    return torch.randn(S, K + 1, K + 1, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def _policy() -> Policy:
    space = make_space({"rotate": {"high": 2.0}, "identity": {}, "brightness": {}})
    return random_policy(initial_policy(space, S, L, scale=0.7, learn=EVERYTHING), seed=3)


@dataclass(frozen=True)
class Problem:
    """f of sub-policy, what is applied in each of two stages, and the magnitudes: nonlinear and not separable.

    jump: height of a step in each magnitude, which a derivative of f does not see. offset: added to f.
    """

    policy: Policy = field(default_factory=_policy)
    jump: float = 0.7
    offset: float = 0.0
    table: Tensor = field(default_factory=_table)
    slope: Tensor = field(default_factory=lambda: torch.tensor([1.5, 0.0, -2.0], dtype=torch.float64))

    def __call__(self, sample: PolicySample | RelaxedSample) -> Tensor:
        return self.offset + (self._hard(sample) if isinstance(sample, PolicySample) else self._relaxed(sample))

    def _bent(self, magnitude: Tensor, latent: Tensor) -> Tensor:
        return torch.sin(2 * magnitude) + self.jump * (latent > 0)

    def _hard(self, sample: PolicySample) -> Tensor:
        applied = sample.gate & (sample.op != 1)
        outcome = torch.where(applied, sample.slot + 1, 0)
        bent = self._bent(sample.magnitude, sample.latent) * self.slope[sample.slot] * applied
        return self.table[sample.subpolicy, outcome[:, 0], outcome[:, 1]] + bent.sum(1) + 0.8 * bent.prod(1)

    def _relaxed(self, sample: RelaxedSample) -> Tensor:
        """The multilinear extension: it agrees with the hard scalar at the corners."""
        applied = sample.op * sample.gate * torch.tensor([1.0, 0.0, 1.0])
        outcome = torch.cat([1 - applied.sum(-1, keepdim=True), applied], -1)
        bent = (applied * self._bent(sample.magnitude, sample.latent) * self.slope).sum(-1)
        value = torch.einsum("bsk,bsl,skl->bs", outcome[:, :, 0], outcome[:, :, 1], self.table)
        return (sample.subpolicy * (value + bent.sum(-1) + 0.8 * bent.prod(-1))).sum(-1)

    def value(self) -> Tensor:
        """E f, differentiable: a sum over choices and gates; over magnitudes quadrature, the step in closed form."""
        policy = self.policy
        nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(60))
        scale = policy.magnitude_log_scales.exp()
        latent = policy.magnitude_locations[..., None] + scale[..., None] * nodes
        magnitude = policy.low[..., None] + (policy.high - policy.low)[..., None] * torch.sigmoid(latent)
        smooth = (torch.sin(2 * magnitude) * weights / weights.sum()).sum(-1)
        bent = (smooth + self.jump * torch.special.ndtr(policy.magnitude_locations / scale)) * self.slope
        subpolicy, op, gate = policy.subpolicy_probabilities(), policy.op_probabilities(), policy.gate_probabilities()
        total = torch.zeros((), dtype=torch.float64)
        for s, k1, k2, g1, g2 in itertools.product(range(S), range(K), range(K), (0, 1), (0, 1)):
            open1, open2 = gate[s, 0, k1], gate[s, 1, k2]
            probability = subpolicy[s] * op[s, 0, k1] * op[s, 1, k2]
            probability = probability * (open1 if g1 else 1 - open1) * (open2 if g2 else 1 - open2)
            a1, a2 = g1 * (k1 != 1), g2 * (k2 != 1)
            one, two = a1 * bent[s, 0, k1], a2 * bent[s, 1, k2]
            total = total + probability * (self.table[s, a1 * (k1 + 1), a2 * (k2 + 1)] + one + two + 0.8 * one * two)
        return total + self.offset

    def exact(self) -> PolicyParams:
        return PolicyParams(*torch.autograd.grad(self.value(), self.policy.params.tensors()))

    def estimates(
        self,
        estimator: Estimator,
        count: int,
        batch: int = 64,
        control: Control | None = None,
        train: bool = False,
        seed: int = 0,
    ) -> list[Estimate]:
        """`count` estimates with fresh draws; with `train` the control steps after each."""
        generator, found = torch.Generator().manual_seed(seed), []

        def add(number: int) -> None:
            for _ in range(number):
                estimate = estimate_with(control, estimator, self, self.policy, batch, generator, 0.0)
                found.append(estimate)
                if train and control is not None:
                    control.step(estimate.control_loss)

        add(1)
        with shapes_unchecked():
            add(count - 1)
        return found


def stacked(found: list[Estimate], group: str) -> Tensor:
    """[draws, entries] of one group."""
    return torch.stack([getattr(estimate.grads, group).flatten() for estimate in found])


def variance(found: list[Estimate], group: str) -> float:
    """The summed variance of a group's entries."""
    return float(stacked(found, group).var(0).sum())


def assert_unbiased(found: list[Estimate], exact: PolicyParams, groups: tuple[str, ...] = PolicyParams.names()) -> None:
    """The mean within 4 standard errors for every entry of every group; what never acts has gradient zero."""
    for group in groups:
        draws = stacked(found, group)
        error = draws.mean(0) - getattr(exact, group).flatten()
        standard_error = draws.std(0) / math.sqrt(len(draws))
        moved = standard_error > 1e-12
        assert moved.any(), group
        assert (error[moved].abs() < 4 * standard_error[moved]).all(), f"{group}: {error / standard_error}"
        assert (error[~moved].abs() < 1e-12).all(), f"{group}: what never acts must have gradient zero"


@dataclass(frozen=True)
class Numerics:
    """What the tests of the estimators share."""

    problem: Callable[..., Problem] = Problem
    unbiased: Callable[..., None] = assert_unbiased
    variance: Callable[..., float] = variance
    stacked: Callable[..., Tensor] = stacked


@pytest.fixture(scope="session")
def numerics() -> Numerics:
    return Numerics()
