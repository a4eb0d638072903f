"""The guards: one scale for all evaluations of a step, and a pace that follows the signal, not its outliers."""

import pytest
import torch

from augrad.estimators.estimate import MappedScalar
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.search.damping import Normalization, Signal, damped_step, no_signal


def measured(*spreads: float) -> Signal:
    signal = no_signal(torch.device("cpu"))
    for spread in spreads:
        signal = signal.after(torch.tensor(spread))
    return signal


def share(signal: Signal, spread: float, floor: float = 1.0) -> float:
    return float(signal.share(torch.tensor(spread), floor))


def test_before_ten_measurements_every_step_is_whole() -> None:
    assert share(measured(*[8.0] * 9), 0.1) == 1.0
    assert share(measured(*[8.0] * 10), 0.1) < 1.0


def test_the_share_falls_with_the_square_of_the_spread() -> None:
    signal = measured(*[8.0] * 20)
    assert float(signal.peak) == pytest.approx(8.0, rel=1e-5)
    assert share(signal, 9.0) == 1.0
    assert share(signal, 4.0) == pytest.approx(0.25, rel=1e-4)
    assert share(signal, 2.0, floor=0.5) == pytest.approx(0.25, rel=1e-4)
    assert share(signal, 4.0, floor=0.0) == 1.0


def test_the_peak_is_remembered_when_the_signal_has_gone() -> None:
    assert float(measured(*[8.0] * 20, *[1.0] * 300).peak) == pytest.approx(8.0, rel=1e-5)


def test_one_outlier_does_not_decide_the_pace() -> None:
    """A batch of ten times the usual spread doubles the peak; the plain maximum would be ten times as high."""
    assert float(measured(*[6.0] * 100, 60.0, *[6.0] * 30).peak) == pytest.approx(6.0 + 0.1 * 54.0, rel=1e-3)


def test_damped_steps_are_the_share_of_the_whole_step() -> None:
    parameter, damped = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    for p, part in ((parameter, 1.0), (damped, 0.25)):
        optimizer = torch.optim.Adam([p], lr=0.1)
        p.grad = torch.tensor([1.0, -2.0, 3.0])
        damped_step(optimizer, torch.tensor(part))
    torch.testing.assert_close(1 - damped.detach(), 0.25 * (1 - parameter.detach()))


def test_all_evaluations_of_a_step_share_the_first_ones_divisor() -> None:
    policy = initial_policy(make_space({"identity": {}, "invert": {}}))
    samples = [policy.sample(8, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    values = iter([torch.arange(8.0), 10 * torch.arange(8.0)])
    normalized = MappedScalar(lambda _: next(values), Normalization())
    first, second = (normalized(sample) for sample in samples)
    assert float(first.std(correction=0)) == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(second, 10 * first)
    assert not MappedScalar(lambda _: torch.full((8,), 3.0), Normalization())(samples[0]).any()
