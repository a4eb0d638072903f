"""Networks trained as one are those that are trained by themselves, whatever stands beside them."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import augrad.train.many as many
from augrad.data.digits import load_digits
from augrad.data.folds import in_turn
from augrad.data.standard import StandardAugmentation
from augrad.data.types import Split
from augrad.errors import Stopped, UserError
from augrad.learning.classifier import gradients_of_weights, with_zeros
from augrad.learning.pure_optimizer import clip_factor
from augrad.learning.step import OptimizerBuilder
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.policy import Policy
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe
from augrad.train.many import Judged, judged_trainings
from augrad.train.stacked import _clipped, can_be_stacked, stacked_trainings

DATA = load_digits(train_size=96, validation_size=40, selection_size=40)
CONVOLUTIONS, NORMALISED = partial(SmallConvNet, width=8), partial(WideResNet, depth=10, widen_factor=1)
SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.001)
SEEDS = [3, 3, 5, 7]


def policies() -> list[Policy]:
    """Over the same candidates, each with other probabilities."""
    ops = ["identity", "rotate", "invert", "cutout"]
    return [Policy.over(ops, stages=2, probability=p, level=p) for p in (0.1, 0.4, 0.7, 0.9)]


def recipe(
    model: Any = CONVOLUTIONS,
    optimizer: OptimizerBuilder = SGD,
    standard: StandardAugmentation = StandardAugmentation(),  # noqa: B008 (frozen)
    **settings: Any,
) -> Recipe:
    asked = TrainSettings(**{"steps": 7, "batch_size": 32, **settings})
    return Recipe(DATA, model, optimizer, asked, standard)


def both(recipe: Recipe, given: list[Policy], seeds: list[int], **named: Any) -> tuple[list[Judged], list[Judged]]:
    alone = list(judged_trainings(recipe, given, seeds, 1))
    return alone, list(judged_trainings(recipe, given, seeds, 1, **named))


def close(alone: Judged, together: Judged, tolerance: float = 2e-5) -> None:
    for name in ("train_loss", "loss"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=tolerance), name
    assert together.late == pytest.approx(alone.late, abs=500 * tolerance)  # a ratio of small differences
    assert together.state.keys() == alone.state.keys()
    for name, tensor in alone.state.items():
        torch.testing.assert_close(together.state[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "case",
    [
        recipe(),
        recipe(NORMALISED, steps=2),  # its rounding grows: a ReLU here or there switches
        recipe(clip_norm=0.5, label_smoothing=0.1, warmup_epochs=1.0),
        recipe(optimizer=partial(torch.optim.AdamW, lr=0.003, weight_decay=0.1)),
        recipe(standard=StandardAugmentation(crop_padding=1, flip=True, cutout=4)),
        recipe(steps=2, batch_size=96),
        recipe(autocast=True),
    ],
    ids=["plain", "BatchNorm", "clipped", "AdamW", "standard", "an epoch a step", "autocast"],
)
@pytest.mark.parametrize("size", [4, 3])
def test_the_stack_is_the_single_trainings(case: Recipe, size: int) -> None:
    alone, together = both(case, policies(), SEEDS, stacked=size)
    assert len({one.loss for one in together}) == 4
    for one, other in zip(alone, together, strict=True):
        close(one, other, 2e-2 if case.settings.autocast else 2e-5)


def test_each_network_may_have_data_of_its_own() -> None:
    """Its standardisation, batches and the colour of its cutouts, too."""
    case = recipe(standard=StandardAugmentation(crop_padding=1, cutout=4))
    negative = replace(DATA, train=Split(DATA.train.images.max() - DATA.train.images, DATA.train.labels))
    splits = [*in_turn(DATA, 3, range(2), 0), *in_turn(negative, 3, range(2), 0)]
    alone, together = (
        list(judged_trainings(case, policies(), SEEDS, 1, stacked=stacked, splits=splits)) for stacked in (1, 4)
    )
    for one, other in zip(alone, together, strict=True):
        close(one, other)
    assert alone[0].loss != both(case, policies(), SEEDS)[0][0].loss


def test_it_is_the_stack_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "trained", None)
    assert len(list(judged_trainings(recipe(steps=1), policies(), SEEDS, 1, stacked=2))) == 4


def test_one_that_diverges_does_not_touch_the_others() -> None:
    """The weights of the second network's first layer overflow."""
    given = policies()
    case = recipe(steps=5)
    alone, _ = both(case, given, SEEDS)

    class Broken(SmallConvNet):
        """Its seed decides whether its first weight is no number."""

        def __init__(self, in_channels: int, class_count: int) -> None:
            super().__init__(in_channels, class_count, width=8)
            self.count = len(built)
            built.append(self)
            if self.count == 1:
                next(self.parameters()).data.fill_(1e30)

    built: list[nn.Module] = []
    ended = stacked_trainings(recipe(Broken, steps=5), given, SEEDS)
    assert [one is None for one in ended] == [False, True, False, False]
    for index in (0, 2, 3):
        found = ended[index]
        assert found is not None
        assert found[1] == pytest.approx(alone[index].late, abs=1e-5)
    hot = list(judged_trainings(recipe(optimizer=partial(SGD, lr=1e9)), given, SEEDS, 1, stacked=4))
    assert all(math.isinf(one.loss) and not one.state for one in hot)


def test_gradients_are_clipped_network_by_network() -> None:
    model = nn.Linear(5, 3)
    generator = torch.Generator().manual_seed(0)
    stack = [torch.randn(4, *p.shape, generator=generator) * torch.tensor([0.01, 1, 3, 0]).view(-1, *[1] * p.dim())
             for p in model.parameters()]  # fmt: skip
    found = _clipped([*stack, None], 1.0)
    assert found[-1] is None
    for network in range(4):
        for parameter, gradient in zip(model.parameters(), stack, strict=True):
            parameter.grad = gradient[network].clone()
        own = with_zeros(gradients_of_weights(model), dict(model.named_parameters()))
        factor = clip_factor(own, 1.0)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for parameter, clipped, gradient in zip(model.parameters(), found, stack, strict=False):
            assert clipped is not None
            assert parameter.grad is not None
            torch.testing.assert_close(clipped[network], parameter.grad)
            torch.testing.assert_close(clipped[network], gradient[network] * factor)


class Dropping(nn.Sequential):
    def __init__(self, in_channels: int, class_count: int) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(256 * in_channels, class_count))


@pytest.mark.parametrize(
    "case",
    [
        recipe(Dropping),
        recipe(ema=0.9),
        recipe(channels_last=True),
        recipe(accumulation_steps=2),
        recipe(optimizer=partial(torch.optim.RMSprop, lr=0.01)),
    ],
    ids=["dropout", "ema", "channels_last", "accumulation_steps", "RMSprop"],
)
def test_what_would_be_another_training_in_a_stack_is_not_stacked(case: Recipe) -> None:
    assert not can_be_stacked(case, policies())
    alone, together = both(case, policies()[:2], SEEDS[:2], stacked=2)
    assert [one.loss for one in alone] == [one.loss for one in together]


def test_policies_over_other_candidates_and_none_are_not_stacked() -> None:
    other = Policy.over(["identity", "rotate"], stages=2)
    assert can_be_stacked(recipe(), policies())
    assert not can_be_stacked(recipe(), [*policies(), other])
    assert not can_be_stacked(recipe(), [*policies(), None])
    assert not can_be_stacked(recipe(), [None, None])


def test_it_stops_where_it_is_asked_to_and_refuses_no_networks() -> None:
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        list(judged_trainings(recipe(steps=50), policies(), SEEDS, 1, lambda: next(asked), stacked=4))
    with pytest.raises(UserError, match="stacked"):
        judged_trainings(recipe(), policies(), SEEDS, 1, stacked=0)


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Memory for two networks at a time."""
    sizes: list[int] = []

    def limited(recipe: Recipe, given: Any, seeds: Any, *others: Any) -> Any:
        sizes.append(len(given))
        if len(given) > 2:
            raise torch.OutOfMemoryError
        return stacked_trainings(recipe, given, seeds, *others)

    monkeypatch.setattr(many, "stacked_trainings", limited)
    return sizes


def test_a_memory_that_is_too_small_takes_fewer_at_a_time(scarce: list[int]) -> None:
    alone, together = both(recipe(), policies(), SEEDS, stacked=4)
    assert scarce == [4, 2, 2]
    for one, other in zip(alone, together, strict=True):
        close(one, other)
