"""Objectives of one level against sums over every outcome, closed forms and finite differences. float64."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from augrad import Policy, UserError
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Scalar, gradients_of
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.none import NoEstimator
from augrad.estimators.reinforce import Reinforce
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.models.normalized import Normalized
from augrad.objectives.adversarial import Adversarial, follow
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.critic import Critic, critic_loss, gradient_norms
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import require_fitting
from augrad.objectives.whole_training import WholeTraining
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy
from problems import Dropped, Normed, batch, build, central_difference, shapes_unchecked

pytestmark = pytest.mark.slow

CLASSES = 3
CHOICES = ("subpolicy_logits", "op_logits", "gate_logits")


class Smooth(nn.Module):
    """Without a jump, and without anything that couples the images of a batch."""

    def __init__(self, channels: int = 1, outputs: int = CLASSES) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 6), nn.Tanh(), nn.Linear(6, outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def normalized(network: nn.Module, channels: int = 1) -> Normalized:
    mean, deviation = torch.linspace(0.4, 0.6, channels), torch.linspace(0.2, 0.5, channels)
    return Normalized(network, mean, deviation).double()


def smooth_critic(channels: int = 1) -> Critic:
    return Critic(normalized(build(Smooth, channels=channels, outputs=CLASSES + 1), channels))


def colours(count: int, seed: int) -> Tensor:
    return 0.2 + 0.6 * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def discrete_policy() -> Policy:
    """Two sub-policies of two stages; magnitudes are points, so that choices and gates are all there is to sum over."""
    space = make_space({"brightness": {"high": 0.2, "signed": False}, "identity": {}, "invert": {}})
    start = initial_policy(space, 2, 2, magnitude="point", learn=["subpolicies", "ops", "gates", "magnitudes"])
    return random_policy(start, seed=5)


# --- the critic ------------------------------------------------------------------------------------------------------


def test_gradient_norms_in_closed_form() -> None:
    """f_i = x_i' A x_i / 2 + b' x_i has the gradient A x_i + b (A symmetric); its norm is over all C H W values."""
    generator = torch.Generator().manual_seed(0)
    A, b = torch.randn(192, 192, generator=generator, dtype=torch.float64), torch.randn(192, dtype=torch.float64)
    A, images = A + A.T, colours(5, 1)

    def function(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return 0.5 * (flat @ A * flat).sum(1) + flat @ b

    expected = torch.linalg.vector_norm(images.flatten(1) @ A + b, dim=1)
    torch.testing.assert_close(gradient_norms(function, images), expected)


def test_the_norm_of_no_gradient_is_zero_and_has_a_derivative() -> None:
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    norms = gradient_norms(lambda x: scale * x.sum((1, 2, 3)), colours(3, 0))
    assert not norms.any()
    (found,) = torch.autograd.grad((norms - 1).square().mean(), scale)
    assert found.isfinite()


def independent_loss(critic: Critic, real: Tensor, fake: Tensor, labels: Tensor, mix: Tensor) -> Tensor:
    """The critic's loss written out, image by image, each gradient by central differences."""
    network, deviation = critic.network, critic.network.deviation[:, 0, 0]

    def realness(image: Tensor) -> Tensor:
        return network(image[None])[0, -1]

    penalties, step = [], 1e-5
    for one, other, share in zip(real, fake, mix, strict=True):
        between = share * one + (1 - share) * other
        total = torch.zeros((), dtype=torch.float64)
        for c, h, w in itertools.product(*map(range, between.shape)):
            shift = torch.zeros_like(between)
            shift[c, h, w] = step
            slope = (realness(between + shift) - realness(between - shift)) / (2 * step)
            total = total + (slope * deviation[c]) ** 2
        penalties.append((total.sqrt() - 1) ** 2)
    distance = torch.stack([realness(x) for x in real]).mean() - torch.stack([realness(x) for x in fake]).mean()
    classes = torch.stack([cross_entropy(network(x[None])[:, :-1], y[None]) for x, y in zip(real, labels, strict=True)])
    return -distance + 10.0 * torch.stack(penalties).mean() + 0.1 * classes.mean()


def test_the_critics_loss_and_its_gradient() -> None:
    critic, real, fake = smooth_critic(channels=3), colours(3, 0), colours(3, 1)
    labels, mix = torch.tensor([0, 2, 1]), torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)
    found = critic_loss(critic, real, fake, labels, mix, 10.0, 0.1)
    parameters = list(critic.parameters())
    expected = independent_loss(critic, real, fake, labels, mix)
    torch.testing.assert_close(found.total, expected, rtol=1e-7, atol=1e-8)
    gradients = torch.autograd.grad(found.total, parameters)
    for gradient, other in zip(gradients, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-6)

    def value() -> float:
        return float(critic_loss(critic, real, fake, labels, mix, 10.0, 0.1).total.detach())

    for parameter, gradient in zip(parameters, gradients, strict=True):
        index = tuple(size // 2 for size in parameter.shape)
        assert float(gradient[index]) == pytest.approx(central_difference(parameter, index, value, 1e-6), abs=1e-6)


@pytest.mark.parametrize("kind", [Normed, Dropped])
def test_the_penalty_and_the_scalar_leave_no_trace(kind: type[nn.Module]) -> None:
    """One update of the running statistics for a step of the critic, by the images that are judged, and none for an
    evaluation of the scalar."""
    torch.manual_seed(0)
    critic = Critic(normalized(build(kind)))
    (real, labels), (other, more) = batch(6, 0), batch(6, 1)
    plain = copy.deepcopy(critic)
    plain.network(torch.cat([real, other]))
    critic_loss(critic, real, other, labels.clamp(max=1), torch.full((6,), 0.5).double(), 10.0, 0.1)
    for (name, found), expected in zip(critic.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)
    before = copy.deepcopy(critic.state_dict())
    policy = discrete_policy()
    scalar = DensityMatching().scalar(critic, real, other, more.clamp(max=1), policy)
    first, second = (scalar(policy.sample(6, torch.Generator().manual_seed(0))) for _ in range(2))
    assert torch.equal(first, second)
    for (name, found), expected in zip(critic.state_dict().items(), before.values(), strict=True):
        assert torch.equal(found, expected), name


# --- the policy's gradient -------------------------------------------------------------------------------------------


def acted(images: Tensor, op: int, level: Tensor) -> Tensor:
    """The operation's formula, without the policy's machinery."""
    return [images * (1 + level), images, 1 - images][op]


def exact(policy: Policy, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """E mean_i s_i: sum over sub-policy, candidates and gates; differentiable in every group of the policy."""
    weight, op, gate = policy.subpolicy_probabilities(), policy.op_probabilities(), policy.gate_probabilities()
    level = 0.2 * torch.sigmoid(policy.magnitude_locations)
    total = torch.zeros((), dtype=torch.float64)
    for s, k1, k2, g1, g2 in itertools.product(range(2), range(3), range(3), (0, 1), (0, 1)):
        probability = weight[s]
        augmented = images
        for stage, (k, g) in enumerate(((k1, g1), (k2, g2))):
            opened = gate[s, stage, k]
            probability = probability * op[s, stage, k] * (opened if g else 1 - opened)
            augmented = acted(augmented, k, level[s, stage, k]) if g else augmented
        total = total + probability * score(augmented).mean()
    return total


def density_matching(policy: Policy) -> tuple[Scalar, Tensor]:
    critic, (real, _), (images, labels) = smooth_critic(), batch(4, 0), batch(5, 1)

    def score(augmented: Tensor) -> Tensor:
        outputs = critic.network(augmented)
        return 0.7 * cross_entropy(outputs[:, :CLASSES], labels, reduction="none") - outputs[:, CLASSES]

    scalar = DensityMatching(class_weight=0.7).scalar(critic, real, images, labels, policy)
    return scalar, exact(policy, images, score)


def adversarial(policy: Policy, weight: float = 0.6) -> tuple[Scalar, Tensor]:
    model = normalized(build(Smooth))
    teacher = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(-1.5)
    images, labels = batch(5, 1)

    def score(augmented: Tensor) -> Tensor:
        hard, legible = (cross_entropy(network(augmented), labels, reduction="none") for network in (model, teacher))
        return weight * legible - hard

    scalar = Adversarial(teacher_weight=weight).scalar(model, teacher, images, labels, policy)
    return scalar, exact(policy, images, score)


OBJECTIVES = [density_matching, adversarial]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_enumeration_gives_the_exact_gradient(objective: Callable) -> None:
    """Magnitudes too, which are points here: their exact gradient is the pathwise one."""
    policy = discrete_policy()
    scalar, value = objective(policy)
    expected = gradients_of(value, policy)
    found = Enumerate(magnitude="pathwise")(scalar, policy, 5, torch.Generator().manual_seed(0), 0.0)
    torch.testing.assert_close(found.value, value.detach(), rtol=1e-10, atol=1e-12)
    for group in (*CHOICES, "magnitude_locations"):
        assert getattr(expected, group).any(), group
        torch.testing.assert_close(getattr(found.grads, group), getattr(expected, group), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_score_function_is_unbiased(numerics, objective: Callable) -> None:
    policy = discrete_policy()
    scalar, value = objective(policy)
    generator = torch.Generator().manual_seed(0)
    found = [Reinforce()(scalar, policy, 5, generator, 0.0)]
    with shapes_unchecked():
        found += [Reinforce()(scalar, policy, 5, generator, 0.0) for _ in range(999)]
    numerics.unbiased(found, gradients_of(value, policy), CHOICES)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_blends_gradient_by_finite_differences(objective: Callable) -> None:
    policy, estimator = discrete_policy(), Mixture(0.5, 0.5, 0.7)
    scalar, _ = objective(policy)
    found = estimator(scalar, policy, 5, torch.Generator().manual_seed(2), 0.0).grads

    def value() -> float:
        with torch.no_grad():
            return float(scalar(estimator.draw(policy, 5, torch.Generator().manual_seed(2), 0.0)).mean())

    for group in (*CHOICES, "magnitude_locations"):
        parameter = getattr(policy, group)
        assert getattr(found, group).any(), group
        for index in itertools.product(*map(range, parameter.shape)):
            expected = central_difference(parameter, index, value, 1e-5)
            assert float(getattr(found, group)[index]) == pytest.approx(expected, abs=1e-8), f"{group} {index}"


# --- the adversarial objective ---------------------------------------------------------------------------------------


def test_the_adversary_raises_the_training_loss() -> None:
    """Without a teacher its gradient is minus that of the expected training loss, and a step along it raises that."""
    policy, model = discrete_policy(), normalized(build(Smooth))
    images, labels = batch(5, 1)

    def training_loss() -> Tensor:
        return exact(policy, images, lambda x: cross_entropy(model(x), labels, reduction="none"))

    scalar = Adversarial(teacher_weight=0.0).scalar(model, None, images, labels, policy)
    found = Enumerate(magnitude="pathwise")(scalar, policy, 5, None, 0.0).grads
    before = training_loss()
    expected = gradients_of(before, policy)
    for group in CHOICES:
        torch.testing.assert_close(getattr(found, group), -getattr(expected, group))
    with torch.no_grad():
        for group in CHOICES:
            getattr(policy, group).sub_(0.1 * getattr(found, group))
    assert float(training_loss().detach()) > float(before.detach()) + 1e-5


def test_a_teacher_like_the_classifier_leaves_nothing_to_gain() -> None:
    policy, model = discrete_policy(), normalized(build(Smooth))
    images, labels = batch(8, 1)
    objective = Adversarial()
    teacher = objective.companion(model)
    sample = policy.sample(8, torch.Generator().manual_seed(0))
    assert not objective.scalar(model, teacher, images, labels, policy)(sample).any()
    with torch.no_grad():
        model.network.layers[1].weight.mul_(0.5)  # type: ignore[union-attr]
    assert objective.scalar(model, teacher, images, labels, policy)(sample).all()


def test_the_teacher_is_the_moving_average_and_no_gradient_reaches_it() -> None:
    torch.manual_seed(0)
    model = build(Normed)
    teacher = Adversarial(teacher_decay=0.9).companion(model)
    assert teacher is not None
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for seed in range(4):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(batch(4, seed)[0])  # moves the running statistics
        follow(teacher, model, 0.9)
        expected = {name: 0.9 * expected[name] + 0.1 * p.detach() for name, p in model.named_parameters()}
    for name, parameter in teacher.named_parameters():
        torch.testing.assert_close(parameter, nn.Parameter(expected[name], requires_grad=False), msg=name)
    assert not teacher.training
    for (name, own), other in zip(teacher.named_buffers(), model.buffers(), strict=True):
        assert torch.equal(own, other), name
    assert Adversarial(teacher_weight=0.0).companion(model) is None


class Blocks(nn.Module):
    """Reads which third of an image's columns stands out, bright or dark, with some certainty."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        self.certainty = nn.Parameter(torch.tensor(certainty, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        thirds = torch.stack([part.mean((1, 2, 3)) for part in images.chunk(3, -1)], -1)
        return self.certainty * (thirds - images.mean((1, 2, 3))[:, None]).square()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_teacher_pays_for_what_nobody_can_read(weight: float) -> None:
    """Black images are hard, inverted ones a little less so, but only those can be read.

    Alone the adversary prefers the black ones, with a teacher the others.
    """
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    images = torch.full((6, 1, 6, 6), 0.2, dtype=torch.float64)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[..., 2 * label : 2 * label + 2] = 0.9
    space = make_space({"brightness": {"low": -1.0, "high": -1.0, "signed": False}, "invert": {}})
    policy = initial_policy(space, magnitude="point", learn=["ops"])
    scalar = Adversarial(teacher_weight=weight).scalar(Blocks(0.5), Blocks(50.0), images, labels, policy)
    black, inverted = Enumerate()(scalar, policy, 6, None, 0.0).grads.op_logits[0, 0].tolist()
    assert (black < 0 < inverted) if weight == 0 else (inverted < 0 < black)  # what falls gains probability


# --- which go together -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [DensityMatching(), Adversarial()])
def test_one_level_refuses_a_hypergradient(objective: DensityMatching | Adversarial) -> None:
    require_fitting(objective, NoHypergradient(), Gumbel())
    with pytest.raises(UserError, match="hypergradient=none"):
        require_fitting(objective, OneStep(), Gumbel())


def test_two_levels_need_one() -> None:
    require_fitting(Bilevel(), OneStep(), Gumbel())
    with pytest.raises(UserError, match="takes a hypergradient method"):
        require_fitting(Bilevel(), NoHypergradient(), Gumbel())


def test_an_estimate_of_its_own_goes_with_no_estimator() -> None:
    require_fitting(WholeTraining(), NoHypergradient(), NoEstimator())
    with pytest.raises(UserError, match="estimator=none"):
        require_fitting(WholeTraining(), NoHypergradient(), Gumbel())
    with pytest.raises(UserError, match="takes an estimator"):
        require_fitting(Bilevel(), OneStep(), NoEstimator())


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: DensityMatching(penalty_weight=-1.0), "penalty_weight"),
        (lambda: DensityMatching(class_weight=float("nan")), "class_weight"),
        (lambda: Adversarial(teacher_weight=-0.1), "teacher_weight"),
        (lambda: Adversarial(teacher_decay=1.0), "teacher_decay"),
    ],
)
def test_settings_outside_their_range(make: Callable[[], object], word: str) -> None:
    with pytest.raises(UserError, match=word):
        make()
