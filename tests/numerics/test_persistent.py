"""Persistent evolution strategies: without bias on a process with a known answer, and what they are in a search."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import augrad
from augrad import Policy, UserError
from augrad.data.digits import load_digits
from augrad.models.small_conv import SmallConvNet
from augrad.objectives import PersistentTraining, WholeTraining
from augrad.objectives.evolution import gradient, persistent
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe
from augrad.train.stacked import Stack

DATA = load_digits(train_size=96, validation_size=60, selection_size=40)
NETWORK = partial(SmallConvNet, width=8)
SETTINGS = TrainSettings(steps=12, batch_size=32)
SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
GRADIENT_DESCENT: dict[str, Any] = {
    "policy_optimizer": partial(torch.optim.SGD, lr=1.0),
    "policy_schedule": "constant",
    "regularizers": (),
    "seed": 5,
    "device": "cpu",
}


def pieces_of(theta: Tensor, moves: Tensor) -> Tensor:
    """The loss after each of the T pieces of a process s' = 0.8 s + t x, x = theta + what moves it in that piece: the
    sum of s^2 + s^3. moves: [T, N, n]; the losses [T, N]."""
    state, losses = torch.zeros_like(moves[0]), []
    for number, move in enumerate(moves, 1):
        state = 0.8 * state + number * (theta + move)
        losses.append((state**2 + state**3).sum(-1))
    return torch.stack(losses)


def test_the_sum_over_the_pieces_has_the_gradient_of_the_smoothed_sum() -> None:
    """E sum_t s_t^2 + s_t^3 with normal moves is known: s_t is normal, with mean c_t theta and variance v_t width^2."""
    pieces, width, count = 4, 0.3, 400_000
    theta = torch.tensor([-0.5, 0.2, 0.9], dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    delta = torch.randn(pieces, count, 3, dtype=torch.float64, generator=draw)
    ahead, behind = (pieces_of(theta, sign * width * delta) for sign in (1, -1))

    factor, variance, expected = 0.0, 0.0, torch.zeros(3, dtype=torch.float64)
    for number in range(1, pieces + 1):
        factor, variance = 0.8 * factor + number, 0.64 * variance + number**2
        mean = factor * theta  # of s_t; E (s^2 + s^3) = m^2 + v + m^3 + 3 m v
        expected += factor * (2 * mean + 3 * mean**2 + 3 * variance * width**2)

    past = torch.zeros(count, 3, dtype=torch.float64)
    found, short, each = torch.zeros(3), torch.zeros(3), torch.zeros(count, 3)
    for piece in range(pieces):
        short = short + gradient(delta[piece], ahead[piece], behind[piece], width)
        past, own = persistent(past, delta[piece], ahead[piece], behind[piece], width)
        found = found + own
        each = each + (ahead[piece] - behind[piece])[:, None] / (2 * width) * past
    error = each.std(0) / math.sqrt(count)
    torch.testing.assert_close(past, delta.sum(0))
    torch.testing.assert_close(found, each.mean(0), rtol=1e-9, atol=1e-9)
    assert bool(((found - expected).abs() < 4.5 * error).all())
    assert float((error / expected.abs()).max()) < 0.02
    # Without the past, all that earlier pieces did to a loss is missing: a short horizon.
    assert bool(((short - expected).abs() > 20 * error).all())


def searched(objective: Any, steps: int, **named: Any) -> augrad.SearchResult:
    policy = Policy.over(["identity", "rotate", "brightness"], stages=2)
    return augrad.learn(
        DATA, NETWORK, policy=policy, objective=objective, steps=steps, **GRADIENT_DESCENT, **named
    )  # fmt: skip


def test_one_piece_is_a_whole_training() -> None:
    whole = searched(WholeTraining(SETTINGS, SGD, 2, 0.7, memory=None, processes=1, folds=None), 2)
    persisting = searched(PersistentTraining(SETTINGS, SGD, 2, 1, 0.7), 2)
    for first, second in zip(
        whole.final_policy.params.tensors(), persisting.final_policy.params.tensors(), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)
    start = Policy.over(["identity", "rotate", "brightness"], stages=2).op_logits.detach()
    assert float((whole.final_policy.op_logits.detach() - start).abs().max()) > 1e-3
    for one, other in zip(whole.metrics, persisting.metrics, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)


def test_a_training_in_pieces_is_the_training() -> None:
    """With a policy of which no draw shows, the batches, the schedule and the momentum go on where they were."""
    recipe = Recipe(DATA, NETWORK, SGD, SETTINGS)
    same = [Policy.over(["identity"])] * 2
    for optimizer in (SGD, partial(torch.optim.AdamW, lr=0.01)):
        recipe = Recipe(DATA, NETWORK, optimizer, SETTINGS)
        whole = Stack(recipe, [1, 2])
        whole.run(same, 0, 12)
        stack = Stack(recipe, [1, 2])
        for begin, end in ((0, 5), (5, 6), (6, 12)):
            fresh = Stack(recipe, [1, 2])
            fresh.load(stack.state())
            fresh.run(same, begin, end)
            stack = fresh
        for name, tensor in whole.state().items():
            assert torch.equal(tensor, stack.state()[name]), name
    with pytest.raises(UserError, match="as many of the same networks"):
        Stack(recipe, [1, 2, 3]).load(whole.state())


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_it_goes_on_amid_a_training(stop: int, tmp_path: Path) -> None:
    objective = PersistentTraining(SETTINGS, partial(torch.optim.AdamW, lr=0.01), 2, 3, 0.7)
    given: dict[str, Any] = {"select_every": 1, "log_every": 1, "checkpoint_every": 1}
    whole, file = searched(objective, 5, **given), tmp_path / "search.pt"
    searched(objective, 5, **given, checkpoint=file, callback=lambda row: row["step"] >= stop)
    resumed = searched(objective, 5, **given, checkpoint=file)
    for first, second in zip(whole.final_policy.params.tensors(), resumed.final_policy.params.tensors(), strict=True):
        assert torch.equal(first, second)
    assert [row["piece"] for row in whole.metrics] == [1, 2, 3, 1, 2]
    assert [row["val_loss"] for row in whole.metrics] == [row["val_loss"] for row in resumed.metrics]


class Dropping(nn.Sequential):
    def __init__(self, in_channels: int, class_count: int) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(256 * in_channels, class_count))


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (lambda: PersistentTraining(SETTINGS, SGD, 2, 13), "pieces: expected at most the 12 steps"),
        (lambda: PersistentTraining(SETTINGS, SGD, 0), "pairs"),
        (lambda: PersistentTraining(SETTINGS, SGD, 2, 0), "pieces"),
        (lambda: PersistentTraining(SETTINGS, SGD, 2, 2, 0.0), "width"),
        (lambda: PersistentTraining(TrainSettings(steps=12, ema=0.9), SGD), "trains networks as one"),
        (lambda: PersistentTraining(SETTINGS, partial(torch.optim.RMSprop, lr=0.1)), "trains networks as one"),
    ],
)
def test_what_cannot_be_is_refused(objective: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        searched(objective(), 1)


def test_networks_that_cannot_be_trained_as_one_are_refused() -> None:
    with pytest.raises(UserError, match="without dropout"):
        augrad.learn(DATA, Dropping, objective=PersistentTraining(SETTINGS, SGD, 1), steps=1, device="cpu")
    with pytest.raises(UserError, match="fresh networks"):
        augrad.learn(DATA, NETWORK(1, 10), objective=PersistentTraining(SETTINGS, SGD, 1), steps=1, device="cpu")
