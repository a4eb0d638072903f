"""The one-step hypergradient against closed forms and true finite differences of the real optimiser step. float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad.hypergradients.one_step import OneStep
from augrad.learning.classifier import gradients_of_weights, logits_with, losses_of, weights_of
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.learning.step import backward_on
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.scores import difference_scores, directional_scores
from problems import LEARNED, OPTIMISERS, Linear, Normed, Training, batch, build, central_difference, flat_levels


@pytest.mark.parametrize("name", OPTIMISERS)
def test_pure_steps_are_the_optimisers_steps(name: str) -> None:
    """Each step from the real state, and all of them one after another from the state at the beginning."""
    make, clip = OPTIMISERS[name]
    model, data = build(Linear), batch(12, 0)
    optimizer = make(model.parameters())
    start = pure_optimizer(model, optimizer, clip)
    chained, remembered = {key: weight.clone() for key, weight in weights_of(model).items()}, start.state
    for steps in range(3):
        backward_on(model, *data, autocast=False)
        present, gradients = pure_optimizer(model, optimizer, clip), gradients_of_weights(model)
        expected, _ = present.step(weights_of(model), present.state, gradients)
        chained, remembered = start.step(chained, remembered, gradients, steps)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        for key, weight in model.named_parameters():
            for found in (expected, chained):
                torch.testing.assert_close(found[key], weight.detach(), rtol=0, atol=1e-12, msg=f"{key}, step {steps}")


def test_closed_form_of_a_quadratic() -> None:
    """L_tr = w'Aw/2 - w'B alpha, one step of size eta: dL_val/dalpha = eta B' grad L_val(w')."""
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    A = A @ A.T
    w, alpha, target = (torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(3))
    eta = 0.05

    def training_loss(w: Tensor) -> Tensor:
        return 0.5 * w @ A @ w - w @ B @ alpha

    levels = flat_levels(w, training_loss, lambda w: 0.5 * (w - target).square().sum(), lr=eta)
    (term,) = OneStep()(levels, {}).terms
    # <u, grad_w L_tr> depends on alpha through -B alpha only: its derivative is -B' u.
    stepped = w - eta * (A @ w - B @ alpha)
    torch.testing.assert_close(-B.T @ term.u["w"], eta * B.T @ (stepped - target), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("kind", [Linear, Normed])
def test_true_finite_difference_through_the_real_step(kind: type[nn.Module], name: str) -> None:
    """Perturb the policy, rerun the real optimiser step on the same relaxed draws, difference the validation loss."""
    training = Training(kind, name)
    found = training.policy_gradient(OneStep()(training.levels(), {}))
    for group in LEARNED:
        for index in [(0, 0, 0), (0, 1, 1)]:
            difference = central_difference(
                getattr(training.policy, group), index, lambda: training.validation_loss_after(1), 1e-5
            )
            assert float(found[group][index]) == pytest.approx(difference, rel=2e-4, abs=1e-9), f"{group}{index}"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SmallConvNet, {"in_channels": 1, "class_count": 3, "width": 16, "activation": "relu", "pool": "max"}),
        (SmallConvNet, {"in_channels": 1, "class_count": 3, "width": 16, "activation": "silu", "pool": "average"}),
        (WideResNet, {"in_channels": 1, "class_count": 3, "depth": 10, "widen_factor": 1}),
    ],
)
def test_scores_agree_with_per_image_gradients_and_differences(
    kind: type[nn.Module], arguments: dict[str, Any]
) -> None:
    images, labels = batch(12, 1)
    model = build(kind, **arguments)
    generator = torch.Generator().manual_seed(2)
    u = {key: torch.randn(w.shape, generator=generator, dtype=torch.float64) for key, w in model.named_parameters()}
    weights = weights_of(model)
    with torch.no_grad():
        scores = directional_scores(model, weights, u, images, labels)
        differences = difference_scores(model, weights, u, images, labels, radius=1e-5)
    leaves = {key: weight.requires_grad_() for key, weight in weights.items()}
    losses = losses_of(logits_with(model, leaves, images), labels)
    for index in range(len(images)):
        gradient = torch.autograd.grad(losses[index], list(leaves.values()), retain_graph=True)
        inner = sum((g * u[key]).sum() for g, key in zip(gradient, leaves, strict=True))
        torch.testing.assert_close(scores[index], inner, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(scores, differences, rtol=1e-3, atol=1e-4)
