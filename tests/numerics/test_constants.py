"""Weights that a training step leaves alone are constants: frozen ones, and those that no gradient reaches. float64."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad.data.types import Split, Splits
from augrad.errors import UserError
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.classifier import gradients_of_weights, logits_with, weights_of
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.learning.step import backward_on, build_classifier
from problems import LEARNED, OPTIMISERS, Training, batch, build, central_difference

METHODS: dict[str, Hypergradient] = {
    "one_step": OneStep(),
    "unrolled": Unrolled(steps=3),
    "unrolled, graphs kept": Unrolled(steps=2, checkpoint=False),
    "neumann": Neumann(),
    "cg": ConjugateGradients(),
    "t1t2": T1T2(),
}
STEPS = ["momentum and weight decay", "clipped", "adam", "adamw, clipped", "two groups, the other way round"]


class Fixed(nn.Module):
    """The first layer is no parameter at all: what frozen weights must amount to."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Linear(64, 5)
        self.register_buffer("weight", first.weight.detach())
        self.register_buffer("bias", first.bias.detach())
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(torch.tanh(nn.functional.linear(images.flatten(1), self.weight, self.bias)))


class Frozen(Fixed):
    """The same function and values, with the first layer's weights as frozen parameters."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            value = getattr(self, name)
            delattr(self, name)
            setattr(self, name, nn.Parameter(value, requires_grad=False))


class Unused(Fixed):
    """The same again, with parameters beside it that its logits do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)


class Tied(nn.Module):
    """One weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.other = nn.Linear(64, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.other.weight = self.one.weight
        self.last = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.tanh(self.other(torch.tanh(self.one(torch.tanh(self.first(images.flatten(1))))))))


@pytest.mark.parametrize("optimiser", ["momentum and weight decay", "adamw, clipped"])
@pytest.mark.parametrize("kind", [Frozen, Unused])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_them_as_constants(name: str, kind: type[nn.Module], optimiser: str) -> None:
    """Everything is what it is for the network that has them not, or has them as buffers."""
    method = METHODS[name]
    expected, found = (Training(network, optimiser, batches=3) for network in (Fixed, kind))
    one, other = (method(training.levels(), {}) for training in (expected, found))
    torch.testing.assert_close(other.validation_loss, one.validation_loss, rtol=0, atol=1e-13)
    for term, wanted in zip(other.terms, one.terms, strict=True):
        assert term.u.keys() == term.weights.keys() == weights_of(found.model).keys()
        assert max(float(part.abs().max()) for part in wanted.u.values()) > 1e-6
        for key, part in term.u.items():
            torch.testing.assert_close(part, wanted.u.get(key, torch.zeros_like(part)), rtol=1e-10, atol=1e-13)
    gradients, wanted = found.policy_gradient(other), expected.policy_gradient(one)
    for group in LEARNED:
        torch.testing.assert_close(gradients[group], wanted[group], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("optimiser", ["momentum and weight decay", "adam"])
@pytest.mark.parametrize("kind", [Frozen, Unused, Tied])
def test_true_finite_differences_through_the_real_steps(kind: type[nn.Module], optimiser: str) -> None:
    training, steps = Training(kind, optimiser, batches=2), 2
    found = training.policy_gradient(Unrolled(steps=steps)(training.levels(), {}))
    for group in LEARNED:
        difference = central_difference(
            getattr(training.policy, group), (0, 1, 1), lambda: training.validation_loss_after(steps), 1e-5
        )
        assert float(found[group][0, 1, 1]) == pytest.approx(difference, rel=1e-3, abs=1e-9), group


@pytest.mark.parametrize("kind", [Frozen, Unused, Tied])
@pytest.mark.parametrize("optimiser", STEPS)
def test_pure_steps_are_the_optimisers_steps(kind: type[nn.Module], optimiser: str) -> None:
    make, clip = OPTIMISERS[optimiser]
    model, data = build(kind), batch(12, 0)
    optimizer = make(model.parameters())
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        backward_on(model, *data, autocast=False)
        present = pure_optimizer(model, optimizer, clip)
        expected, state = present.step(weights_of(model), present.state, gradients_of_weights(model))
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        after = pure_optimizer(model, optimizer, clip).state
        for key, weight in weights_of(model).items():
            torch.testing.assert_close(expected[key], weight, rtol=0, atol=1e-12)
            torch.testing.assert_close(state[key], after[key], rtol=0, atol=1e-12)
    left = [key for key in before if key in ("weight", "bias") or key.startswith("unused")]
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in left)


def test_a_warm_start_survives_a_layer_that_is_thawed() -> None:
    training, method = Training(Frozen, "momentum and weight decay"), ConjugateGradients()
    memory = method(training.levels(), {}).memory
    training.model.weight.requires_grad_(True)
    term = method(training.levels(), memory).terms[0]
    assert term.u.keys() == weights_of(training.model).keys() > memory.keys()


def test_an_optimiser_without_a_trained_parameter_is_refused() -> None:
    model = build(Tied)
    with pytest.raises(UserError, match=r"every parameter that is trained, got one without one.weight"):
        pure_optimizer(model, torch.optim.SGD([*model.first.parameters(), *model.last.parameters()], lr=0.1))


def grey(count: int) -> Splits:
    split = Split(torch.zeros(count, 1, 8, 8, dtype=torch.uint8), torch.arange(count) % 3)
    return Splits("grey", 3, split, split, split, split, "0" * 64)


def test_a_network_that_has_nothing_to_train_is_refused() -> None:
    def frozen(**sizes: int) -> nn.Module:
        return Fixed().requires_grad_(False)

    def without(**sizes: int) -> nn.Module:
        return nn.Flatten()

    for builder in (frozen, without):
        with pytest.raises(UserError, match=r"expected parameters to train.*frozen"):
            build_classifier(builder, grey(6), 0, torch.device("cpu"))


def test_logits_that_depend_on_nothing_trained_are_refused() -> None:
    class Cut(Fixed):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    with pytest.raises(UserError, match="depend on no parameter that is trained"):
        backward_on(build(Cut), *batch(4, 0), autocast=False)


def test_other_weights_are_the_models_own() -> None:
    """Only what is given is put in the place of the model's own."""
    model, images = build(Frozen), batch(4, 0)[0]
    given: dict[str, Any] = {name: weight + 0.1 for name, weight in weights_of(model).items()}
    found = logits_with(model, given, images)
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in moved.named_parameters():
            weight.copy_(given.get(name, weight))
    torch.testing.assert_close(found, moved(images))
