"""The ways in which experiments/libraries applies a policy: each does what the policy says, as a training asks."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from augrad import Policy
from augrad.interop import Loss
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


def test_losses_are_counted_by_kind(modules) -> None:
    words = (
        "drawn from 1 to 2 degree; one of 9 values there",
        "drawn from 3 to 4 factor; one of 9 values there",
        "drawn from 3 to 4 factor; always 3.5 factor there",
        "Rotate then Invert: chance 0.01 becomes 0.02",
        "Invert: chance 0.021 becomes 0",
        "shear_x: two resamplings",
        "shear_y: two resamplings",
        "sharpness of -0.125 is not known there, and is left out",
        "cutout is not known there, and is left out",
        "44.52 degree is narrowed to level 10 of 10",
    )
    assert modules[1].kinds(Loss(str(place), what) for place, what in enumerate(words)) == {
        "of a range, one of 9 values there": 2,
        "shear_x, shear_y: two resamplings": 2,
        "sharpness, cutout is not known there, and is left out": 2,
        "the chance of a choice, which is rounded; choices of 2.1% in all are left out": 2,
        "the mean of what is drawn from a range": 1,
        "a degree that is too large, narrowed": 1,
    }
