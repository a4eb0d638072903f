"""Scores in networks with BatchNorm: all joint draws of a few images, with a real step on each, and larger batches.

A loss after the step is what the policy minimises, so its expectation over the joint draws has the true derivative. An
estimate's expectation is a sum over the same draws. float64.
"""

import itertools
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from augrad import Policy, UserError
from augrad.data.pixels import to_float
from augrad.data.standard import NO_STANDARD
from augrad.data.types import LoadedSplit, Splits
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import CoupledScalar, MappedScalar, Scalar, gradients_of
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.hypergradients.hypergradient import Link, Term, TrainingBatch, TwoLevels
from augrad.hypergradients.one_step import OneStep
from augrad.learning.classifier import Weights, losses_of, weights_of
from augrad.learning.coupling import MOST_EXACT, attributed, attributed_beside
from augrad.learning.step import set_gradients
from augrad.models.normalized import Normalized
from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel, SharedDraw
from augrad.objectives.critic import Critic
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import Step
from augrad.objectives.scores import difference_scores, directional_scores
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy
from augrad.search.damping import Normalization
from augrad.types import PolicyParams, PolicySample
from problems import build, shapes_unchecked

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
CLASSES = 3
Learned = Literal["choices and gates", "magnitudes"]


class Network(nn.Module):
    """Smooth, with BatchNorm of images and of vectors, one of them without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 6),
            nn.BatchNorm1d(6, affine=False),
            nn.Tanh(),
            nn.Linear(6, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def split(count: int, seed: int) -> LoadedSplit:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    return LoadedSplit(images, torch.randint(0, CLASSES, (count,), generator=generator))


class Kept(OneStep):
    """Keeps u."""

    u: Weights

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        link = super().__call__(levels, memory)
        object.__setattr__(self, "u", link.terms[0].u)
        return link


def total(parts: list[PolicyParams]) -> PolicyParams:
    return PolicyParams(*(torch.stack(part).sum(0) for part in zip(*(p.tensors() for p in parts), strict=True)))


def error(found: PolicyParams, truth: PolicyParams) -> float:
    """Of all groups together, over the length of the truth."""
    one, other = (torch.cat([tensor.flatten() for tensor in params.tensors()]) for params in (found, truth))
    return float((one - other).norm() / other.norm())


class Joint:
    """Every joint draw of a few images, and the validation loss after a real step of the classifier on each.

    A magnitude's latent takes the nodes of a Gauss-Hermite quadrature.
    """

    def __init__(self, learned: Learned, images: int, rate: float = 0.005, seed: int = 0, nodes: int = 5) -> None:
        self.rate, self.images = rate, images
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = Normalized(Network(), torch.full((1,), 0.5), torch.full((1,), 0.3)).double()
        self.train, self.validation = split(images, 2 * seed), split(12, 2 * seed + 1)
        ops: dict[str, Any] = {"brightness": {"high": 0.4, "signed": False}}
        if learned == "magnitudes":
            self.policy = initial_policy(make_space(ops), scale=0.7, learn=["magnitudes", "magnitude_scales"])
            positions, weights = np.polynomial.hermite_e.hermegauss(nodes)
            gates = [True]
            with torch.no_grad():
                self.policy.gate_logits.fill_(40.0)
        else:
            start = initial_policy(make_space({"invert": {}, **ops}), magnitude="point", learn=["ops", "gates"])
            self.policy = random_policy(start, 2)
            positions, weights, gates = np.zeros(1), np.ones(1), [True, False]
        self.outcomes = list(itertools.product(range(self.policy.shape[2]), gates, positions))
        quadrature = torch.from_numpy(np.tile(weights / weights.sum(), len(self.outcomes) // len(weights)))
        terms = self.policy.score_terms(self.sample(range(len(self.outcomes))))
        self.probability = (terms.op + terms.gate).exp().detach() * quadrature
        self.joint = list(itertools.product(range(len(self.outcomes)), repeat=images))
        self.weights = [self.probability[list(drawn)].prod() for drawn in self.joint]

    def sample(self, drawn: Any) -> PolicySample:
        slot, gate, normal = zip(*(self.outcomes[outcome] for outcome in drawn), strict=True)
        noise = self.policy.draw_noise(len(slot), torch.Generator().manual_seed(0))
        noise.normal.copy_(torch.tensor(normal)[:, None])
        choices = torch.zeros(len(slot), dtype=torch.int64), torch.tensor(slot)[:, None], torch.tensor(gate)[:, None]
        return self.policy.sample_with(*choices, noise).detach()

    @cached_property
    def steps(self) -> list[tuple[Tensor, Weights]]:
        """Of each joint draw: the validation loss after the step, and u."""
        start, found = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}, []
        for drawn in self.joint:
            optimizer = torch.optim.SGD(
                self.model.parameters(), lr=self.rate, momentum=0.9, nesterov=True, weight_decay=1e-3
            )
            method = Kept()
            step = Step(
                model=self.model,
                companion=None,
                policy=drawing(self.policy, self.sample(drawn)),
                optimizer=optimizer,
                generator=torch.Generator(),
                batch=lambda ahead: self.train,
                validation=self.validation,
                hypergradient=method,
                memory={},
                clip_norm=None,
                autocast=False,
                standard=NO_STANDARD,
            )
            with shapes_unchecked():
                set_gradients(self.model, Bilevel()(step).gradients)
            optimizer.step()
            with torch.no_grad():
                logits = self.model(to_float(self.validation.images).double())
            self.model.load_state_dict(start)
            set_gradients(self.model, {})
            found.append((losses_of(logits, self.validation.labels).mean(), method.u))
        return found

    @cached_property
    def truth(self) -> Tensor:
        """[B, N]: B times the expected loss, given what an image drew; its own score, if it had one."""
        found = torch.zeros(self.images, len(self.outcomes), dtype=torch.float64)
        for drawn, weight, (loss, _) in zip(self.joint, self.weights, self.steps, strict=True):
            for image, outcome in enumerate(drawn):
                found[image, outcome] += self.images * loss * weight / self.probability[outcome]
        return found

    @cached_property
    def exact(self) -> PolicyParams:
        log_p = torch.stack(self.policy.score_terms(self.sample(range(len(self.outcomes))))).sum(0)
        return gradients_of((self.probability * self.truth.mean(0) * log_p).sum(), self.policy)

    def scalar(self, u: Weights, derivative: Any = "jvp") -> Scalar:
        images = to_float(self.train.images).double()
        batch = TrainingBatch(images, self.train.labels, lambda weights: torch.zeros(()))
        return Bilevel(derivative).scalar(self.model, (Term(weights_of(self.model), u, batch),), self.policy)

    @cached_property
    def mean_scalar(self) -> Scalar:
        """The scores with the mean u, in which they are linear: so the step's own draw is summed over as well."""
        names = self.steps[0][1]
        pairs = list(zip(self.weights, self.steps, strict=True))
        return self.scalar({name: sum((p * u[name] for p, (_, u) in pairs), torch.zeros(())) for name in names})

    @cached_property
    def scores(self) -> list[Tensor]:
        with torch.no_grad(), shapes_unchecked():
            return [self.mean_scalar(self.sample(drawn)) for drawn in self.joint]

    def expected(self, estimator: Any, scores: list[Tensor], elsewhere: Scalar) -> PolicyParams:
        """The expectation of the estimate, whose own draw is each joint draw in turn."""
        parts = []
        for drawn, weight, known in zip(self.joint, self.weights, scores, strict=True):
            sample = self.sample(drawn)
            scalar = SharedDraw(sample, lambda known=known: known, elsewhere)
            with shapes_unchecked():
                policy, generator = drawing(self.policy, sample), torch.Generator().manual_seed(3)
                found = estimator(scalar, policy, self.images, generator, 0.0).grads
            parts.append(found.map(lambda tensor, weight=weight: weight * tensor))
        return total(parts)


def drawing(policy: Policy, sample: PolicySample) -> Policy:
    """The policy, whose next draws are `sample`."""
    vars(policy).update(sample=lambda *_, **__: sample, harden=lambda *_: sample)
    return policy


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("objectives.objective", "objectives.bilevel", "learning.step"):
        monkeypatch.setattr(f"augrad.{module}.to_float", lambda images: to_float(images).double())


@pytest.fixture(scope="module")
def joints() -> dict[Any, Joint]:
    return {}


def joint_of(joints: dict[Any, Joint], learned: Learned, images: int, rate: float = 0.005) -> Joint:
    key = learned, images, rate
    joints[key] = joints.get(key) or Joint(learned, images, rate)
    return joints[key]


# --- a few images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", ["choices and gates", "magnitudes"])
@pytest.mark.parametrize("estimator", [Reinforce(), Reinforce("none"), Gumbel(draws=256), Relax()], ids=str)
def test_the_expected_estimate_is_the_true_derivative(joints, learned: Learned, estimator: Any) -> None:
    """Up to what falls with the learning rate. Gumbel's truth is what it makes of scores of the image's own."""
    joint = joint_of(joints, learned, 3)
    rows = [joint.truth[torch.arange(joint.images), list(drawn)] for drawn in joint.joint]
    known = joint.expected(estimator, rows, lambda sample: rows[0])
    if not isinstance(estimator, Gumbel):
        assert error(known, joint.exact) < 1e-3
    tolerance = 0.2 if isinstance(estimator, Gumbel) and learned != "magnitudes" else 0.1
    assert error(joint.expected(estimator, joint.scores, joint.mean_scalar), known) < tolerance


@pytest.mark.parametrize("learned", ["choices and gates", "magnitudes"])
def test_an_image_s_own_loss_alone_is_wrong(joints, learned: Learned) -> None:
    joint = joint_of(joints, learned, 3)
    names = joint.steps[0][1]
    u = {n: sum((p * s[1][n] for p, s in zip(joint.weights, joint.steps, strict=True)), torch.zeros(())) for n in names}
    images = to_float(joint.train.images).double()
    own = [
        directional_scores(
            joint.model,
            weights_of(joint.model),
            u,
            joint.policy(images, params=joint.sample(drawn)),
            joint.train.labels,
        ).detach()
        for drawn in joint.joint
    ]
    assert error(joint.expected(Reinforce("none"), own, lambda sample: own[0]), joint.exact) > 0.3


def test_the_error_falls_with_the_learning_rate(joints) -> None:
    errors = []
    for rate in (0.005, 0.0005):
        joint = joint_of(joints, "choices and gates", 2, rate)
        errors.append(error(joint.expected(Reinforce(), joint.scores, joint.mean_scalar), joint.exact))
    assert errors[0] < 0.1
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("estimator", [Enumerate(), Rebar()], ids=str)
def test_estimators_that_evaluate_more_than_one_draw(joints, estimator: Any) -> None:
    joint = joint_of(joints, "choices and gates", 2)
    assert error(joint.expected(estimator, joint.scores, joint.mean_scalar), joint.exact) < 0.1


@pytest.mark.parametrize("derivative", ["jvp", "finite_difference"])
def test_the_step_s_own_draw_serves_too(joints, derivative: str) -> None:
    """u and scores at one draw, as with shared_difference."""
    joint = joint_of(joints, "choices and gates", 2)
    with torch.no_grad(), shapes_unchecked():
        pairs = zip(joint.joint, joint.steps, strict=True)
        scores = [joint.scalar(u, derivative)(joint.sample(drawn)) for drawn, (_, u) in pairs]
    assert error(joint.expected(Reinforce(), scores, joint.mean_scalar), joint.exact) < 0.1


def test_the_adversarial_objective_alike(joints) -> None:
    joint = joint_of(joints, "choices and gates", 2)
    images, labels = to_float(joint.train.images).double(), joint.train.labels
    scalar = Adversarial(0.0).scalar(joint.model, None, images, labels, joint.policy)
    found, means = [], []
    with torch.no_grad():
        for drawn in joint.joint:
            sample = joint.sample(drawn)
            found.append(scalar(sample))
            logits = joint.model(joint.policy(images, params=sample))  # with the statistics of the batch
            means.append((-losses_of(logits, labels).mean() * 2).expand(2))
    truth = joint.expected(Reinforce("none"), means, lambda sample: means[0])
    assert error(joint.expected(Reinforce(), found, scalar), truth) < 1e-9


# --- larger batches --------------------------------------------------------------------------------------------------


class Batch:
    """A network, a batch and a direction u in float64."""

    def __init__(self, count: int) -> None:
        self.model = build(Network)
        generator = torch.Generator().manual_seed(1)
        self.images, self.others = (
            5 + torch.rand(count, 1, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        self.labels = torch.randint(0, CLASSES, (count,), generator=generator)
        self.weights = {
            name: w + 0.3 * torch.randn(w.shape, generator=generator, dtype=torch.float64)
            for name, w in weights_of(self.model).items()
        }
        self.u = {name: torch.randn(w.shape, generator=generator).to(w) for name, w in self.weights.items()}

    def own(self, derivative: Any = directional_scores, **settings: Any) -> Any:
        return partial(derivative, self.model, self.weights, self.u, **settings)


def with_shares(batch: Batch, images: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """s of each image, with BatchNorm written out for any shares in its statistics."""

    def forward(layer: _BatchNorm, values: Tensor) -> Tensor:
        places = tuple(range(2, values.dim()))
        column = (-1, *[1] * len(places))

        def mean(of: Tensor) -> Tensor:
            return ((shares / shares.sum()) @ (of.mean(places) if places else of)).view(column)

        centred = values - mean(values)
        output = centred * (mean(centred.square()) + layer.eps).rsqrt()
        return output if layer.weight is None else output * layer.weight.view(column) + layer.bias.view(column)

    layers = [module for module in batch.model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        vars(layer)["forward"] = partial(forward, layer)

    def losses(weights: Weights) -> Tensor:
        return losses_of(torch.func.functional_call(batch.model, weights, (images,)), labels)

    try:
        return torch.func.jvp(losses, (batch.weights,), (batch.u,))[1]
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def test_what_an_image_does_is_the_derivative_with_respect_to_its_share() -> None:
    batch = Batch(12)
    before = {name: tensor.clone() for name, tensor in batch.model.state_dict().items()}
    shares = torch.full((12,), 1 / 12, dtype=torch.float64, requires_grad=True)
    own = with_shares(batch, batch.images, batch.labels, shares)
    (expected,) = torch.autograd.grad(shares @ own, shares)
    assert float((expected - own).detach().norm() / own.detach().norm()) > 0.3
    with torch.no_grad():
        exact = attributed(batch.own(), batch.images, batch.labels)
        difference = attributed(batch.own(difference_scores, radius=1e-4), batch.images, batch.labels)
        torch.testing.assert_close(exact, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(difference, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(exact.mean(), own.detach().mean())
        beside = attributed_beside(batch.own(), batch.images, batch.labels, batch.images)
        torch.testing.assert_close(beside, exact, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(before[name], tensor) for name, tensor in batch.model.state_dict().items())


def test_beside_companions_an_image_has_no_share_yet() -> None:
    batch = Batch(10)
    images, labels = torch.cat([batch.others, batch.images]), batch.labels.repeat(2)
    shares = torch.cat([torch.full((10,), 0.1), torch.zeros(10)]).double().requires_grad_()
    (expected,) = torch.autograd.grad(shares @ with_shares(batch, images, labels, shares), shares)
    found = attributed_beside(batch.own(), batch.images, batch.labels, batch.others)
    torch.testing.assert_close(found, expected[10:], rtol=1e-9, atol=1e-9)


def test_in_a_large_batch_it_is_what_an_exchange_does() -> None:
    """To first order in 1 / batch size; the image's own score alone is far off."""
    batch, errors = Batch(96), []
    with torch.no_grad():
        start = batch.own()(batch.images, batch.labels)
        first = attributed(batch.own(), batch.images, batch.labels)
        changes = []
        for image in range(8):
            images = batch.images.clone()
            images[image] = batch.others[image]
            after = batch.own()(images, batch.labels)
            changes.append(
                [
                    96 * (after.mean() - start.mean()),
                    attributed(batch.own(), images, batch.labels)[image] - first[image],
                    after[image] - start[image],
                ]
            )
        truth, *found = torch.tensor(changes).T
        errors = [float((one - truth).norm() / truth.norm()) for one in found]
    assert errors[0] < 0.1 < errors[1], errors


@pytest.mark.parametrize("few", [True, False])
def test_density_matching_alike(few: bool) -> None:
    """The critic's statistics are those of the real images, too."""
    count, network = 6 if few else 64, build(Network)
    critic = Critic(Normalized(network, torch.full((1,), 0.5), torch.full((1,), 0.3)).double())
    critic.network.network.layers[-1] = nn.Linear(6, CLASSES + 1).double()
    batch, policy = Batch(2 * count), initial_policy(make_space({"invert": {}, "identity": {}}))
    real, images = (batch.images - 5).split(count)
    labels = batch.labels[count:]
    scalar = DensityMatching().scalar(critic, real, images, labels, policy)
    generator, rows = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        sample = policy.sample(count, generator)
        weights = weights_of(critic)

        def own(sample: PolicySample) -> Tensor:
            judged = critic.judge(torch.cat([real, policy(images, params=sample)]), weights)
            return 0.1 * losses_of(judged.logits[count:], labels) - judged.realness[count:]

        for image in range(6):
            sample.slot[image] = sample.op[image] = 0
            sample.gate[image] = False
            before = own(sample), scalar(sample)
            sample.gate[image] = True
            after = own(sample), scalar(sample)
            change = [later[image] - earlier[image] for earlier, later in zip(before, after, strict=True)]
            rows.append([count * (after[0].mean() - before[0].mean()), change[1], change[0]])
    truth, *found = torch.tensor(rows).T
    errors = [float((one - truth).norm() / truth.norm()) for one in found]
    assert errors[0] < (1e-9 if few else 0.1) < errors[1], errors


@pytest.mark.parametrize("count", [3, 12])
def test_a_path_through_the_images_has_its_whole_derivative(count: int) -> None:
    batch = Batch(count)
    others = (batch.others,) if count <= MOST_EXACT else ()
    images = batch.images.clone().requires_grad_()
    (found,) = torch.autograd.grad(attributed(batch.own(), images, batch.labels, *others).mean(), images)
    step, along = 1e-5, torch.randn(images.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        ahead, behind = (batch.own()(batch.images + sign * step * along, batch.labels).mean() for sign in (1, -1))
    torch.testing.assert_close((found * along).sum(), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("estimator", [Mixture(temperature=0.7), Gumbel(relaxation="soft", magnitude="pathwise")])
def test_blends_are_differentiated_through_the_statistics(estimator: Any) -> None:
    policy = random_policy(initial_policy(make_space({"invert": {}, "brightness": {"high": 0.4}}), learn=["ops"]), 2)
    batch = Batch(12)
    term = Term(batch.weights, batch.u, TrainingBatch(batch.images - 5, batch.labels, lambda weights: torch.zeros(())))
    scalar = Bilevel().scalar(batch.model, (term,), policy)

    def value(moved: float) -> Any:
        with torch.no_grad():
            policy.op_logits[0, 0, 0] += moved
        found = estimator(scalar, policy, 12, torch.Generator().manual_seed(3), 0.0)
        with torch.no_grad():
            policy.op_logits[0, 0, 0] -= moved
        return found

    slope = (value(1e-5).value - value(-1e-5).value) / 2e-5
    assert float(value(0.0).grads.op_logits[0, 0, 0]) == pytest.approx(float(slope), rel=1e-4)


def test_enumeration_has_companions_with_the_policy_s_probabilities() -> None:
    """Outcomes are dealt evenly; the batch among which an outcome is judged is not."""
    seen: list[PolicySample] = []
    policy = random_policy(initial_policy(make_space({"invert": {}, "brightness": {"high": 0.4}}), learn=["ops"]), 2)

    def beside(companions: PolicySample) -> Scalar:
        seen.append(companions)
        return lambda sample: sample.slot[:, 0].double()

    coupled = CoupledScalar(lambda sample: torch.zeros(len(sample)), False, beside)
    for scalar in (coupled, MappedScalar(coupled, Normalization())):
        Enumerate()(scalar, policy, 4000, torch.Generator().manual_seed(0), 0.0)
    share = torch.cat([sample.slot for sample in seen]).double().mean()
    assert float(share) == pytest.approx(float(policy.op_probabilities().detach()[0, 0, 1]), abs=0.02)


def test_beside_companions_no_path_is_followed() -> None:
    batch = Batch(12)
    with pytest.raises(UserError, match="magnitude=score"):
        attributed_beside(batch.own(), batch.images.requires_grad_(), batch.labels, batch.others)


# --- which networks --------------------------------------------------------------------------------------------------


class Centring(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(0)


class OfPixels(nn.Module):
    """BatchNorm over the pixels of all images: the layer's batch is not that of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images.reshape(-1, 4)).view_as(images)


LAYERS: dict[str, tuple[Any, bool, bool]] = {  # layer; whether its effect is known, whether there is one beside
    "GroupNorm": (lambda: nn.GroupNorm(1, 1), False, False),
    "InstanceNorm": (lambda: nn.InstanceNorm2d(1, affine=True, track_running_stats=True), False, False),
    "Dropout": (lambda: nn.Dropout(0.5), False, False),
    "BatchNorm": (lambda: nn.BatchNorm2d(1), True, False),
    "BatchNorm without tracking": (lambda: nn.BatchNorm2d(1, track_running_stats=False), True, False),
    "BatchNorm in evaluation mode": (lambda: nn.BatchNorm2d(1).eval(), False, False),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(1), False, True),
    "statistics of one's own": (Centring, False, True),
    "BatchNorm of pixels": (OfPixels, True, True),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("objective", [Bilevel(), Adversarial(0.0)], ids=["bilevel", "adversarial"])
def test_which_layers_are_known_and_which_give_a_warning(
    name: str, objective: Any, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, known, otherwise = LAYERS[name]
    data = split(6, 0)
    splits = Splits("random", CLASSES, data, data, data, data, "0" * 64)
    network = nn.Sequential(layer(), nn.Flatten(), nn.Linear(16, CLASSES)).double()
    model = objective.model(network, splits, 0, torch.device("cpu"))
    assert ["other images of its batch" in str(w.message) for w in recwarn] == [True] * otherwise
    policy, images = initial_policy(make_space({"invert": {}})), torch.rand(6, 1, 4, 4, dtype=torch.float64)
    if isinstance(objective, Bilevel):
        term = Term(weights_of(model), weights_of(model), TrainingBatch(images, data.labels, lambda w: torch.zeros(())))
        scalar = objective.scalar(model, (term,), policy)
    else:
        scalar = objective.scalar(model, None, images, data.labels, policy)
    assert isinstance(scalar, CoupledScalar) == known
