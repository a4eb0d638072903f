"""Noise given what was drawn: it agrees with the draw, in value, distribution and derivative. float64."""

import pytest
import torch
from scipy.stats import ks_2samp, kstest
from torch import Tensor

from augrad.policy.distributions import categorical, conditional_gumbel, conditional_logistic, gumbel, logistic

LOGITS = torch.tensor([0.5, -1.0, 1.5, -3.0], dtype=torch.float64)
COUNT = 20_000
LEVEL = 1e-4  # of each Kolmogorov-Smirnov test; the draws are seeded


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_largest_is_what_was_drawn() -> None:
    index = categorical(torch.softmax(LOGITS, 0).expand(COUNT, -1), uniform(0, COUNT))
    assert len(index.unique()) == len(LOGITS)
    z = conditional_gumbel(LOGITS.expand(COUNT, -1), index, uniform(1, COUNT, len(LOGITS)))
    assert torch.equal(z.argmax(-1), index)


def test_the_sign_is_what_was_drawn() -> None:
    logits = torch.linspace(-12, 12, COUNT, dtype=torch.float64)
    positive = uniform(0, COUNT) < 0.5
    assert torch.equal(conditional_logistic(logits, positive, uniform(1, COUNT)) > 0, positive)


@pytest.mark.parametrize("index", range(len(LOGITS)))
def test_gumbel_given_the_draw_has_the_distribution_of_gumbel_where_that_was_drawn(index: int) -> None:
    count = 20 * COUNT
    z = LOGITS + gumbel(uniform(2, count, len(LOGITS)))
    free = z[z.argmax(-1) == index]
    tied = conditional_gumbel(
        LOGITS.expand(len(free), -1), torch.full((len(free),), index), uniform(3, len(free), len(LOGITS))
    )
    assert len(free) > 1000
    for entry in range(len(LOGITS)):
        assert ks_2samp(free[:, entry], tied[:, entry]).pvalue > LEVEL, entry
        other = (entry + 1) % len(LOGITS)  # jointly, too
        assert ks_2samp(free[:, entry] - free[:, other], tied[:, entry] - tied[:, other]).pvalue > LEVEL, entry


@pytest.mark.parametrize("logit", [-2.0, 0.3, 4.0])
@pytest.mark.parametrize("positive", [True, False])
def test_logistic_given_its_sign_has_the_distribution_of_logistic_with_that_sign(logit: float, positive: bool) -> None:
    z = logit + logistic(uniform(4, 10 * COUNT))
    free = z[(z > 0) == positive]
    logits = torch.full_like(free, logit)
    tied = conditional_logistic(logits, torch.full(free.shape, positive), uniform(5, len(free)))
    assert ks_2samp(free, tied).pvalue > LEVEL


def test_averaged_over_draws_it_is_the_free_noise() -> None:
    """p(z) = sum_b P(b) p(z | b): every entry is a Gumbel draw around its logit, every gate a logistic one."""
    index = categorical(torch.softmax(LOGITS, 0).expand(COUNT, -1), uniform(6, COUNT))
    z = conditional_gumbel(LOGITS.expand(COUNT, -1), index, uniform(7, COUNT, len(LOGITS)))
    for entry, logit in enumerate(LOGITS.tolist()):
        assert kstest(z[:, entry] - logit, "gumbel_r").pvalue > LEVEL
    positive = uniform(8, COUNT) < torch.sigmoid(LOGITS[0])
    gates = conditional_logistic(LOGITS[0].expand(COUNT), positive, uniform(9, COUNT))
    assert kstest(gates - LOGITS[0], "logistic").pvalue > LEVEL


def test_derivatives_are_those_of_finite_differences() -> None:
    index, noise = torch.tensor([2, 0, 3]), uniform(10, 3, len(LOGITS))
    logits = (LOGITS + uniform(11, 3, len(LOGITS))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: conditional_gumbel(x, index, noise), logits)
    assert torch.autograd.gradgradcheck(lambda x: conditional_gumbel(x, index, noise), logits)
    positive = noise > 0.5
    assert torch.autograd.gradcheck(lambda x: conditional_logistic(x, positive, noise), logits)
    assert torch.autograd.gradgradcheck(lambda x: conditional_logistic(x, positive, noise), logits)


def test_the_free_draw_is_made_from_the_same_logits() -> None:
    """z and z given b move alike when all logits of a choice are shifted, and never at infinity."""
    index, noise = torch.tensor([1]), uniform(12, 1, len(LOGITS))
    shifted = conditional_gumbel(LOGITS[None] + 3.0, index, noise)
    torch.testing.assert_close(shifted, conditional_gumbel(LOGITS[None], index, noise) + 3.0)
    edge = torch.tensor([[-1e30, 0.0, -1e30]], dtype=torch.float64, requires_grad=True)
    z = conditional_gumbel(edge, torch.tensor([1]), uniform(13, 1, 3))
    (gradient,) = torch.autograd.grad(torch.softmax(z, -1)[0, 1], edge)
    assert gradient.isfinite().all()
    assert torch.softmax(z, -1)[0, 1] == 1


def test_impossible_outcomes_stay_finite_and_are_what_was_asked_for() -> None:
    logits = torch.tensor([0.3, -1.2, 1.0, -1e30], dtype=torch.float64).expand(COUNT, 4)
    index = torch.arange(COUNT) % 4
    given = conditional_gumbel(logits, index, uniform(14, COUNT, 4).clamp_min(1e-300))
    assert given.isfinite().all()
    assert torch.equal(given.argmax(-1), index)
    edge = torch.tensor([40.0, -40.0, 100.0, -100.0], dtype=torch.float64)
    for noise in (1e-38, 0.5, 1.0 - 1e-16):
        sign = conditional_logistic(edge, edge < 0, torch.full((4,), noise, dtype=torch.float64))
        assert sign.isfinite().all()
        assert torch.equal(sign > 0, edge < 0)
