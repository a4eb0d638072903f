"""Policies from torchvision's transforms."""

from typing import Any

import pytest
import torch
from torchvision import transforms as v1
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

import augrad
from augrad import UserError
from augrad.interop import ConversionError
from augrad.interop.torchvision import NAMES, from_torchvision, to_torchvision
from augrad.policy_file.convert import document_of, read_document
from pictures import every_kind, in_levels

SIDE = 32
BINS = 10  # of AutoAugment's magnitudes
UNITS = {"TranslateX": SIDE, "TranslateY": SIDE}


@pytest.mark.parametrize("policy", AutoAugmentPolicy)
def test_auto_augment_draws_as_torchvisions_does(policy: AutoAugmentPolicy) -> None:
    """By sub-policy and place: how often, which magnitude, which signs."""
    transform, count = v2.AutoAugment(policy), 100_000
    ours = augrad.load_policy(f"autoaugment_{policy.value}")
    sample = ours.sample(count, torch.Generator().manual_seed(0))
    signed = (sample.magnitude * sample.sign).detach()
    for index, steps in enumerate(transform._policies):
        chosen = sample.subpolicy == index
        number = int(chosen.sum())
        assert number / count == pytest.approx(1 / 25, abs=5 * (0.04 / count) ** 0.5)
        for place, (name, probability, bin_) in enumerate(steps):
            assert {ours.ops[op].name for op in sample.op[chosen, place].unique()} == {NAMES.get(name, name.lower())}
            applied = sample.gate[chosen, place].double().mean()
            assert applied == pytest.approx(probability, abs=5 * 0.5 / number**0.5)
            magnitudes, has_sign = transform._AUGMENTATION_SPACE[name]
            values = magnitudes(BINS, SIDE, SIDE)
            if values is None:
                continue
            expected = float(values[bin_]) / UNITS.get(name, 1)
            drawn = signed[chosen, place]
            assert drawn.abs().unique() == pytest.approx(abs(expected), abs=1e-5)
            if has_sign and expected:
                assert (drawn > 0).double().mean() == pytest.approx(0.5, abs=2.5 / number**0.5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["AutoAugment", "RandAugment"])
def test_pixels_are_torchvisions(name: str) -> None:
    """One operation after another, each image with the signs and gates that were drawn."""
    transform = getattr(v2, name)()
    policy = from_torchvision(transform).result
    pictures = in_levels(every_kind(3, SIDE, SIDE))
    images = pictures[torch.arange(400) % len(pictures)]
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(1))
    ours_to_theirs = {NAMES.get(known, known.lower()): known for known in transform._AUGMENTATION_SPACE}
    for i, image in enumerate(images):
        theirs = image
        for stage in range(sample.op.shape[1]):
            if not sample.gate[i, stage]:
                continue
            known = ours_to_theirs[policy.ops[sample.op[i, stage]].name]
            magnitude = float(sample.magnitude[i, stage] * sample.sign[i, stage]) * UNITS.get(known, 1)
            if known.startswith("Translate"):
                magnitude = round(magnitude)  # torchvision cuts off, which is declared
            theirs = transform._apply_image_or_video_transform(theirs, known, magnitude, "nearest", transform._fill)
        difference = (theirs.int() - output[i].int()).abs()
        # Equalize makes much of one level more or less before it.
        assert (difference > 8).double().mean() < 0.02


@pytest.mark.parametrize("version", [v1, v2])
def test_options_of_the_transforms_are_read(version: object) -> None:
    rand = version.RandAugment(num_ops=3, magnitude=5, num_magnitude_bins=11, fill=51)  # type: ignore[attr-defined]
    (subpolicy,) = document_of(from_torchvision(rand).result).subpolicies
    assert len(subpolicy.stages) == 3
    rotate = next(entry for entry in subpolicy.stages[0] if entry.op == "rotate")
    assert rotate.magnitude.value == pytest.approx(15.0)  # type: ignore[union-attr]
    assert from_torchvision(rand).result.fill == pytest.approx(0.2)
    wide = version.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)  # type: ignore[attr-defined]
    found = from_torchvision(wide, side=64)
    translate = next(e for e in document_of(found.result).subpolicies[0].stages[0] if e.op == "translate_x")
    assert translate.magnitude.high == pytest.approx(0.5)  # type: ignore[union-attr]
    assert found.result.interpolation == "bilinear"


def test_the_built_in_ones_are_what_their_transforms_give() -> None:
    document = document_of(from_torchvision(v2.RandAugment()).result)
    builtin = read_document("randaugment")
    for ours, theirs in zip(document.subpolicies[0].stages, builtin.subpolicies[0].stages, strict=True):
        key = lambda entry: entry.op  # noqa: E731
        for first, second in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
            assert (first.op, first.signed, first.probability) == (second.op, second.signed, second.probability)
            assert (first.magnitude is None) == (second.magnitude is None)
            if first.magnitude is not None:
                assert first.magnitude.value == pytest.approx(second.magnitude.value, abs=1e-5)  # type: ignore[union-attr]


def test_what_cannot_be_carried_over_is_said() -> None:
    found = from_torchvision(v2.RandAugment(interpolation="bicubic", fill=[0, 51, 102]))
    said = {(loss.place, loss.what) for loss in found.losses}
    assert ("interpolation", "bicubic becomes bilinear") in said
    assert ("fill", "[0, 51, 102] becomes 51 in every channel") in said
    with pytest.raises(ConversionError, match="from_torchvision: expected that nothing is lost"):
        from_torchvision(v2.RandAugment(), strict=True)
    assert from_torchvision(v2.AutoAugment(AutoAugmentPolicy.IMAGENET), strict=True).losses == ()


def test_other_transforms_are_refused() -> None:
    for transform in (v2.AugMix(), v2.RandomHorizontalFlip(), "RandAugment", None):
        with pytest.raises(UserError, match="expected AutoAugment, RandAugment, TrivialAugmentWide of torchvision"):
            from_torchvision(transform)
    for side in (None, 0, True):
        with pytest.raises(UserError, match=r"expected side, of the images|side: expected a whole"):
            from_torchvision(v2.TrivialAugmentWide(), side=side)
    with pytest.raises(UserError, match="expected fill as a number"):
        from_torchvision(v2.RandAugment(fill={torch.Tensor: 3}))


def test_to_torchvision_is_the_policys_own() -> None:
    assert isinstance(to_torchvision(augrad.load_policy("randaugment")), v2.Transform)


@pytest.mark.parametrize(
    "options",
    [{"num_ops": 0}, {"num_ops": 200}, {"magnitude": 31}, {"magnitude": -1}, {"fill": 300}, {"fill": -1}, {"fill": []}],
)
def test_transforms_that_no_policy_describes_are_refused_in_words(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        from_torchvision(v2.RandAugment(**options))


def test_tables_of_an_object_are_not_those_of_torchvision() -> None:
    own = v2.RandAugment()
    own._AUGMENTATION_SPACE = {"Identity": (lambda *_: None, False)}
    with pytest.raises(UserError, match="expected torchvision's own operations of RandAugment, got others"):
        from_torchvision(own)
    for policies in ([], [(("Rotate", 0.5, 11), ("Invert", 0.5, None))]):
        other = v2.AutoAugment()
        other._policies = policies
        with pytest.raises(UserError, match="expected sub-policies with bins from 0 to 9"):
            from_torchvision(other)
