"""What estimators, regularisers and hypergradients make of odd scalars, batch sizes and grad modes. float64."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augrad.errors import UserError
from augrad.estimators.control import initial_control
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Estimator, gradients_of
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.step import backward_on
from augrad.problems.joint_space import JointSpace
from augrad.regularizers.identity_prior import IdentityPrior
from augrad.regularizers.regularizer import regularizer_gradient
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.regularizers.strength_reward import StrengthReward
from problems import Linear, Training, batch, build, shapes_unchecked

ESTIMATORS: dict[str, Estimator] = {
    "gumbel": Gumbel(),
    "gumbel, pathwise": Gumbel(magnitude="pathwise"),
    "gumbel, soft": Gumbel(relaxation="soft"),
    "gumbel, pixels": Gumbel(relaxation="straight_through_pixels"),
    "reinforce": Reinforce(),
    "reinforce, moving average": Reinforce(baseline="moving_average"),
    "relax": Relax(),
    "rebar": Rebar(),
    "mixture": Mixture(),
    "enumerate": Enumerate(),
    "enumerate, pathwise": Enumerate(magnitude="pathwise"),
}
MODES: list[Callable[[], AbstractContextManager[Any]]] = [torch.no_grad, torch.inference_mode]


def estimate(name: str, scalar: Any, batch_size: Any = 4, problem: JointSpace | None = None) -> list[Tensor]:
    problem, generator = JointSpace() if problem is None else problem, torch.Generator().manual_seed(0)
    estimator = ESTIMATORS[name]
    control = initial_control(estimator, problem.policy, torch.Generator().manual_seed(1))
    given = (scalar(problem), problem.policy, batch_size, generator, 0.0)
    found = estimator(*given) if control is None else estimator(*given, control.module)  # type: ignore[call-arg]
    return [*found.grads.tensors(), found.value]


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda scores: scores[:, None], r"\[4\], got \[4, 1\]"),
        (lambda scores: scores.mean(), r"\[4\], got \[\]"),
        (lambda scores: torch.cat([scores, scores]), r"\[4\], got \[8\]"),
        (lambda scores: scores.tolist(), r"\[4\], got a list"),
    ],
)
def test_a_scalar_gives_one_number_for_each_image(name: str, wrong: Callable[[Tensor], Any], words: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=f"scalar: expected one number for each image.*{words}"):
        estimate(name, lambda problem: lambda sample: wrong(problem(sample)))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "a", True, None])
def test_a_batch_has_a_size(name: str, batch_size: Any) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match="whole number of at least 1, got"):
        estimate(name, lambda problem: problem, batch_size)


def test_a_size_of_another_library_is_one() -> None:
    with shapes_unchecked():
        found = estimate("enumerate", lambda problem: problem, np.int64(4))
    for one, other in zip(found, estimate("enumerate", lambda problem: problem), strict=True):
        assert torch.equal(one, other)


def test_the_inner_products_of_the_outcomes_are_held_to_the_same() -> None:
    problem = JointSpace()
    with shapes_unchecked(), pytest.raises(UserError, match="whole number of at least 1, got 0"):
        Enumerate().inner_products(problem, problem.policy, 0)
    with shapes_unchecked(), pytest.raises(UserError, match=r"scalar: .*got \[4, 1\]"):
        Enumerate().inner_products(lambda sample: problem(sample)[:, None], problem.policy, 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimate_does_not_depend_on_the_callers_grad_mode(name: str, mode: Any) -> None:
    problem = JointSpace()
    expected = estimate(name, lambda _: problem, 64, problem)
    with mode():
        found = estimate(name, lambda _: problem, 64, problem)
        assert not torch.is_grad_enabled()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(bool(gradient.any()) for gradient in expected[1:5])
    assert not any(tensor.is_inference() for tensor in found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("regularizer", [IdentityPrior(mass=0.2), SelectionEntropy(), StrengthReward()])
def test_a_regulariser_does_not_depend_on_it_either(regularizer: Any, mode: Any) -> None:
    policy = JointSpace().policy
    expected = regularizer_gradient(policy, [regularizer]).tensors()
    with mode():
        found = regularizer_gradient(policy, [regularizer]).tensors()
    assert any(bool(gradient.any()) for gradient in expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "method", [OneStep(), T1T2(), Neumann(), ConjugateGradients(), Unrolled(), Unrolled(checkpoint=False)]
)
def test_a_hypergradient_does_not_either_or_is_refused(method: Hypergradient) -> None:
    training = Training(Linear, "momentum and weight decay", batches=3)
    levels = training.levels()
    expected = method(levels, {})
    with torch.no_grad():
        found = method(levels, {})
    for term, wanted in zip(found.terms, expected.terms, strict=True):
        assert all(torch.equal(part, wanted.u[name]) for name, part in term.u.items())
    with torch.inference_mode(), pytest.raises(UserError, match="inference_mode"):
        method(levels, {})


def test_a_training_pass_does_not_either_or_is_refused() -> None:
    model, data = build(Linear), batch(6, 0)

    def gradients(model: nn.Module) -> list[Tensor]:
        backward_on(model, *data, autocast=False)
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    expected = gradients(model)
    with torch.no_grad():
        found = gradients(model)
    assert len(found) == 4
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with torch.inference_mode(), pytest.raises(UserError, match="inference_mode"):
        gradients(model)


class Attention(nn.Module):
    """Attention by PyTorch's kernel, whose gradient has no derivative on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(8, 24), nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        query, key, value = self.mix(images).chunk(3, -1)
        return self.head(nn.functional.scaled_dot_product_attention(query, key, value).flatten(1))


@pytest.mark.parametrize("method", [Neumann(), ConjugateGradients(), Unrolled()])
def test_a_gradient_that_cannot_be_differentiated_is_told(method: Hypergradient) -> None:
    levels = Training(Attention, batches=3).levels()
    with pytest.raises(UserError, match=r"a layer does not allow it.*take OneStep or T1T2"):
        method(levels, {})
    for possible in (OneStep(), T1T2()):
        assert max(float(part.abs().max()) for part in possible(levels, {}).terms[0].u.values()) > 1e-6


def test_gradients_of_a_value_made_in_inference_mode_are_refused() -> None:
    """They would be zeros: an estimator of the user's that asks for them finds out."""
    policy = JointSpace().policy
    with torch.inference_mode(), pytest.raises(UserError, match="inference_mode"):
        gradients_of(policy.op_probabilities().sum(), policy)
