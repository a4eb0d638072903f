"""The unrolled hypergradient against true finite differences of several real optimiser steps. float64."""

import pytest
import torch
from torch import Tensor, nn

from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.unrolled import Unrolled
from problems import LEARNED, OPTIMISERS, Linear, Normed, Training, central_difference, flat_levels, symmetric

pytestmark = pytest.mark.slow

CASES = [
    *[(Linear, name, steps) for name in OPTIMISERS for steps in (2, 4)],
    *[(Normed, name, 3) for name in OPTIMISERS],
    (Linear, "nesterov", 1),
]


@pytest.mark.parametrize(("kind", "name", "steps"), CASES)
def test_true_finite_difference_through_the_real_steps(kind: type[nn.Module], name: str, steps: int) -> None:
    """Perturb the policy, rerun T real steps on T batches with the same draws, difference the validation loss."""
    training = Training(kind, name, batches=steps)
    link = Unrolled(steps)(training.levels(), {})
    assert len(link.terms) == steps
    found = training.policy_gradient(link)
    for group in LEARNED:
        for index in [(0, 0, 0), (0, 1, 1)]:
            difference = central_difference(
                getattr(training.policy, group), index, lambda: training.validation_loss_after(steps), 1e-5
            )
            assert float(found[group][index]) == pytest.approx(difference, rel=2e-4, abs=1e-9), f"{group}{index}"
    assert float(link.validation_loss) == pytest.approx(training.validation_loss_after(steps), abs=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_one_step_of_it_is_one_step(name: str) -> None:
    levels = Training(Normed, name).levels()
    one, unrolled = OneStep()(levels, {}), Unrolled(steps=1)(levels, {})
    assert len(unrolled.terms) == 1
    torch.testing.assert_close(unrolled.terms[0].u, one.terms[0].u, rtol=0, atol=1e-14)
    torch.testing.assert_close(unrolled.terms[0].weights, one.terms[0].weights, rtol=0, atol=0)
    assert torch.equal(unrolled.validation_loss, one.validation_loss)


# Not Adam with BatchNorm: the bias before it has no gradient but for rounding, which Adam blows up.
@pytest.mark.parametrize(("kind", "name"), [(Linear, "adamw, clipped"), (Linear, "nesterov"), (Normed, "clipped")])
def test_checkpointing_changes_no_number(kind: type[nn.Module], name: str) -> None:
    levels = Training(kind, name, batches=4).levels()
    kept, again = (Unrolled(4, checkpoint=checkpoint)(levels, {}) for checkpoint in (False, True))
    for one, other in zip(kept.terms, again.terms, strict=True):
        torch.testing.assert_close(one.u, other.u, rtol=0, atol=1e-14)
        torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=1e-14)
    torch.testing.assert_close(kept.validation_loss, again.validation_loss, rtol=0, atol=1e-14)


def test_closed_form_of_plain_steps_on_a_quadratic() -> None:
    """On w'Aw/2 - w'b with steps of size eta, u_t = -eta (I - eta A)^(T-1-t) grad L_val(w_T)."""
    A, eta, steps = symmetric(5, 0, torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0])), 0.2, 4
    generator = torch.Generator().manual_seed(1)
    w, b, target = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(3))

    def training_loss(w: Tensor) -> Tensor:
        return 0.5 * w @ A @ w - w @ b

    levels = flat_levels(w, training_loss, lambda w: 0.5 * (w - target).square().sum(), lr=eta)
    link = Unrolled(steps)(levels, {})
    for _ in range(steps):
        w = w - eta * (A @ w - b)
    expected = -eta * (w - target)
    for term in reversed(link.terms):
        torch.testing.assert_close(term.u["w"], expected, rtol=0, atol=1e-12)
        expected = expected - eta * A @ expected
