"""Numbers that follow from a seed: they look random, and depend on nothing but the seed."""

import math

import pytest
import torch
from scipy import stats

from augrad.ops.counter import Drawn, uniform_numbers


def seeds(count: int) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(0))


def test_numbers_are_uniform_and_independent() -> None:
    numbers = uniform_numbers(seeds(400), 500, 0)
    assert numbers.shape == (400, 500)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 1e-3
    counts = torch.histc(numbers, 256, 0, 1)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    limit = 5 / math.sqrt(numbers.numel())
    centred = numbers - 0.5
    for one, other in (
        (centred[:, :-1], centred[:, 1:]),  # neighbours in a sequence
        (centred[:-1], centred[1:]),  # neighbours in the batch
        (centred[:-1, :-1], centred[1:, 1:]),
    ):
        assert abs(float((one * other).mean() / centred.var())) < limit


def test_neighbouring_seeds_have_unrelated_numbers() -> None:
    close = torch.arange(1000) / 2**24
    numbers = uniform_numbers(close, 64, 0)
    correlation = torch.corrcoef(numbers.T)
    off = correlation[~torch.eye(64, dtype=torch.bool)]
    assert off.abs().max() < 0.2
    assert abs(float(torch.corrcoef(torch.stack([numbers[:-1].flatten(), numbers[1:].flatten()]))[0, 1])) < 0.02
    assert len(numbers[:, 0].unique()) > 990


def test_a_part_of_a_sequence_is_that_part() -> None:
    whole = uniform_numbers(seeds(7), 40, 0)
    assert torch.equal(uniform_numbers(seeds(7), 15, 25), whole[:, 25:])
    assert torch.equal(uniform_numbers(seeds(7)[2:4], 40, 0), whole[2:4])


def test_golden_numbers() -> None:
    """What a sample drew yesterday it draws tomorrow."""
    numbers = uniform_numbers(torch.tensor([0.0, 0.25, 0.9]), 3, 0)
    expected = torch.tensor(
        [[15366563, 15025319, 15831960], [16047608, 7090402, 6880840], [3183663, 4085866, 91861]], dtype=torch.float64
    )
    assert torch.equal((numbers * 2**24).round(), expected)


CALLS = {
    "rand": lambda batch: torch.rand(batch, 3),
    "rand of a tuple": lambda batch: torch.rand((batch, 2, 2), dtype=torch.float64),
    "rand of channels": lambda batch: torch.rand(batch * 3, 1, 4),
    "rand_like": lambda batch: torch.rand_like(torch.zeros(batch, 2)),
    "randn": lambda batch: torch.randn(batch, 5),
    "randn_like": lambda batch: torch.randn_like(torch.zeros(batch)),
    "randint": lambda batch: torch.randint(3, 9, (batch, 4)),
    "bernoulli": lambda batch: torch.bernoulli(torch.full((batch, 8), 0.5)),
    "Uniform": lambda batch: torch.distributions.Uniform(2.0, 5.0).rsample((batch,)),
    "Bernoulli": lambda batch: torch.distributions.Bernoulli(0.3).sample((batch, 6)),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_image_has_its_own_numbers_whatever_else_is_in_the_batch(name: str) -> None:
    generator = torch.get_rng_state()
    seed = seeds(5)
    with Drawn(seed):
        torch.rand(5)
        whole = CALLS[name](5)
    with Drawn(seed[1:3]):
        torch.rand(2)
        part = CALLS[name](2)
    with Drawn(seeds(6)[5:].expand(5)):
        torch.rand(5)
        other = CALLS[name](5)
    assert torch.equal(torch.get_rng_state(), generator)
    per = len(whole) // 5
    assert torch.equal(part, whole[per : 3 * per])
    assert not torch.equal(other, whole)
    assert torch.equal(other[:per], other[per : 2 * per])
    expected = {"rand of a tuple": torch.float64, "randint": torch.int64}.get(name, torch.float32)
    assert whole.dtype == expected


def test_numbers_of_the_whole_batch_are_the_same_at_every_call() -> None:
    def draw(seed: torch.Tensor) -> list[torch.Tensor]:
        with Drawn(seed):
            return [torch.randperm(4), torch.rand(2), torch.randint(7, (1,)), torch.rand(())]

    one, other = draw(seeds(5)), draw(1 - seeds(5))
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)
    assert sorted(one[0].tolist()) == [0, 1, 2, 3]


def test_drawn_numbers_have_the_distribution_that_was_asked_for() -> None:
    with Drawn(seeds(20_000)):
        normal, whole = torch.randn(20_000), torch.randint(2, 5, (20_000,))
        chosen = torch.bernoulli(torch.full((20_000,), 0.3))
    assert stats.kstest(normal.numpy(), "norm").pvalue > 1e-3
    assert torch.equal(whole.unique(), torch.tensor([2, 3, 4]))
    assert stats.chisquare(torch.bincount(whole)[2:].numpy()).pvalue > 1e-3
    assert abs(float(chosen.mean()) - 0.3) < 5 * math.sqrt(0.21 / 20_000)


def test_afterwards_the_generator_is_as_ever() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with Drawn(seeds(2)):
        torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
