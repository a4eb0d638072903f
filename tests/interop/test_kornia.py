"""Policies for Kornia."""

import pickle

import pytest
import torch

import augrad
from augrad import Policy, UserError
from augrad.interop import ConversionError
from augrad.interop.kornia import KNOWN, to_kornia
from fixed_policies import fixed, strengths
from pictures import every_kind

SIDE = 40
RANDOM = ("gaussian_noise", "cutout")


@torch.no_grad()
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", [name for name in KNOWN if name not in RANDOM])
def test_pixels_are_ours_over_the_whole_range_and_both_signs(name: str, interpolation: str) -> None:
    images = every_kind(3, SIDE, SIDE)
    if name == "auto_contrast":  # of one value is declared to be another
        images = images[(images.amax((1, 2, 3)) > images.amin((1, 2, 3)))]
    for value in strengths(name):
        policy = fixed(name, value, interpolation)
        off = (to_kornia(policy).result(images) - policy(images)).abs()
        if name.startswith("shear"):  # what leaves the image on the way is declared, near its borders
            assert off[..., 8:-8, 8:-8].mean() < 0.04, value
        else:
            assert (off > 1 / 255).double().mean() < 0.01, (value, off.max())


def test_noise_and_squares_are_as_strong_as_ours() -> None:
    grey = torch.full((4, 3, SIDE, SIDE), 0.5)
    noisy = to_kornia(fixed("gaussian_noise", 0.1)).result(grey)
    assert noisy.std() == pytest.approx(0.1, rel=0.1)
    square = to_kornia(fixed("cutout", 0.5)).result(grey)
    assert (square == 0).double().mean() == pytest.approx(0.25, abs=0.02)


def test_each_image_has_its_own_choice_gate_and_sign_as_often_as_ours() -> None:
    policy = Policy.over({"brightness": {"low": 0.5, "high": 0.5}, "invert": None}, probability=0.6, magnitude="point")
    module = pickle.loads(pickle.dumps(to_kornia(policy).result))
    images = torch.full((4000, 3, 2, 2), 0.4)
    torch.manual_seed(0)
    output = module(images)
    assert (images == 0.4).all()
    for value, chance in ((0.4, 0.55), (0.6, 0.45)):  # 0.6: inverted, and one and a half times as bright
        assert ((output[:, 0, 0, 0] - value).abs() < 1e-4).double().mean() == pytest.approx(
            chance - 0.15 * (value == 0.4), abs=0.04
        )
    torch.manual_seed(0)
    assert torch.equal(output, module(images))


def test_sub_policies_and_stages_are_drawn_as_ours() -> None:
    policy = augrad.load_policy("dada_svhn")
    module, losses = to_kornia(policy)
    count, kinds = 400, every_kind(3, SIDE, SIDE)[:2]
    images = kinds.repeat(count, 1, 1, 1)
    torch.manual_seed(1)
    found, ours = (module(images), policy(images))
    off = (found - ours).detach().unflatten(0, (count, 2)).mean(0)
    assert off.abs().mean() < 0.02  # of two means of 400 draws, which differ by some 0.014 by chance
    assert {loss.what.partition(":")[0] for loss in losses} == {
        "auto_contrast", "shear_x", "shear_y", "cutout", "equalize", "posterize",
    }  # fmt: skip


def test_what_kornia_cannot_do_is_said() -> None:
    policy = Policy.over(["solarize_add", "rotate"], probability=1.0, fill=0.5)
    said = list(map(str, to_kornia(policy).losses))
    assert "subpolicies[0].stages[0][0]: solarize_add: not known there, and left out" in said
    assert "fill: 0.5 becomes 0" in said
    with pytest.raises(ConversionError, match="to_kornia: expected that nothing is lost"):
        to_kornia(policy, strict=True)
    assert to_kornia(fixed("rotate", 10.0), strict=True).losses == ()
    module = to_kornia(policy).result
    for images in (torch.zeros(2, 1, 4, 4), torch.zeros(3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)):
        with pytest.raises(UserError, match=r"expected images \[B, 3, H, W\], floating point in \[0, 1\]"):
            module(images)
