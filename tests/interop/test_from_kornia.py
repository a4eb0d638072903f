"""Policies from Kornia's lists."""

import kornia.augmentation.auto.autoaugment.ops as theirs
import pytest
import torch
from kornia.augmentation.auto import AutoAugment

from augrad import UserError
from augrad.interop import ConversionError, Loss
from augrad.interop.kornia import from_kornia
from augrad.policy_file.convert import document_of
from pictures import every_kind
from problems import shapes_unchecked

SIDE = 32
ALIKE = ("translate_x", "translate_y", "rotate", "solarize", "contrast", "sharpness", "invert", "equalize", "posterize")


@torch.no_grad()
@pytest.mark.parametrize("bin_", [0, 3, 5, 9])
@pytest.mark.parametrize("name", ALIKE)
def test_pixels_are_kornias_at_the_magnitude_that_it_drew(name: str, bin_: int) -> None:
    images = every_kind(3, SIDE, SIDE)
    operation = getattr(theirs, name)(1.0, bin_)
    torch.manual_seed(0)
    params = operation.forward_parameters(images.shape)
    drawn = params.get(operation._factor_name) if operation._factor_name else None
    expected = operation(images, params)
    policy = from_kornia([[(name, 1.0, bin_)]]).result
    (entry,) = document_of(policy).subpolicies[0].stages[0]
    sample = policy.sample(len(images), torch.Generator().manual_seed(0)).detach()
    if drawn is not None and drawn.ndim:
        ours = drawn.double() / (SIDE if name.startswith("translate") else 1)  # drawn in pixels
        ours = ours - (1 if entry.unit == "strength" else 0)
        slack = 0.5 if name == "posterize" else 0.0  # rounded already
        assert ours.min() >= min(vars(entry.magnitude).values()) - 1e-6 - slack
        assert ours.max() <= max(vars(entry.magnitude).values()) + 1e-6 + slack
        sample.magnitude.copy_(ours[:, None].expand_as(sample.magnitude))
    off = (policy(images, params=sample) - expected).abs()
    assert (off > 1 / 255).double().mean() < 0.01, off.max()


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "svhn"])
def test_presets_are_read_and_their_losses_said(name: str) -> None:
    policy, losses = from_kornia(name)
    assert policy.shape == (25, 2, 1)
    assert Loss("subpolicies", "one for the whole batch there, and for each image here") in losses
    with pytest.raises(ConversionError, match="from_kornia: expected that nothing is lost"):
        from_kornia(name, strict=True)
    if name == "cifar10":
        said = {loss.what.partition(":")[0] for loss in losses}
        assert {"shear_y", "color", "brightness"} <= said


@pytest.mark.parametrize(
    "given",
    ["nothing", [], [[]], 3, [["rotate"]], [[("rotate", 0.5)]], [[("turn", 0.5, 3)]], [[("rotate", 1.5, 3)]],
     [[("rotate", 0.5, 10)]], [[("rotate", 0.5, -1)]], [[("rotate", 0.5, None)]], [[("rotate", True, 3)]],
     [[("invert", 0.5, None)]] * 20_000],
)  # fmt: skip
def test_other_lists_are_refused(given: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError):
        from_kornia(given)


@torch.no_grad()
@pytest.mark.parametrize("bin_", range(10))
def test_bits_of_a_bin_are_drawn_as_kornia_draws_them(bin_: int) -> None:
    """Kornia rounds what it draws to whole bits, as we do."""
    grey = (torch.arange(256) / 255).view(1, 1, 16, 16)

    def bits(images: torch.Tensor) -> list[float]:
        left = [len((image * 255).round().unique()).bit_length() - 1 for image in images]
        return [left.count(count) / len(left) for count in range(4, 9)]

    listed = [("posterize", 1.0, bin_)]
    there = AutoAugment([listed])
    torch.manual_seed(0)
    drawn = torch.cat([there(grey.expand(1, 3, 16, 16)) for _ in range(200)])
    policy, losses = from_kornia([listed])
    here = policy(grey.expand(200, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    assert bits(here) == pytest.approx(bits(drawn), abs=0.15)
    assert {loss.place for loss in losses} == {"subpolicies", "subpolicies[0].stages[0][0]"}
