"""A pass inside `untouched` leaves no trace: not in buffers, attributes or global generators, whatever the layers."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad.data.types import Split
from augrad.errors import UserError
from augrad.learning.capturable import can_be_captured, graphs_for
from augrad.learning.classifier import logits_with, untouched, weights_of
from augrad.learning.step import evaluate
from augrad.models.dropout import SeededDropout, is_random
from augrad.models.init import seeded
from augrad.objectives.scores import difference_scores, directional_scores

# torch's first forward-mode pass imports a module of its own that uses what torch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")


class Counting(nn.Module):
    """Counts its passes in a buffer, in a new buffer each time, and in a number; keeps what it saw last."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("again", torch.zeros(()))
        self.register_buffer("nothing", None)
        self.number = 0

    def forward(self, values: Tensor) -> Tensor:
        self.passes += 1
        self.again = self.again + 1
        self.number += 1
        self.seen = values
        return values * (1 + 0.1 * self.passes + 0.01 * self.again + 0.001 * self.number)


class MovingScale(nn.Module):
    """Divides by a moving average of the values' size, as some layers in the wild do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        self.size.mul_(0.9).add_(values.detach().abs().mean(), alpha=0.1)
        return values / self.size


class FunctionalDropout(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.dropout(values, 0.4, self.training)


def spectral() -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))


LAYERS: dict[str, Any] = {
    "counting": Counting,
    "moving scale": MovingScale,
    "batch norm": lambda: nn.BatchNorm1d(6),
    "batch norm without tracking": lambda: nn.BatchNorm1d(6, track_running_stats=False),
    "instance norm": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()
    ),
    "dropout": lambda: nn.Dropout(0.4),
    "functional dropout": FunctionalDropout,
    "seeded dropout": lambda: SeededDropout(0.4),
    "random slopes": lambda: nn.RReLU(),
    "spectral norm": spectral,
}


def net(name: str) -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 6), LAYERS[name](), nn.Tanh(), nn.Linear(6, 3)), 0
    ).double()


def data(count: int = 6) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % 3


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_pass_leaves_no_trace_and_the_next_one_is_the_same(name: str, training: bool) -> None:
    model = net(name).train(training)
    model(data()[0])
    before = copy.deepcopy(model.state_dict())
    attributes = [vars(module).copy() for module in model.modules()]
    generator = torch.get_rng_state()
    first, second = (logits_with(model, weights_of(model), data()[0]) for _ in range(2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), untouched(model):
        model(torch.zeros(2, 1, 3, 3, dtype=torch.float64))
    assert torch.equal(first, second)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(generator, torch.get_rng_state())
    for module, kept in zip(model.modules(), attributes, strict=True):
        assert vars(module).keys() == kept.keys()
        assert all(vars(module)[key] is value for key, value in kept.items())


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "spectral norm"])
def test_the_scores_are_those_of_one_function(name: str) -> None:
    """The derivative and the difference agree: the two passes of a difference have the same masks and buffers."""
    model, (images, labels) = net(name), data()
    generator = torch.Generator().manual_seed(3)
    weights = weights_of(model)
    u = {key: torch.randn(w.shape, generator=generator, dtype=w.dtype) for key, w in weights.items()}
    scores = directional_scores(model, weights, u, images, labels)
    if name == "moving scale":  # an average that is detached is a constant to the derivative alone
        assert torch.equal(scores, directional_scores(model, weights, u, images, labels))
        return
    differences = difference_scores(model, weights, u, images, labels, radius=1e-5)
    torch.testing.assert_close(scores, differences, rtol=1e-5, atol=1e-7)


def test_a_layer_without_a_forward_mode_derivative_is_named() -> None:
    model, (images, labels) = net("spectral norm"), data()
    weights = weights_of(model)
    u = {name: torch.ones_like(weight) for name, weight in weights.items()}
    words = r"2\.parametrizations\.weight\.0 \(_SpectralNorm\) has no forward-mode.*take finite_difference"
    with pytest.raises(UserError, match=words):
        directional_scores(model, weights, u, images, labels)
    assert difference_scores(model, weights, u, images, labels).abs().max() > 1e-3


@pytest.mark.parametrize("name", LAYERS)
def test_what_draws_or_counts_is_not_captured(name: str) -> None:
    expected = name in ("batch norm", "batch norm without tracking", "instance norm", "spectral norm")
    assert can_be_captured(net(name)) is expected


def test_a_network_with_hooks_is_not_captured() -> None:
    for hook in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        model = net("batch norm")
        handle = hook(model[1], lambda *_: None)
        assert not can_be_captured(model)
        handle.remove()
        assert can_be_captured(model)
    model[1].forward = lambda values: values
    assert not can_be_captured(model)


def test_graphs_of_a_network_that_draws_are_refused() -> None:
    images, _ = data()
    assert graphs_for(net("batch norm"), None, images).enabled
    assert graphs_for(net("counting"), True, images).enabled
    assert not graphs_for(net("dropout"), None, images).enabled
    assert not graphs_for(net("dropout"), False, images).enabled
    for name, where in (("dropout", "2"), ("functional dropout", "its forward pass")):
        with pytest.raises(UserError, match=rf"cuda_graphs: .*draws \({where}\); leave it out"):
            graphs_for(net(name), True, images)


def test_which_layers_draw() -> None:
    drawing = [nn.Dropout2d(0.1), nn.AlphaDropout(0.1), nn.MultiheadAttention(4, 2, 0.1), nn.FractionalMaxPool2d(2, 3)]
    still = [nn.Dropout(0.0), SeededDropout(0.0), nn.MultiheadAttention(4, 2), nn.GRU(2, 3), nn.Linear(2, 2)]
    assert all(map(is_random, drawing))
    assert not any(map(is_random, still))


def test_an_evaluation_puts_every_mode_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 3)))
    model[1].eval()
    model[2][0].eval()
    modes = [module.training for module in model.modules()]
    split = Split(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.arange(6) % 3)
    evaluate(model, split)
    assert [module.training for module in model.modules()] == modes
    model[2][1] = nn.Linear(3, 3)
    with pytest.raises(RuntimeError):
        evaluate(model, split)
    assert [module.training for module in model.modules()] == modes


def test_an_evaluation_that_draws_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    class Always(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return nn.functional.dropout(values, 0.5)

    model = seeded(lambda: nn.Sequential(nn.Flatten(), Always(), nn.Linear(64, 3)), 0)
    split = Split(torch.full((6, 1, 8, 8), 200, dtype=torch.uint8), torch.arange(6) % 3)
    generator = torch.get_rng_state()
    first, second = (evaluate(model, split).losses for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(generator, torch.get_rng_state())
