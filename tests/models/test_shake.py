"""Shake and ShakeDrop: expectations, forward and backward weights, and what a search makes of such a network."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from augrad import estimators, hypergradients, learn
from augrad.data.digits import load_digits
from augrad.data.seeding import global_draws
from augrad.errors import UserError
from augrad.learning.capturable import can_be_captured, graphs_for
from augrad.learning.classifier import leaves_of, logits_with, weights_of
from augrad.models.dropout import is_random
from augrad.models.init import seeded
from augrad.models.pyramid_net import PyramidNet
from augrad.models.shake import Shake, ShakeDrop
from augrad.models.shake_shake import ShakeShake
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.scores import Derivative, difference_scores, directional_scores
from augrad.settings import TrainSettings
from augrad.train import train_classifier

# torch's first forward-mode pass imports a module of its own that uses what torch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")

CPU = torch.device("cpu")
TINY = {"shake": partial(ShakeShake, depth=8, width=4), "pyramid": partial(PyramidNet, depth=11, alpha=6, keep=0.3)}
COUNT = 20_000


def same_draws() -> object:
    return global_draws(CPU, 0, "test")


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


# Gastaldi 2017, table 1 (2x112d: table 3), in millions.
@pytest.mark.parametrize(("width", "millions"), [(32, 2.9), (96, 26.2), (112, 35.6)])
def test_parameter_counts_of_shake_shake(width: int, millions: float) -> None:
    with torch.device("meta"):
        net = ShakeShake(3, 10, width=width)
    assert round(parameters(net) / 1e6, 1) == millions
    convolutions = [
        module for module in net.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]
    assert len(convolutions) == 1 + 2 * (26 - 2)


def test_parameter_count_of_the_pyramid() -> None:
    """Han et al. 2017, table 4: 26.0 million, which is that of the authors' code, 26.21 million, to a hundredth."""
    with torch.device("meta"):
        net = PyramidNet(3, 10)
    assert parameters(net) == 26_210_842
    assert parameters(net) == pytest.approx(26.0e6, rel=0.01)
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == 271
    assert net.head.in_features == 4 * (16 + 200)


def test_a_branch_is_kept_less_the_deeper_it_is() -> None:
    with torch.device("meta"):
        net = PyramidNet(3, 10, depth=20, alpha=12)
    keeps = [module.keep for module in net.modules() if isinstance(module, ShakeDrop)]
    assert keeps == pytest.approx([1 - 0.5 * block / 6 for block in range(1, 7)])


def weights_drawn(layer: nn.Module, *images: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward weight of each image's first branch."""
    first = images[0].requires_grad_()
    output = layer(first, *images[1:])
    (gradient,) = torch.autograd.grad(output.sum(), first)
    rest = images[1] if len(images) > 1 else torch.zeros_like(first)
    forward = (output - rest) / (first - rest)
    for weights in (forward, gradient):  # one for each image
        torch.testing.assert_close(weights, weights[:, :1, :1, :1].expand_as(weights))
    return forward[:, 0, 0, 0].detach(), gradient[:, 0, 0, 0]


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def test_shake_draws_its_weights_apart() -> None:
    first, second = torch.full((COUNT, 2, 1, 2), 3.0).double(), torch.full((COUNT, 2, 1, 2), -1.0).double()
    with same_draws():
        forward, backward = weights_drawn(Shake(), first, second)
    for weights in (forward, backward):
        assert float(weights.min()) >= 0
        assert float(weights.max()) <= 1
        assert float(weights.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(weights.var()) == pytest.approx(1 / 12, abs=0.002)
    assert abs(correlation(forward, backward)) < 0.03
    with same_draws():
        mixed = second.requires_grad_()
        (of_second,) = torch.autograd.grad(Shake()(first, mixed).sum(), mixed)
    torch.testing.assert_close(of_second[:, 0, 0, 0], 1 - backward)
    assert torch.equal(Shake().eval()(first, second), (first + second) / 2)


def test_shake_drop_draws_its_weights_apart() -> None:
    layer = ShakeDrop(0.7)
    with same_draws():
        forward, backward = weights_drawn(layer, torch.full((COUNT, 2, 1, 2), 2.0).double())
    kept = forward == 1
    assert float(kept.double().mean()) == pytest.approx(0.7, abs=0.01)
    assert bool((backward[kept] == 1).all())
    forward, backward = forward[~kept], backward[~kept]
    assert float(forward.min()) < -0.9
    assert float(forward.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(forward.var()) == pytest.approx(1 / 3, abs=0.02)
    assert float(backward.min()) >= 0
    assert float(backward.max()) <= 1
    assert float(backward.mean()) == pytest.approx(0.5, abs=0.02)
    assert abs(correlation(forward, backward)) < 0.05
    values = torch.rand(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer.eval()(values), 0.7 * values)


@pytest.mark.parametrize("name", TINY)
def test_draws_follow_the_global_generator_and_evaluation_draws_nothing(name: str) -> None:
    net = seeded(lambda: TINY[name](1, 3), 0)
    images = torch.rand(4, 1, 9, 13, generator=torch.Generator().manual_seed(0))
    with same_draws():
        first, other = net(images), net(images)
    with same_draws():
        again = net(images)
    assert first.shape == (4, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    state = torch.get_rng_state()
    net.eval()
    assert torch.equal(net(images), net(images))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", TINY)
def test_the_scores_are_products_with_the_gradients_of_training(name: str) -> None:
    """Forward mode against reverse mode, in float64: both have the weights of the backward pass."""
    net = seeded(lambda: TINY[name](1, 3), 0).double()
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(5, 1, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    weights = weights_of(net)
    u = {key: torch.randn(w.shape, generator=generator, dtype=w.dtype) for key, w in weights.items()}
    with same_draws():
        scores = directional_scores(net, weights, u, images, labels)
    leaves = leaves_of(weights)
    with same_draws():
        losses = cross_entropy(logits_with(net, leaves, images), labels, reduction="none")
    for score, loss in zip(scores, losses, strict=True):
        gradients = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
        torch.testing.assert_close(score, sum((g * u[key]).sum() for key, g in zip(leaves, gradients, strict=True)))


@pytest.mark.parametrize("name", TINY)
def test_a_training_and_a_search(name: str) -> None:
    data = load_digits()
    settings = TrainSettings(steps=3, batch_size=16)
    sgd = partial(torch.optim.SGD, lr=0.05)
    first, second = (train_classifier(data, TINY[name], sgd, None, settings, 0, CPU).test_loss for _ in range(2))
    assert first == second
    result = learn(data, TINY[name], estimator=estimators.Reinforce(), steps=4, warmup_steps=1, batch_size=16, seed=0)
    assert all(bool(parameter.isfinite().all()) for parameter in result.policy.parameters())
    assert not can_be_captured(result.model)


def test_a_search_with_second_derivatives() -> None:
    result = learn(
        load_digits(), TINY["shake"], hypergradient=hypergradients.Neumann(), steps=3, warmup_steps=1, batch_size=16
    )
    assert all(bool(parameter.isfinite().all()) for parameter in result.policy.parameters())


def test_what_draws_is_known_to_draw() -> None:
    assert is_random(Shake())
    assert is_random(ShakeDrop(0.5))
    assert not is_random(ShakeDrop(1.0))
    with pytest.raises(UserError, match=r"cuda_graphs: .*draws \(0\)"):
        graphs_for(nn.Sequential(Shake()), True, torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("derivative", ["finite_difference", "shared_difference"])
def test_a_difference_of_losses_is_refused(name: str, derivative: Derivative) -> None:
    """It would be that of the forward pass; without random branches it is taken."""
    data = load_digits()
    with pytest.raises(UserError, match=rf"derivative: {derivative} .*backward pass with other weights \(.*take jvp"):
        Bilevel(derivative).model(TINY[name], data, 0, CPU)
    Bilevel(derivative).model(partial(PyramidNet, depth=11, alpha=6, keep=1.0), data, 0, CPU)


def test_differences_are_those_of_the_forward_pass() -> None:
    """What the refusal is for: even over many draws they are other numbers than the products with the gradients."""
    net = seeded(lambda: TINY["pyramid"](1, 3), 0).double()
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(5, 1, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    weights = weights_of(net)
    u = {key: torch.randn(w.shape, generator=generator, dtype=w.dtype) for key, w in weights.items()}
    with same_draws():
        scores = directional_scores(net, weights, u, images, labels)
    with same_draws():
        differences = difference_scores(net, weights, u, images, labels, radius=1e-5)
    assert (scores - differences).abs().max() > 0.1 * scores.abs().max()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ShakeShake(3, 10, depth=27), r"depth = 6n \+ 2, got 27; choose 8"),
        (lambda: ShakeShake(3, 10, width=33), "even width of at least 2, got 33"),
        (lambda: PyramidNet(3, 10, depth=110 + 1), r"depth = 9n \+ 2, got 111; choose 11"),
        (lambda: PyramidNet(3, 10, alpha=0), "alpha >= 1, got 0"),
        (lambda: PyramidNet(3, 10, keep=1.1), "keep from 0 to 1, got 1.1"),
    ],
)
def test_refuses_other_sizes(build, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build()
