"""Trainings on a GPU: with CUDA graphs they are what they are kernel by kernel."""

from functools import partial

import pytest
import torch

from augrad.data.types import Split, Splits
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.initial import initial_policy
from augrad.settings import TrainSettings
from augrad.train.loop import Fit, Recipe, trained
from augrad.train.stacked import stacked_trainings

pytestmark = pytest.mark.gpu
SGD = partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)


def a_recipe(**settings: object) -> Recipe:
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 256, (160, 3, 16, 16), generator=generator, dtype=torch.uint8), torch.arange(160) % 4
    ).to(torch.device("cuda"))
    splits = Splits("random", 4, split, split, split, split, "0" * 64)
    # 160 images in batches of 48: the last one of an epoch is smaller or left out.
    return Recipe(splits, partial(SmallConvNet, width=8), SGD, TrainSettings(steps=12, batch_size=48, **settings))  # type: ignore[arg-type]


def a_policy() -> Policy:
    return initial_policy(make_space(dict.fromkeys(["rotate", "color", "cutout"])), stages=2)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in full single precision, each time in the same order: what is left is no rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"clip_norm": 0.5, "label_smoothing": 0.1}])
def test_a_training_with_graphs_is_the_training(settings: dict[str, object]) -> None:
    def course(graphs: bool | None) -> tuple[Fit, list[float]]:
        losses: list[float] = []
        recipe = a_recipe(cuda_graphs=graphs, **settings)
        fit = trained(recipe, a_policy(), 0, lambda row: losses.append(float(row["train_loss"] or 0)))
        return fit, losses

    (fit, losses), (expected, others) = course(None), course(False)
    assert losses == pytest.approx(others, rel=1e-4)
    for name, value in expected.model.state_dict().items():
        torch.testing.assert_close(fit.model.state_dict()[name], value, rtol=2e-3, atol=2e-4)


def test_a_network_that_draws_is_not_captured() -> None:
    recipe = a_recipe()
    dropping = Recipe(recipe.splits, partial(WideResNet, depth=10, widen_factor=1, dropout=0.5), SGD, recipe.settings)
    assert trained(dropping, a_policy(), 0).loss == trained(dropping, a_policy(), 0).loss


def test_a_stack_with_graphs_is_the_stack() -> None:
    found = {
        graphs: stacked_trainings(a_recipe(cuda_graphs=graphs), [a_policy()] * 3, range(3)) for graphs in (None, False)
    }
    for one, other in zip(found[None], found[False], strict=True):
        assert one is not None
        assert other is not None
        for name, value in other[0].state_dict().items():
            torch.testing.assert_close(one[0].state_dict()[name], value, rtol=2e-3, atol=2e-4)
