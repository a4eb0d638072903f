"""Estimators against the exact gradient of a small joint space (`augrad.problems.joint_space`). float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from augrad.estimators.control import Control
from augrad.estimators.estimate import Estimate, Estimator
from augrad.problems.joint_space import JointSpace
from augrad.types import PolicyParams
from problems import shapes_unchecked


class Problem(JointSpace):
    """Shapes are checked at a first estimate alone, not at hundreds alike."""

    def estimates(
        self,
        estimator: Estimator,
        count: int,
        batch: int = 64,
        control: Control | None = None,
        train: bool = False,
        seed: int = 0,
        progress: float = 0.0,
    ) -> list[Estimate]:
        super().estimates(estimator, 1, batch, control, seed=seed)
        with shapes_unchecked():
            return super().estimates(estimator, count, batch, control, train, seed, progress)


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
