"""What holds for every hypergradient method, and where they and exact enumeration must agree. float64."""

import copy
import math
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy
from augrad.errors import UserError
from augrad.estimators.reinforce import Reinforce
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient, TrainingBatch, TwoLevels, validation_pass
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.classifier import Weights, gradients_of_weights, logits_with, losses_of, weights_of
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.objectives.bilevel import Bilevel, image_count
from augrad.ops.space import make_space
from augrad.policy import Slot, parameters_like
from augrad.types import PolicySample
from problems import Dropped, Linear, Training, central_difference, validation

pytestmark = pytest.mark.slow

METHODS: dict[str, Hypergradient] = {
    "one_step": OneStep(),
    "t1t2": T1T2(),
    "neumann": Neumann(),
    "neumann without terms": Neumann(terms=0),
    "cg": ConjugateGradients(),
    "cg, cold": ConjugateGradients(iterations=2, warm_start=False),
    "unrolled": Unrolled(),
    "unrolled, graphs kept": Unrolled(steps=4, checkpoint=False),
    "unrolled once": Unrolled(steps=1),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_no_trace(name: str) -> None:
    """Parameters, buffers, dropout masks, optimiser, gradients and modes are bit for bit what they were."""
    method = METHODS[name]
    assert isinstance(method, Hypergradient)
    training = Training(Dropped, "nesterov", batches=4)
    model, optimizer = training.model, training.optimizer
    levels = training.levels()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), gradients_of_weights(model)))
    modes = [(module.training, getattr(module, "track_running_stats", None)) for module in model.modules()]
    random_state = torch.get_rng_state()
    memory: Weights = {}
    for _ in range(2):
        link = method(levels, memory)
        memory = link.memory
        scores = Bilevel().scalar(model, link.terms, training.policy)
        scores(training.policy.rsample(image_count(link.terms), generator=torch.Generator())).mean().backward()
    after = (model.state_dict(), optimizer.state_dict(), gradients_of_weights(model))
    assert modes == [(module.training, getattr(module, "track_running_stats", None)) for module in model.modules()]
    assert torch.equal(random_state, torch.get_rng_state())
    for first, second in zip(before, after, strict=True):
        flat_first, flat_second = (torch.utils._pytree.tree_flatten(tree)[0] for tree in (first, second))
        for one, other in zip(flat_first, flat_second, strict=True):
            assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.mark.parametrize("name", METHODS)
def test_the_cost_is_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward passes one each, backward passes one, derivatives of backward passes (they go along a vector) two."""
    method, training = METHODS[name], Training(batches=4)
    levels, count = training.levels(), 0

    def forward(module: nn.Module, arguments: object) -> None:
        nonlocal count
        count += 1

    backward = torch.autograd.grad

    def counted(outputs: object, inputs: object, grad_outputs: object = None, **options: object) -> object:
        nonlocal count
        if sys._getframe(1).f_globals["__name__"].startswith("augrad."):  # not torch.func through the optimiser's step
            count += 1 if grad_outputs is None else 2
        return backward(outputs, inputs, grad_outputs, **options)  # type: ignore[arg-type]

    memory = method(levels, {}).memory
    training.model.register_forward_pre_hook(forward)
    monkeypatch.setattr(torch.autograd, "grad", counted)
    method(levels, memory)
    assert count == method.passes


def test_dropout_draws_one_mask_for_all_passes() -> None:
    """A hessian needs the same function at every product; and the next training step its own next mask."""
    model = Training(Dropped).model
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (logits_with(model, weights_of(model), images) for _ in range(2))
    assert torch.equal(first, second)
    model(images)
    assert not torch.equal(logits_with(model, weights_of(model), images), first)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Unrolled(steps=0), "steps: .*at least 1, got 0"),
        (lambda: Neumann(terms=-1), "terms: .*at least 0, got -1"),
        (lambda: Neumann(step_size=0.0), "step_size: .*above 0, got 0.0"),
        (lambda: Neumann(step_size=math.nan), "step_size: expected a finite number"),
        (lambda: Neumann(damping=-0.1), "damping: .*at least 0, got -0.1"),
        (lambda: ConjugateGradients(iterations=0), "iterations: .*at least 1, got 0"),
        (lambda: ConjugateGradients(damping=-1.0), "damping: .*at least 0, got -1.0"),
        (lambda: ConjugateGradients(damping=math.inf), "damping: expected a finite number"),
    ],
)
def test_settings_out_of_range(build: Callable[[], Hypergradient], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build()


@pytest.mark.parametrize("name", METHODS)
def test_only_methods_that_unroll_need_an_optimiser_they_know(name: str) -> None:
    training = Training()
    rmsprop = torch.optim.RMSprop(training.model.parameters(), weight_decay=0.1)
    levels = replace(training.levels(), optimizer=pure_optimizer(training.model, rmsprop))
    if METHODS[name].follows_rate:
        with pytest.raises(UserError, match="SGD, Adam and AdamW, got RMSprop"):
            METHODS[name](levels, {})
    else:
        METHODS[name](levels, {})


# --- a mixture of four sub-policies ----------------------------------------------------------------------------------

RATE = 0.3


def mixture_policy() -> Policy:
    """Four sub-policies of one certain operation of fixed strength; only their weights are learned."""
    chosen = ("brightness", "contrast", "rotate", "identity")
    candidates = make_space({name: {} if name == "identity" else {"signed": False} for name in chosen}).candidates
    slots = tuple(
        ((Slot(index, candidate.low or 0.0, candidate.high or 0.0),),) for index, candidate in enumerate(candidates)
    )
    params = parameters_like(slots)
    params = replace(
        params,
        subpolicy_logits=torch.tensor([0.4, -0.3, 0.2, 0.0]),
        gate_logits=params.gate_logits + 40,
        magnitude_log_scales=params.magnitude_log_scales - math.inf,
    )
    policy = Policy([candidate.op for candidate in candidates], slots, params)
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name == "subpolicy_logits")
    return policy


class Mixture(Training):
    """Trains on sum_i p_i L_i: each image under each sub-policy, weighted. Plain or other real optimiser."""

    def every(self, count: int) -> list[PolicySample]:
        """The sample in which all images drew sub-policy i, for each i."""
        probabilities = self.policy.subpolicy_probabilities().detach()
        noise = self.policy.draw_noise(count, torch.Generator().manual_seed(0))
        middles = probabilities.cumsum(0) - probabilities / 2
        samples = [
            self.policy.sample_from(replace(noise, subpolicy=middle.to(noise.subpolicy).expand(count)))
            for middle in middles
        ]
        assert all((sample.subpolicy == index).all() for index, sample in enumerate(samples))
        return samples

    def losses(self, index: int, model: nn.Module, weights: Weights) -> Tensor:
        """L_i of the batch, [S]."""
        images, labels = self.data[index]
        with torch.no_grad():
            views = [self.policy(images, params=sample) for sample in self.every(len(images))]
        return torch.stack([losses_of(logits_with(model, weights, view), labels).mean() for view in views])

    def mixed(self, index: int, model: nn.Module, weights: Weights) -> Tensor:
        return self.policy.subpolicy_probabilities().detach() @ self.losses(index, model, weights)

    def validation_loss_after(self, steps: int) -> float:
        model = copy.deepcopy(self.model)
        optimizer = self.make(model.parameters())
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        for index in range(steps):
            optimizer.zero_grad()
            self.mixed(index, model, dict(model.named_parameters())).backward()
            optimizer.step()
        return float(validation(model, *self.held_out)(weights_of(model))[0])

    def training_batch(self, index: int) -> TrainingBatch:
        return TrainingBatch(*self.data[index], lambda weights: self.mixed(index, self.model, weights))

    def levels(self) -> TwoLevels:
        levels = super().levels()
        gradients = torch.func.grad(levels.batch.loss)(levels.weights)
        return replace(levels, gradients=gradients)

    def enumerated(self, method: Hypergradient) -> Tensor:
        """d sum_i p_i mean s(i) / d logits, exactly."""
        link = method(self.levels(), {})
        scalar = Bilevel().scalar(self.model, link.terms, self.policy)
        with torch.no_grad():
            means = torch.stack([scalar(sample).mean() for sample in self.every(image_count(link.terms))])
        value = self.policy.subpolicy_probabilities() @ means
        return torch.autograd.grad(value, self.policy.subpolicy_logits)[0]


@pytest.mark.parametrize(
    ("method", "optimiser", "steps"),
    [
        (OneStep(), "sgd", 1),
        (OneStep(), "nesterov", 1),
        (Unrolled(1), "sgd", 1),
        (Unrolled(3), "sgd", 3),
        (Unrolled(3), "momentum and weight decay", 3),
    ],
)
def test_enumeration_ddas_and_finite_differences_agree(method: Hypergradient, optimiser: str, steps: int) -> None:
    mixture = Mixture(Linear, optimiser, batches=steps, policy=mixture_policy())
    found = mixture.enumerated(method)
    assert found.abs().min() > 1e-6  # the four are told apart
    logits = mixture.policy.subpolicy_logits
    for index in range(len(logits)):
        difference = central_difference(logits, (index,), lambda: mixture.validation_loss_after(steps), 1e-4)
        assert float(found[index]) == pytest.approx(difference, rel=1e-5, abs=1e-10)
    if optimiser == "sgd" and steps == 1:  # DDAS: d L_val(w') / d p_i = - eta <grad L_val(w'), g_i>
        levels = mixture.levels()
        stepped = {name: weight - RATE * levels.gradients[name] for name, weight in levels.weights.items()}
        pull = validation_pass(levels, stepped).gradients
        rows = torch.func.jacrev(lambda weights: mixture.losses(0, mixture.model, weights))(levels.weights)
        by_probability = -RATE * sum(
            rows[name].flatten(1) @ pull[name].flatten()
            for name in pull  # type: ignore[misc]
        )
        (expected,) = torch.autograd.grad(mixture.policy.subpolicy_probabilities() @ by_probability, logits)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("repeats", [1, 3])
def test_an_estimator_finds_the_sum_over_the_terms(repeats: int) -> None:
    """It draws for all images of all terms at once, several times each, and never hears of terms."""
    mixture, method = Mixture(Linear, "sgd", batches=3, policy=mixture_policy()), Unrolled(3)
    exact = mixture.enumerated(method)
    link = method(mixture.levels(), {})
    scalar = Bilevel(draws=repeats).scalar(mixture.model, link.terms, mixture.policy)
    count, generator = repeats * image_count(link.terms), torch.Generator().manual_seed(1)
    draws = torch.stack(
        [Reinforce()(scalar, mixture.policy, count, generator, 0.0).grads.subpolicy_logits for _ in range(100)]
    )
    assert ((draws.mean(0) - exact).abs() < 4 * draws.std(0) / math.sqrt(len(draws))).all()


def test_fewer_than_one_draw_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 0"):
        Bilevel(draws=0)
