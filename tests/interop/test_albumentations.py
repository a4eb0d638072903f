"""Policies for Albumentations."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import augrad
from augrad import Policy, UserError
from augrad.interop import ConversionError
from augrad.interop.albumentations import KNOWN, serialized, to_albumentations
from fixed_policies import as_array, fixed, strengths
from pictures import every_kind, in_levels

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A

SIDE = 40
OFF = {"equalize": 4, "auto_contrast": 5, "hue": 12, "color": 2, "sharpness": 2}
"""Levels of 255 by which pixels differ, where it is more than 1: what is declared as a loss."""
WHOLE_PIXELS = ("shear_x", "shear_y", "translate_x", "translate_y")
RANDOM = ("gaussian_noise", "cutout")


def strengths_of(name: str) -> list[float]:
    """Those that move by whole pixels; shear moves by half of what it says."""
    return strengths(name, (2 if name.startswith("shear") else 1) / SIDE if name in WHOLE_PIXELS else 0.0)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", [name for name in KNOWN if name not in RANDOM])
def test_pixels_are_ours_over_the_whole_range_and_both_signs(name: str, interpolation: str) -> None:
    images = in_levels(every_kind(3, SIDE, SIDE))
    for value in strengths_of(name):
        policy = fixed(name, value, interpolation)
        pipeline, losses = to_albumentations(policy)
        if any("left out" in loss.what for loss in losses):
            assert value < KNOWN[name].least
            continue
        ties = 0.1 if interpolation == "nearest" and name.startswith("shear") else 0.01  # between two pixels
        kinds = images[:2] if name == "equalize" else images  # on images of few values it is declared to be another
        for image, ours in zip(kinds, policy(kinds), strict=True):
            theirs = pipeline(image=as_array(image))["image"].astype(int)
            off = np.abs(theirs - as_array(ours).astype(int))
            off = off[1:-1, 1:-1] if name == "sharpness" else off  # the outermost pixels are declared
            assert off.max() <= OFF.get(name, 1) or (off > 1).mean() < ties, (value, off.max(), (off > 1).mean())


def test_noise_and_squares_are_as_strong_as_ours() -> None:
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    noisy = to_albumentations(fixed("gaussian_noise", 0.1)).result(image=grey)["image"]
    assert noisy.astype(float).std() == pytest.approx(0.1 * 255, rel=0.1)
    square = to_albumentations(fixed("cutout", 0.5)).result(image=grey)["image"]
    assert (square == 0).all(2).mean() == pytest.approx(0.25, abs=0.02)


def test_choices_gates_and_signs_are_drawn_as_often() -> None:
    pipeline = to_albumentations(
        Policy.over({"brightness": {"low": 0.5, "high": 0.5}, "invert": None}, probability=0.6, magnitude="point")
    ).result
    pipeline.set_random_seed(0)
    grey = np.full((2, 2, 3), 100, np.uint8)
    drawn = [int(pipeline(image=grey)["image"][0, 0, 0]) for _ in range(3000)]
    for value, chance in ((100, 0.4), (155, 0.3), (150, 0.15), (50, 0.15)):
        assert drawn.count(value) / len(drawn) == pytest.approx(chance, abs=0.045), value


def test_a_range_becomes_equally_likely_values() -> None:
    policy = Policy.over({"rotate": {"high": 40.0}}, probability=1.0, magnitude="uniform", level=1 - 1e-9, scale=1e-9)
    pipeline, losses = to_albumentations(policy, values=4)
    (place,) = {loss.place for loss in losses}
    assert place == "subpolicies[0].stages[0][0].magnitude"
    found: list[Any] = pipeline.to_dict()["transform"]["transforms"][0]["transforms"][0]["transforms"][0]["transforms"]
    angles = sorted(one["transforms"][0]["rotate"][0] for one in found)
    assert angles == pytest.approx([-35, -25, -15, -5, 5, 15, 25, 35], abs=0.2)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_document_is_loaded_by_albumentations(form: str, tmp_path: Path) -> None:
    pipeline = to_albumentations(augrad.load_policy("dada_cifar10")).result
    path = tmp_path / f"policy.{form}"
    path.write_text(serialized(pipeline, form))  # type: ignore[arg-type]
    loaded = A.load(path, data_format=form)
    image = as_array(in_levels(every_kind(3, SIDE, SIDE))[2])
    for one in (pipeline, loaded):
        one.set_random_seed(3)
    assert np.array_equal(pipeline(image=image)["image"], loaded(image=image)["image"])


def test_what_albumentations_cannot_do_is_said() -> None:
    policy = Policy.over(["solarize_add", "sharpness", "translate_x"], probability=1.0)
    said = {loss.what for loss in to_albumentations(policy).losses}
    assert "solarize_add: not known there, and left out" in said
    assert any(what.startswith("sharpness of -") and "left out" in what for what in said)
    assert any("cut to whole pixels" in what for what in said)
    with pytest.raises(ConversionError, match="to_albumentations: expected that nothing is lost"):
        to_albumentations(policy, strict=True)
    assert to_albumentations(fixed("rotate", 10.0), strict=True).losses == ()
    with pytest.raises(UserError, match="expected values as a whole number from 1 to 1000, got 0"):
        to_albumentations(policy, values=0)
