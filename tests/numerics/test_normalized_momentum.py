"""Steps of one length, in the direction of the gradients so far."""

import pytest
import torch

from augrad.errors import UserError
from augrad.search.normalized_momentum import NormalizedMomentum


def test_steps_are_as_long_as_the_rate_and_follow_the_mean_gradient() -> None:
    parameters = [torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)]
    optimizer = NormalizedMomentum(parameters, lr=0.6, momentum=0.5)
    gradients = [torch.tensor([3e-9, 0.0, 0.0]), torch.tensor([0.0, 4e-9])]
    for scale in (1.0, -3.0):
        before = torch.cat(parameters).clone()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = scale * gradient.double()
        optimizer.step()
        step = torch.cat(parameters) - before
        assert float(step.norm()) == pytest.approx(0.6)
    # 0.5 * 1 - 3 = -2.5 times the first gradient: the other way
    assert torch.allclose(step, torch.tensor([0.36, 0.0, 0.0, 0.0, 0.48], dtype=torch.float64))


def test_no_gradient_is_no_step() -> None:
    parameter = torch.ones(3)
    optimizer = NormalizedMomentum([parameter])
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(parameter, torch.ones(3))
    parameter.grad = None
    optimizer.step()
    assert torch.equal(parameter, torch.ones(3))


def test_it_is_resumed_as_it_was() -> None:
    runs = []
    for resumed in (False, True):
        parameter = torch.zeros(3)
        optimizer = NormalizedMomentum([parameter], momentum=0.5)
        for step in range(4):
            if resumed and step == 2:
                state, optimizer = optimizer.state_dict(), NormalizedMomentum([parameter], momentum=0.5)
                optimizer.load_state_dict(state)
            parameter.grad = torch.tensor([1.0, float(step), -2.0])
            optimizer.step()
        runs.append(parameter)
    assert torch.equal(*runs)


def test_a_closure_gives_the_gradients() -> None:
    parameter = torch.tensor([2.0], requires_grad=True)
    optimizer = NormalizedMomentum([parameter], lr=0.5)

    def closure() -> float:
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert parameter.item() == pytest.approx(1.5)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"lr": float("nan")}])
def test_values_outside(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        NormalizedMomentum([torch.zeros(1)], **wrong)
