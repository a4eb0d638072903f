"""The one-step hypergradient against closed forms and true finite differences of the real optimiser step. float64."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy
from augrad.classifier import Weights, gradients_of_weights, logits_with, losses_of, weights_of
from augrad.hypergradients.one_step import OneStep
from augrad.initial import initial_policy
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.bilevel import Bilevel, difference_scores, directional_scores
from augrad.ops.space import make_space
from augrad.training import backward_on
from augrad.update import next_weights

OPTIMISERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], float | None]] = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.3), None),
    "momentum and weight decay": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.02), None),
    "dampening": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, dampening=0.4), None),
    "nesterov": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.02), None),
    "maximize": (
        lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.02, nesterov=True, maximize=True),
        None,
    ),
    "clipped": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True), 0.05),
    "clip limit not reached": (lambda p: torch.optim.SGD(p, lr=0.3), 1e3),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02), None),
    "adamw, clipped": (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), 0.05),
}


class Linear(nn.Module):
    """Smooth, with a layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Normed(nn.Module):
    """BatchNorm between smooth convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def build(kind: type[nn.Module], **arguments: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(**arguments).double()


@pytest.fixture
def batches() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def images(count: int) -> Tensor:
        return 0.2 + 0.6 * torch.rand(count, 1, 8, 8, generator=generator, dtype=torch.float64)

    def labels(count: int) -> Tensor:
        return torch.randint(0, 3, (count,), generator=generator)

    return images(12), labels(12), images(9), labels(9)


def warmed(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Two real steps, so that momentum and second moments are not empty."""
    for _ in range(2):
        backward_on(model, images, labels, autocast=False)
        optimizer.step()


def validation(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[Weights], tuple[Tensor, Tensor]]:
    def validate(weights: Weights) -> tuple[Tensor, Tensor]:
        logits = logits_with(model, weights, images)
        return losses_of(logits, labels).mean(), logits

    return validate


@pytest.mark.parametrize("name", OPTIMISERS)
def test_pure_step_is_the_optimisers_step(name: str, batches: tuple[Tensor, ...]) -> None:
    make, clip = OPTIMISERS[name]
    model = build(Linear)
    optimizer = make(model.parameters())
    for steps in range(3):
        backward_on(model, batches[0], batches[1], autocast=False)
        expected = next_weights(model, optimizer, clip)(gradients_of_weights(model))
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        for key, weight in model.named_parameters():
            torch.testing.assert_close(expected[key], weight.detach(), rtol=0, atol=1e-12, msg=f"{key}, step {steps}")


def test_closed_form_of_a_quadratic() -> None:
    """L_tr = w'Aw/2 - w'B alpha, one step of size eta: dL_val/dalpha = eta B' grad L_val(w')."""
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    A = A @ A.T
    alpha, target = (torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(2))
    model = nn.Module()
    model.w = nn.Parameter(torch.randn(4, generator=generator, dtype=torch.float64))
    eta = 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=eta)

    def validate(weights: Weights) -> tuple[Tensor, Tensor]:
        return 0.5 * (weights["w"] - target).square().sum(), weights["w"]

    gradients = {"w": (A @ model.w - B @ alpha).detach()}
    link = OneStep()(next_weights(model, optimizer), gradients, validate)
    # <u, grad_w L_tr> depends on alpha through -B alpha only: its derivative is -B' u.
    stepped = model.w.detach() - eta * gradients["w"]
    torch.testing.assert_close(-B.T @ link.u["w"], eta * B.T @ (stepped - target), rtol=0, atol=1e-12)


def point_policy() -> Policy:
    """Smooth operations with point magnitudes: the pathwise derivative is exact."""
    space = make_space({"brightness": {"signed": False}, "contrast": {"signed": False}, "identity": {}})
    policy = initial_policy(space, stages=2, magnitude="point", level=0.3, learn=["ops", "gates", "magnitudes"])
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        policy.op_logits += torch.randn(policy.op_logits.shape, generator=generator, dtype=torch.float64)
    return policy


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("kind", [Linear, Normed])
def test_true_finite_difference_through_the_real_step(
    kind: type[nn.Module], name: str, batches: tuple[Tensor, ...]
) -> None:
    """Perturb the policy, rerun the real optimiser step on the same relaxed draws, difference the validation loss."""
    make, clip = OPTIMISERS[name]
    images, labels, val_images, val_labels = batches
    model, policy = build(kind), point_policy()
    optimizer = make(model.parameters())
    warmed(model, optimizer, images, labels)
    noise = policy.draw_relaxed_noise(len(images), torch.Generator().manual_seed(4))

    def validation_after_step() -> float:
        trial = copy.deepcopy(model)
        trial_optimizer = make(trial.parameters())
        trial_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        with torch.no_grad():
            augmented = policy(images, params=policy.rsample_from(noise, 0.7))
        backward_on(trial, augmented, labels, autocast=False)
        if clip is not None:
            nn.utils.clip_grad_norm_(trial.parameters(), clip)
        trial_optimizer.step()
        return float(validation(trial, val_images, val_labels)(weights_of(trial))[0])

    with torch.no_grad():
        augmented = policy(images, params=policy.rsample_from(noise, 0.7))
    buffers = copy.deepcopy(dict(model.named_buffers()))
    backward_on(model, augmented, labels, autocast=False)
    for key, buffer in model.named_buffers():
        buffer.copy_(buffers[key])
    link = OneStep()(
        next_weights(model, optimizer, clip), gradients_of_weights(model), validation(model, val_images, val_labels)
    )
    scalar = Bilevel().scalar(model, link.u, policy, images, labels)
    scores = scalar(policy.rsample_from(noise, 0.7)).mean()
    groups = ["op_logits", "gate_logits", "magnitude_locations"]
    found = torch.autograd.grad(scores, [getattr(policy, group) for group in groups])
    step = 1e-5
    for group, gradient in zip(groups, found, strict=True):
        parameter = getattr(policy, group)
        for index in [(0, 0, 0), (0, 1, 1)]:
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[index] += sign * step
                ends.append(validation_after_step())
                with torch.no_grad():
                    parameter[index] -= sign * step
            difference = (ends[0] - ends[1]) / (2 * step)
            assert float(gradient[index]) == pytest.approx(difference, rel=2e-4, abs=1e-9), f"{group}{index}"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SmallConvNet, {"in_channels": 1, "class_count": 3, "width": 16, "activation": "relu", "pool": "max"}),
        (SmallConvNet, {"in_channels": 1, "class_count": 3, "width": 16, "activation": "silu", "pool": "average"}),
        (WideResNet, {"in_channels": 1, "class_count": 3, "depth": 10, "widen_factor": 1}),
    ],
)
def test_scores_agree_with_per_image_gradients_and_differences(
    kind: type[nn.Module], arguments: dict[str, Any], batches: tuple[Tensor, ...]
) -> None:
    images, labels, *_ = batches
    model = build(kind, **arguments)
    generator = torch.Generator().manual_seed(2)
    u = {key: torch.randn(w.shape, generator=generator, dtype=torch.float64) for key, w in model.named_parameters()}
    with torch.no_grad():
        scores = directional_scores(model, u, images, labels)
        differences = difference_scores(model, u, images, labels, radius=1e-5)
    weights = {key: weight.requires_grad_() for key, weight in weights_of(model).items()}
    losses = losses_of(logits_with(model, weights, images), labels)
    for index in range(len(images)):
        gradient = torch.autograd.grad(losses[index], list(weights.values()), retain_graph=True)
        inner = sum((g * u[key]).sum() for g, key in zip(gradient, weights, strict=True))
        torch.testing.assert_close(scores[index], inner, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(scores, differences, rtol=1e-3, atol=1e-4)


def test_a_hypergradient_leaves_no_trace(batches: tuple[Tensor, ...]) -> None:
    images, labels, val_images, val_labels = batches
    model, policy = build(Normed), point_policy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    warmed(model, optimizer, images, labels)
    backward_on(model, images, labels, autocast=False)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), gradients_of_weights(model)))
    modes = [(module.training, getattr(module, "track_running_stats", None)) for module in model.modules()]
    link = OneStep()(
        next_weights(model, optimizer, 0.1), gradients_of_weights(model), validation(model, val_images, val_labels)
    )
    scalar = Bilevel().scalar(model, link.u, policy, images, labels)
    scalar(policy.rsample(len(images))).mean().backward()
    after = (model.state_dict(), optimizer.state_dict(), gradients_of_weights(model))
    assert modes == [(module.training, getattr(module, "track_running_stats", None)) for module in model.modules()]
    for first, second in zip(before, after, strict=True):
        flat_first, flat_second = (torch.utils._pytree.tree_flatten(tree)[0] for tree in (first, second))
        assert all(
            torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(flat_first, flat_second, strict=True)
        )


def test_an_optimiser_it_cannot_follow_is_refused() -> None:
    model = build(Linear)
    with pytest.raises(ValueError, match="SGD, Adam and AdamW, got RMSprop"):
        next_weights(model, torch.optim.RMSprop(model.parameters()))
