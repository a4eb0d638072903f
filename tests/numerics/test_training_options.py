"""Label smoothing, averaged weights, layout and compilation of `train.*`, against loops and formulas by hand."""

import itertools
import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from augrad import Splits, UserError
from augrad.data.batches import EpochBatches
from augrad.data.digits import load_digits
from augrad.data.pixels import to_float
from augrad.data.seeding import global_draws
from augrad.learning.average import WeightAverage
from augrad.learning.classifier import losses_of
from augrad.learning.step import accumulated, build_classifier, evaluate, training_pass
from augrad.models.wide_resnet import WideResNet
from augrad.settings import TrainSettings, rate_at
from augrad.train import train_classifier
from augrad.train.loop import Recipe, Row, trained

CPU = torch.device("cpu")
STEPS, BATCH, SEED = 6, 32, 3
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
MODEL = partial(WideResNet, depth=10, widen_factor=1)


@pytest.fixture(scope="module")
def data() -> Splits:
    return load_digits()


def settings(**named: object) -> TrainSettings:
    return TrainSettings(steps=STEPS, batch_size=BATCH, **named)  # type: ignore[arg-type]


def weights(data: Splits, **named: object) -> dict[str, Tensor]:
    return trained(Recipe(data, MODEL, SGD, settings(**named)), None, SEED).model.state_dict()


def by_hand(data: Splits, smoothing: float = 0.0, parts: int = 1) -> list[dict[str, Tensor]]:
    """The network's state after each step of a plain loop, each batch in so many parts."""
    network = build_classifier(MODEL, data, SEED, CPU)
    optimizer, states = SGD(network.parameters()), []
    batches = EpochBatches(len(data.train), BATCH, SEED, CPU)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.1 * rate_at(step, STEPS, "cosine", 0.01)
        batch = data.train[batches.indices(step)]
        optimizer.zero_grad()
        with global_draws(CPU, SEED, "train step", step):
            for images, labels in zip(batch.images.chunk(parts), batch.labels.chunk(parts), strict=True):
                logits = network(to_float(images))
                if smoothing:
                    target = (1 - smoothing) * nn.functional.one_hot(labels, 10) + smoothing / 10
                    loss = -(target * logits.log_softmax(1)).sum(1).mean()
                else:
                    loss = cross_entropy(logits, labels, reduction="none").mean()
                (loss / parts).backward()
        optimizer.step()
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    return states


def test_the_defaults_are_the_plain_loop_bit_for_bit(data: Splits) -> None:
    expected = by_hand(data)[-1]
    for named in ({}, {"label_smoothing": 0.0, "ema": None, "channels_last": False, "compile": False}):
        found = weights(data, **named)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_batches_in_parts_are_the_loop_that_accumulates_gradients(data: Splits) -> None:
    """Each of four parts has BatchNorm's statistics of its own, and moves the running ones."""
    rows: list[Row] = []
    recipe = Recipe(data, MODEL, SGD, settings(accumulation_steps=4, label_smoothing=0.2))
    found, expected = trained(recipe, None, SEED, rows.append).model.state_dict(), by_hand(data, 0.2, 4)[-1]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    whole = weights(data, label_smoothing=0.2)
    assert not torch.allclose(found["network.head.weight"], whole["network.head.weight"], rtol=1e-2)
    assert {row["step"] for row in rows} == {STEPS}


def test_a_batch_in_parts_is_that_of_one() -> None:
    """Sizes that do not divide, the rows of the images in their order, and no more parts than images."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(11, 3, 8, 8, generator=generator).double(), torch.arange(11) % 3
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    whole, seen = training_pass(network, images, labels, autocast=False), []
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    for count, sizes in ((3, [3, 4, 4]), (11, [1] * 11), (50, [1] * 11)):
        seen.clear()
        found = training_pass(network, images, labels, autocast=False, accumulation_steps=count)
        assert seen == sizes
        torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


def test_parts_that_do_not_depend_on_a_weight_add_nothing_to_its_gradient() -> None:
    """As with layers that are skipped by chance: whichever part it is; None where no part depends on it."""
    rows, values = torch.arange(6.0), [torch.tensor(3.0), None, torch.tensor(5.0)]
    for order in itertools.permutations(range(3)):

        def one(part: slice, order: tuple[int, ...] = order) -> tuple[Tensor | None, ...]:
            return rows[part], values[order[part.start // 2]], None

        whole, found, none = accumulated(one, 6, 3)
        assert torch.equal(whole, rows)
        assert float(found) == pytest.approx((3 + 5) / 3)
        assert none is None


def test_smoothed_losses_are_the_formula() -> None:
    logits, labels = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.25, 0.0]]).double(), torch.tensor([0, 2])
    smoothing = 0.3
    for row, label, loss in zip(logits, labels, losses_of(logits, labels, smoothing), strict=True):
        total = math.log(sum(math.exp(value) for value in row.tolist()))
        own, mean = total - float(row[label]), total - float(row.mean())
        assert float(loss) == pytest.approx((1 - smoothing) * own + smoothing * mean, rel=1e-12)


def test_smoothing_is_of_the_minimised_loss_alone(data: Splits) -> None:
    found, plain = weights(data, label_smoothing=0.2), weights(data)
    for name, value in by_hand(data, 0.2)[-1].items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found["network.head.weight"], plain["network.head.weight"])
    rows: list[Row] = []
    one = settings(label_smoothing=0.9)
    result = train_classifier(data, MODEL, SGD, None, TrainSettings(steps=1, batch_size=BATCH), SEED, CPU, rows.append)
    smoothed: list[Row] = []
    again = TrainSettings(steps=1, batch_size=BATCH, label_smoothing=one.label_smoothing)
    train_classifier(data, MODEL, SGD, None, again, SEED, CPU, smoothed.append)
    assert rows[0]["train_loss"] == smoothed[0]["train_loss"]  # before the first step, and without smoothing
    assert result.test_loss == float(evaluate(result.model, data.test).loss)


def test_the_average_is_evaluated_and_returned(data: Splits) -> None:
    decay, states, rows = 0.7, by_hand(data), []
    expected = states[0]
    for state in states[1:]:
        expected = {
            name: decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
    found = train_classifier(data, MODEL, SGD, None, settings(ema=decay), SEED, CPU, rows.append)
    state = found.model.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
    assert int(state["network.norm.num_batches_tracked"]) == STEPS
    assert not torch.allclose(state["network.norm.running_mean"], states[-1]["network.norm.running_mean"])
    assert found.test_loss == float(evaluate(found.model, data.test).loss)
    assert rows[-1]["val_loss"] == float(evaluate(found.model, data.validation).loss)


def test_what_is_trained_does_not_see_the_average(data: Splits) -> None:
    """Two epochs with an evaluation between them: the first weights are put back bit for bit."""
    two = TrainSettings(epochs=2, batch_size=512, ema=0.5)
    seen: list[Row] = []
    found, expected = (trained(Recipe(data, MODEL, SGD, two), None, 0, report) for report in (seen.append, None))
    assert len(seen) == 2
    assert found.loss == expected.loss
    for one, other in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_average_follows_buffers_that_a_layer_replaces() -> None:
    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("size", torch.zeros(2))

    model = Replacing()
    average = WeightAverage(model, 0.75)
    model.size = torch.full((2,), 4.0)
    average.update()
    with average.inside():
        assert torch.equal(model.size, torch.ones(2))
    assert torch.equal(model.size, torch.full((2,), 4.0))


def test_channels_last_is_the_same_network_in_another_layout(data: Splits) -> None:
    """After one step, before rounding in another order has grown."""
    one = TrainSettings(steps=1, batch_size=BATCH, channels_last=True)
    found = trained(Recipe(data, MODEL, SGD, one), None, SEED).model.state_dict()
    assert found["network.groups.0.conv2.weight"].is_contiguous(memory_format=torch.channels_last)
    assert found["network.stem.weight"].shape == (16, 1, 3, 3)
    for name, value in by_hand(data)[0].items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


COMPILED = """
import functools, torch
from augrad.data.digits import load_digits
from augrad.models.wide_resnet import WideResNet
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe, trained
model, sgd = functools.partial(WideResNet, depth=10, widen_factor=1), functools.partial(torch.optim.SGD, lr=0.1)
found, expected = (
    trained(Recipe(load_digits(), model, sgd, TrainSettings(steps=1, batch_size=32, compile=compiled)), None, 3)
    .model.state_dict()
    for compiled in (True, False)
)
assert list(found) == list(expected)
for name, value in expected.items():
    torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


@pytest.mark.slow
def test_a_compiled_training_is_the_same_and_keeps_the_names_of_its_weights() -> None:
    """In a process of its own: the checks of shapes and types, which tests run with, cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


@pytest.mark.parametrize(
    "named",
    [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"label_smoothing": True}, {"ema": 1.0}, {"ema": 0.0},
     {"channels_last": 3}, {"compile": 3}],
)  # fmt: skip
def test_refusals(named: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(named))}: expected"):
        settings(**named)
