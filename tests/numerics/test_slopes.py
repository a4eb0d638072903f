"""The gradient from slopes: exact where it can be, the posterior mean elsewhere."""

import pytest
import torch

from augrad.errors import UserError
from augrad.objectives.slopes import Slopes, gradient_of, no_slopes


def _directions(count: int, free: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, free, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_as_many_exact_slopes_as_parameters_give_the_gradient() -> None:
    truth, rows = _directions(1, 6)[0], _directions(6, 6, 1)
    slopes = no_slopes(6).and_new(rows, rows @ truth)
    assert torch.allclose(gradient_of(slopes, 1e-12, 1.0), truth, atol=1e-6)
    in_two = no_slopes(6).and_new(rows[:3], rows[:3] @ truth).and_new(rows[3:], rows[3:] @ truth)
    assert torch.allclose(gradient_of(in_two, 1e-12, 0.5), truth, atol=1e-6)


def test_it_is_the_mean_of_the_posterior() -> None:
    """By the formula in the space of the parameters: (D' W D + I / t)^-1 D' W d, W the slopes' precisions."""
    rows, along = _directions(7, 4), _directions(1, 7, 1)[0]
    age = torch.tensor([2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    noise, memory = 0.3, 0.8
    weights = memory**age / (noise * 4)
    expected = torch.linalg.solve(rows.T @ (weights[:, None] * rows) + torch.eye(4), rows.T @ (weights * along))
    assert torch.allclose(gradient_of(Slopes(rows, along, age), noise, memory), expected)


def test_a_generation_at_right_angles_points_where_evolution_strategies_do() -> None:
    rows = 2.0 * torch.linalg.qr(_directions(6, 3)).Q.T
    along = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = gradient_of(no_slopes(6).and_new(rows, along), 0.2, 0.8)
    plain = along @ rows / 3
    assert torch.allclose(found / found.norm(), plain / plain.norm())


def test_what_is_forgotten_and_what_says_nothing() -> None:
    old, new = _directions(3, 5), _directions(2, 5, 1)
    both = (
        no_slopes(5).and_new(old, torch.ones(3, dtype=torch.float64)).and_new(new, torch.ones(2, dtype=torch.float64))
    )
    alone = no_slopes(5).and_new(new, torch.ones(2, dtype=torch.float64))
    assert torch.allclose(gradient_of(both, 0.2, 0.0), gradient_of(alone, 0.2, 0.8))
    lost = no_slopes(5).and_new(new, torch.tensor([1.0, torch.inf], dtype=torch.float64))
    assert torch.allclose(
        gradient_of(lost, 0.2, 0.8),
        gradient_of(no_slopes(5).and_new(new[:1], torch.ones(1, dtype=torch.float64)), 0.2, 0.8),
    )
    assert torch.equal(gradient_of(no_slopes(5), 0.2, 0.8), torch.zeros(5, dtype=torch.float64))


def test_older_slopes_find_what_one_generation_cannot() -> None:
    """In 48 parameters with 8 slopes a generation, 5% noise in their variance, and a gradient that stays."""
    cosines = []
    for seed in range(20):
        truth = _directions(1, 48, seed)[0]
        slopes, alone = no_slopes(48), no_slopes(48)
        for generation in range(5):
            rows = _directions(8, 48, 100 * seed + generation + 1)
            error = _directions(1, 8, 100 * seed + generation + 50)[0] * 0.22 * truth.norm()
            slopes, alone = (
                slopes.and_new(rows, rows @ truth + error),
                no_slopes(48).and_new(rows, rows @ truth + error),
            )
        cosines.append(
            [float(torch.cosine_similarity(gradient_of(s, 0.3, 0.8), truth, dim=0)) for s in (slopes, alone)]
        )
    with_memory, without = torch.tensor(cosines).mean(0).tolist()
    assert with_memory > 0.75
    assert without < 0.5


@pytest.mark.parametrize(("noise", "memory"), [(0.0, 0.5), (-1.0, 0.5), (0.1, 1.5), (0.1, -0.1), (float("nan"), 0.5)])
def test_values_outside(noise: float, memory: float) -> None:
    with pytest.raises(UserError, match="noise above 0 and memory from 0 to 1"):
        gradient_of(no_slopes(3), noise, memory)
