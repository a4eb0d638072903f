"""The ways in which experiments/libraries applies a policy: each does what the policy says, as a training asks."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from augrad import Policy
from augrad.comparison.rows import TrainingRow
from page_blocks import ROOT

NAMES = ("augrad, other draws", "torchvision, tensor", "torchvision, PIL", "Kornia", "Albumentations", "timm")


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield tuple(importlib.import_module(f"experiments.libraries.{name}") for name in ("ways", "libraries"))


def digits(count: int) -> torch.Tensor:
    """Grey images with every level of 8 bits."""
    return torch.arange(256).repeat(count).view(count, 1, 16, 16) / 255


def applied(modules, name: str, policy: Policy, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    ways, _ = modules
    apply, _ = ways.WAYS[name].made(policy)
    return ways.Applied(apply)(images, generator=torch.Generator().manual_seed(seed))


def test_these_are_the_ways(modules) -> None:
    assert tuple(modules[0].WAYS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_without_chance_does_the_same_in_every_way(modules, name: str) -> None:
    images = digits(3)
    policy = Policy.over({"invert": None}, probability=1.0)
    torch.testing.assert_close(applied(modules, name, policy, images), 1 - images)


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_its_draw_which_the_generator_decides(modules, name: str) -> None:
    images = digits(64)
    policy = Policy.over({"invert": None}, probability=0.5)
    before = torch.get_rng_state()
    found, again, other = (applied(modules, name, policy, images, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    inverted = (found[:, 0, 0, 0] > 0.5).float().mean()
    assert 0.2 < inverted < 0.8


def test_the_mean_of_both_draws_is_that_of_each_seed(modules) -> None:
    own = modules[1].OWN

    def row(policy: str, seed: int, accuracy: float, loss: float) -> TrainingRow:
        numbers = {"steps": 1, "seconds": 1.0, "images": 10}
        rest = ("calibration_error", "diversity", "train_loss", "held_out_loss", "late", "chance")
        values = dict.fromkeys(rest, 0.0) | numbers
        return TrainingRow(policy, None, 0, seed, accuracy=accuracy, loss=loss, digest="", **values)

    rows = [row(own, 0, 0.5, 1.0), row(own, 1, 0.25, 2.0), row("timm", 0, 1.0, 0.0)]
    rows += [row(f"{own}, other draws", 1, 0.75, 4.0), row(f"{own}, other draws", 0, 0.5, 2.0)]
    assert [(one.seed, one.accuracy, one.loss) for one in modules[1].own_mean(rows)] == [(0, 0.5, 1.5), (1, 0.5, 3.0)]
