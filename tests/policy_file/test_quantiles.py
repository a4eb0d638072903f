"""Quantiles of magnitudes against draws."""

import numpy as np
import pytest

from augrad.policy_file import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.quantiles import quantile


@pytest.mark.parametrize(("low", "high"), [(2.0, 28.0), (1.0, 0.0)])
@pytest.mark.parametrize("kind", [LogitNormal, UniformUpTo])
def test_they_are_those_of_draws(kind: type[LogitNormal] | type[UniformUpTo], low: float, high: float) -> None:
    generator = np.random.default_rng(0)
    strength = 1 / (1 + np.exp(0.7 - 1.3 * generator.normal(size=400_000)))
    if kind is UniformUpTo:
        strength *= generator.random(len(strength))
    magnitude = kind(low=low, high=high, location=-0.7, scale=1.3)
    found = [(quantile(magnitude, level) - low) / (high - low) for level in (0.1, 0.5, 0.9)]
    assert found == pytest.approx(np.quantile(strength, (0.1, 0.5, 0.9)), abs=0.004)


@pytest.mark.parametrize(
    ("magnitude", "expected"),
    [
        (Value(value=3.0), 3.0),
        (Uniform(low=8.0, high=4.0), 7.0),
        (UniformUpTo(low=0.0, high=4.0, location=1e6, scale=0.0), 1.0),
        (UniformUpTo(low=0.0, high=4.0, location=-1e6, scale=1e6), 0.0),
        (LogitNormal(low=0.0, high=4.0, location=1e6, scale=1.0), 4.0),
    ],
)
def test_at_a_quarter(magnitude: Magnitude, expected: float) -> None:
    assert quantile(magnitude, 0.25) == pytest.approx(expected, abs=1e-12)
