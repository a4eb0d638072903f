"""Scores at the draw that the classifier's step is on: their values, what they are worth, and what they are not for."""

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy, UserError
from augrad.data.pixels import to_float
from augrad.data.standard import NO_STANDARD
from augrad.data.types import LoadedSplit, Splits
from augrad.estimators.branch import branch_of
from augrad.estimators.estimate import MappedScalar, hard_draw, leave_one_out
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax, _noise_behind
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.classifier import losses_of
from augrad.learning.step import set_gradients
from augrad.models.normalized import Normalized
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.bilevel import Bilevel, SharedDraw
from augrad.objectives.objective import Step
from augrad.ops.space import make_space
from augrad.policy.distributions import draw_branch_noise
from augrad.policy.initial import initial_policy, random_policy
from augrad.search.damping import Normalization
from augrad.types import PolicySample
from problems import build, shapes_unchecked

CLASSES = 3


class Smooth(nn.Module):
    """Without a jump, and without anything that couples the images of a batch."""

    def __init__(self, outputs: int = CLASSES) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def normalized(network: nn.Module, channels: int = 1) -> Normalized:
    return Normalized(network, torch.full((channels,), 0.5), torch.full((channels,), 0.3))


def split(count: int, seed: int, channels: int = 1, side: int = 4) -> LoadedSplit:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)
    return LoadedSplit(images, torch.randint(0, CLASSES, (count,), generator=generator))


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-3)


def step_of(
    model: nn.Module,
    policy: Policy,
    train: LoadedSplit,
    validation: LoadedSplit,
    optimizer: torch.optim.Optimizer,
    hypergradient: Hypergradient | None = None,
    autocast: bool = False,
) -> Step:
    return Step(
        model=model,
        companion=None,
        policy=policy,
        optimizer=optimizer,
        generator=torch.Generator().manual_seed(1),
        batch=lambda ahead: train,
        validation=validation,
        hypergradient=OneStep() if hypergradient is None else hypergradient,
        memory={},
        clip_norm=None,
        autocast=autocast,
        standard=NO_STANDARD,
    )


def wide_step(network: type[nn.Module] = WideResNet, **settings: Any) -> Step:
    """A network with BatchNorm (or another one), and every kind of operation."""
    space = make_space({"rotate": {}, "invert": {}, "brightness": {}, "identity": {}})
    policy = initial_policy(space, 2, 2, learn=["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"])
    size = {"depth": 10, "widen_factor": 1} if network is WideResNet else {}
    model = normalized(build(network, in_channels=3, class_count=CLASSES, **size), channels=3).float()
    return step_of(model, random_policy(policy, 3), split(8, 0, 3, 8), split(8, 1, 3, 8), sgd(model), **settings)


def shared(step: Step) -> SharedDraw:
    scalar = Bilevel("shared_difference")(step).scalar
    assert isinstance(scalar, SharedDraw)
    return scalar


# --- its values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "tolerance"), [(SmallConvNet, 0.01), (WideResNet, 0.1)])
def test_the_scores_are_those_of_the_exact_derivative(network: Any, tolerance: float) -> None:
    """With BatchNorm, and images as few as these, scores are differences of the whole batch's: rounding counts."""
    step = wide_step(network)
    scalar, exact = shared(step), Bilevel("jvp")(wide_step(network)).scalar
    for sample in (scalar.draw, step.policy.sample(8, torch.Generator().manual_seed(7)).detach()):
        expected = exact(sample)
        assert float((scalar(sample) - expected).norm() / (expected - expected.mean()).norm()) < tolerance


def test_it_saves_a_pass() -> None:
    passes = []
    for derivative in ("shared_difference", "finite_difference"):
        step = wide_step(SmallConvNet)
        calls: list[int] = []
        handle = step.model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        aim = Bilevel(derivative)(step)  # type: ignore[arg-type]
        Reinforce()(MappedScalar(aim.scalar, Normalization()), step.policy, 8, step.generator, 0.0)
        handle.remove()
        passes.append(len(calls))
    assert passes == [3, 4]  # training, validation, and along u: ahead, or ahead and behind


@pytest.mark.parametrize("estimator", [Reinforce(), Gumbel(), Relax()])
def test_estimators_take_the_draw_of_the_step(estimator: Any) -> None:
    step, seen = wide_step(), []
    scalar = shared(step)

    def noted(sample: PolicySample) -> Tensor:
        seen.append(sample)
        return scalar(sample)

    estimator(SharedDraw(scalar.draw, scalar.there, noted), step.policy, 8, step.generator, 0.0)
    assert not seen  # never asked elsewhere


def test_an_estimator_that_follows_paths_draws_for_itself_and_is_told_that_there_are_none() -> None:
    step = wide_step()
    with pytest.raises(UserError, match=r"shared_difference has no gradient.*jvp"):
        Gumbel(magnitude="pathwise")(shared(step), step.policy, 8, step.generator, 0.0)


def test_the_noise_behind_a_draw_makes_that_draw(numerics) -> None:
    policy = numerics.problem().policy
    sample = policy.sample(200, torch.Generator().manual_seed(0)).detach()
    free = draw_branch_noise((200,), policy.shape, torch.Generator().manual_seed(1), torch.device("cpu"))
    noise, branch = _noise_behind(policy, sample, free), branch_of(policy, sample).detach()
    assert torch.equal((branch.subpolicy_logits + noise.subpolicy).argmax(-1), sample.subpolicy)
    assert torch.equal((branch.op_logits + noise.op).argmax(-1), sample.slot)
    assert torch.equal(branch.gate_logits + noise.gate > 0, sample.gate)
    latent = branch.magnitude_locations + branch.magnitude_log_scales.exp() * noise.normal
    torch.testing.assert_close(latent, sample.latent)
    again = _noise_behind(policy, sample, draw_branch_noise((200,), policy.shape, torch.Generator(), free.op.device))
    assert not torch.equal(again.op, noise.op)  # given the draw, it is still noise


# --- what it is worth ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [Reinforce(), Gumbel(), Relax(learning_rate=0.02)])
def test_a_draw_that_is_given_is_worth_one_of_its_own(numerics, estimator: Any) -> None:
    """An estimate at fresh draws that are given has the expectation, and about the variance, of one that draws."""
    problem, found = numerics.problem(), {}
    control = estimator.initial_control(problem.policy, torch.Generator()) if isinstance(estimator, Relax) else None
    if control is not None:  # a control variate that is worth something: with noise of its own it would be nothing
        problem.estimates(estimator, 300, control=control, train=True, seed=1)
    extra = {} if control is None else {"control": control.module}
    for name in ("given", "own"):
        generator, other = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
        found[name] = []
        with shapes_unchecked():
            for _ in range(400):
                draw = problem.policy.sample(64, other).detach()
                scalar = SharedDraw(draw, partial(problem, draw), problem) if name == "given" else problem
                found[name].append(estimator(scalar, problem.policy, 64, generator, 0.0, **extra))
    if not isinstance(estimator, Gumbel):  # which is biased
        numerics.unbiased(found["given"], problem.exact())
    for group in ("subpolicy_logits", "op_logits", "gate_logits", "magnitude_locations"):
        one, other = (numerics.stacked(found[name], group) for name in ("given", "own"))
        error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() <= 4 * error + 1e-12).all(), group
        assert float(one.var(0).sum() / other.var(0).sum()) == pytest.approx(1, abs=0.4), group


@pytest.mark.slow
def test_next_to_the_true_derivative_it_is_better_than_a_fresh_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images, three operations: the real step on each of the 27 joint draws, and the validation loss after it.
    The exact gradient of its mean, the expectation of the estimate with the step's own draw, with and without the
    leave-one-out baseline, and with a fresh draw. float64."""
    for module in ("objective", "bilevel"):
        monkeypatch.setattr(f"augrad.objectives.{module}.to_float", lambda images: to_float(images).double())
    train, validation = split(3, 0), split(12, 1)
    space = make_space({"identity": {}, "invert": {}, "brightness": {"high": 0.4, "signed": False}})
    policy = random_policy(initial_policy(space, magnitude="point", learn=["ops"]), 2)
    with torch.no_grad():
        policy.gate_logits.fill_(40.0)
    noise, model = policy.draw_noise(3, torch.Generator()), normalized(build(Smooth)).double()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    log_probability = torch.log_softmax(policy.op_logits.flatten(), 0).detach()

    def joint(ops: tuple[int, ...]) -> PolicySample:
        open_gates = torch.ones(3, 1, dtype=torch.bool)
        return policy.sample_with(
            torch.zeros(3, dtype=torch.int64), torch.tensor(ops)[:, None], open_gates, noise
        ).detach()

    def score(op: Tensor) -> Tensor:
        return torch.eye(3, dtype=torch.float64)[op] - log_probability.exp()

    losses, expected = {}, {name: torch.zeros(3, dtype=torch.float64) for name in ("own", "baseline", "fresh")}
    for ops in itertools.product(range(3), repeat=3):
        model.load_state_dict(start)
        optimizer = sgd(model)
        monkeypatch.setattr(policy, "sample", lambda *_, ops=ops: joint(ops))
        aim = Bilevel("shared_difference")(step_of(model, policy, train, validation, optimizer))
        scalar = aim.scalar
        assert isinstance(scalar, SharedDraw)
        scores = scalar(scalar.draw)
        drawn, probability = torch.tensor(ops), log_probability[list(ops)].sum().exp()
        expected["own"] += probability * (scores[:, None] * score(drawn)).mean(0)
        expected["baseline"] += probability * (leave_one_out(scores)[:, None] * score(drawn)).mean(0)
        for op in range(3):
            fresh = scalar.elsewhere(joint((op, op, op))).mean()
            expected["fresh"] += probability * log_probability[op].exp() * fresh * score(torch.tensor(op))
        set_gradients(model, aim.gradients)
        optimizer.step()
        with torch.no_grad():
            losses[ops] = losses_of(model(to_float(validation.images).double()), validation.labels).mean()
    logits = policy.op_logits.detach().flatten().requires_grad_()
    log_p = torch.log_softmax(logits, 0)
    value = sum((log_p[list(ops)].sum().exp() * loss for ops, loss in losses.items()), torch.zeros(()))
    (exact,) = torch.autograd.grad(value, logits)
    errors = {name: float((found - exact).norm() / exact.norm()) for name, found in expected.items()}
    print(errors)
    assert errors["own"] < 0.05
    assert errors["own"] < errors["baseline"] < errors["fresh"] < 0.2


# --- what it is not for ----------------------------------------------------------------------------------------------


def test_it_has_one_draw() -> None:
    with pytest.raises(UserError, match=r"one draw of the classifier's step.*draws=2"):
        Bilevel("shared_difference", draws=2)


def test_it_looks_at_no_other_step() -> None:
    with pytest.raises(UserError, match=r"hypergradient method looks at others.*one_step"):
        Bilevel("shared_difference")(wide_step(hypergradient=Unrolled(2)))


def test_it_needs_every_digit() -> None:
    with pytest.raises(UserError, match=r"bfloat16.*set autocast to false"):
        Bilevel("shared_difference")(wide_step(autocast=True))


class DropPath(nn.Module):
    """A branch that is left out at random, as other libraries have it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        return values * (torch.rand(len(values), 1) >= self.rate)


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("known", [True, False])
def test_it_is_not_for_dropout(rate: float, known: bool) -> None:
    data = split(4, 0, 3, 8)
    splits = Splits("random", CLASSES, data, data, data, data, "0" * 64)

    def network(in_channels: int, class_count: int) -> nn.Module:
        wide = WideResNet(in_channels, class_count, 10, 1, dropout=rate if known else 0.0)
        return nn.Sequential(wide) if known else nn.Sequential(wide, DropPath(rate))

    objective = Bilevel("shared_difference")
    if rate:
        with pytest.raises(UserError, match="another dropout mask"):
            objective.model(network, splits, 0, torch.device("cpu"))
    else:
        objective.model(network, splits, 0, torch.device("cpu"))


def test_a_scalar_without_a_draw_gets_a_fresh_one() -> None:
    policy = wide_step().policy
    drawn = hard_draw(lambda sample: sample.magnitude[:, 0], policy, 5, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.slot, policy.sample(5, torch.Generator().manual_seed(0)).slot)
