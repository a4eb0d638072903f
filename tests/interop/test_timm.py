"""Policies from and for timm."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import AugmentOp, AutoAugment, auto_augment_transform, rand_augment_transform

import augrad
from augrad import Policy, UserError
from augrad.interop import ConversionError
from augrad.interop.timm import KNOWN, from_timm, to_timm
from augrad.policy_file.convert import document_of
from pictures import every_kind, in_levels
from problems import shapes_unchecked

SIDE = 32
NEAREST = {"interpolation": Image.Resampling.NEAREST, "img_mean": (0, 0, 0), "translate_const": 250}


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "GaussianBlur"])
def test_an_operation_is_timms_over_the_whole_range_and_both_signs(name: str) -> None:
    images = in_levels(every_kind(3, SIDE, SIDE))
    for level in (0, 2, 4, 5, 9, 10):
        op = AugmentOp(name, prob=1.0, magnitude=level, hparams=NEAREST)
        found = from_timm(AutoAugment([[op]]))
        if any("bits becomes" in loss.what for loss in found.losses):
            continue  # no bit left is black, and here there is at least one
        sample = found.result.sample(len(images), torch.Generator().manual_seed(0))
        signs = (1, -1) if document_of(found.result).subpolicies[0].stages[0][0].signed else (1,)
        ours = []
        for sign in signs:
            sample.sign.fill_(sign)
            ours.append(found.result(images, params=sample))
        met = set()
        for seed in range(6):
            random.seed(seed)
            for i, image in enumerate(images):
                theirs = np.asarray(op(Image.fromarray(image.permute(1, 2, 0).numpy())), dtype=int)
                off = [(np.abs(theirs - one[i].permute(1, 2, 0).numpy()) > 2).mean() for one in ours]
                assert min(off) <= 0.04, (name, level, off)
                met.add(int(np.argmin(off)))
        if len(signs) == 2 and level and "Increasing" in name:
            assert met == {0, 1}


@pytest.mark.parametrize("configuration", ["original", "originalr", "v0", "v0r"])
def test_its_policies_come_back_as_they_were(configuration: str) -> None:
    given = auto_augment_transform(configuration, {})
    policy = from_timm(configuration).result
    back = to_timm(policy)
    assert [loss.place for loss in back.losses] == ["interpolation"]  # one row of pixels at the border
    assert len(back.result.policy) == len(given.policy)
    again = from_timm(back.result).result
    assert document_of(again).subpolicies == document_of(policy).subpolicies
    for theirs, ours in zip(given.policy, document_of(policy).subpolicies, strict=True):
        assert [op.prob for op in theirs] == [stage[0].probability for stage in ours.stages]


def test_rand_augment_is_read_with_its_layers_chances_and_noise() -> None:
    policy, losses = from_timm("rand-m9-mstd0.5-inc1")
    transform = rand_augment_transform("rand-m9-mstd0.5-inc1", {})
    assert policy.shape == (1, 2, len(transform.ops))
    assert any("normal around level 9 with deviation 0.5" in loss.what for loss in losses)
    sample = policy.sample(40_000, torch.Generator().manual_seed(0))
    rotate = sample.op == [op.name for op in policy.ops].index("rotate")
    assert sample.gate.double().mean() == pytest.approx(0.5, abs=0.01)
    drawn = sample.magnitude.detach()[rotate]
    random.seed(0)
    levels = torch.tensor([max(0.0, min(random.gauss(9, 0.5), 10.0)) for _ in range(len(drawn))])
    assert drawn.mean() == pytest.approx(float(3 * levels.mean()), abs=0.15)
    assert drawn.std() == pytest.approx(float(3 * levels.std()), rel=0.15)
    uniform = document_of(from_timm("rand-m8-mstd101-inc1").result).subpolicies[0].stages[0]
    found = next(entry.magnitude for entry in uniform if entry.op == "rotate")
    assert (found.low, found.high) == (0.0, 24.0)  # type: ignore[union-attr]


def test_what_timm_cannot_do_is_said() -> None:
    found = to_timm(Policy.over({"rotate": {"high": 60.0}, "hue": None, "invert": None}, probability=0.5))
    said = {loss.what for loss in found.losses}
    assert "hue: not known there, and left out" in said
    assert any("always 30 degree there" in what for what in said)
    with pytest.raises(ConversionError, match="to_timm: expected that nothing is lost"):
        to_timm(augrad.load_policy("dada_cifar10"), strict=True)
    random.seed(0)
    assert found.result(Image.new("RGB", (8, 8))).size == (8, 8)


def test_pixels_moved_are_a_share_of_the_side() -> None:
    transform = AutoAugment(
        [[AugmentOp("TranslateX", prob=1.0, magnitude=2, hparams={**NEAREST, "translate_const": 10})]]
    )
    with pytest.raises(UserError, match="expected side, of the images in pixels, because TranslateX moves by pixels"):
        from_timm(transform)
    entry = document_of(from_timm(transform, side=20).result).subpolicies[0].stages[0][0]
    assert (entry.op, entry.magnitude.value) == ("translate_x", 0.1)  # type: ignore[union-attr]


def test_what_is_no_transform_of_timm_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected a configuration of timm, .* got 'nothing'"):
        from_timm("nothing")
    with pytest.raises(UserError, match="expected a configuration, or timm's AutoAugment or RandAugment, got int"):
        from_timm(3)


def test_what_comes_either_way_is_read_alike_each_time() -> None:
    """Beyond level 10 timm cuts off one way and not the other."""
    random.seed(5)
    state = random.getstate()
    with shapes_unchecked():  # checks draw from the same generator
        found = [from_timm("rand-m15-mmax20-inc1") for _ in range(3)]
    assert random.getstate() == state
    assert len({document_of(one.result).model_dump_json() for one in found}) == 1
    assert any("strength one way, and" in loss.what for loss in found[0].losses)


def test_how_it_resamples_is_that_of_what_resamples() -> None:
    smooth = {"interpolation": Image.Resampling.BILINEAR, "img_mean": (128, 128, 128)}
    turn = {"interpolation": Image.Resampling.NEAREST, "img_mean": (51, 51, 51)}
    transform = AutoAugment([[AugmentOp("Invert", 1.0, 5, smooth), AugmentOp("Rotate", 1.0, 5, turn)]])
    policy, losses = from_timm(transform)
    assert (policy.interpolation, policy.fill) == ("nearest", pytest.approx(0.2))
    assert losses == ()
    both = AutoAugment([[AugmentOp("ShearX", 1.0, 5, smooth), AugmentOp("Rotate", 1.0, 5, turn)]])
    assert any("becomes bilinear" in loss.what for loss in from_timm(both).losses)


@pytest.mark.parametrize("side", [0, True, -5, "a", 1.5])
def test_a_side_is_a_whole_number(side: object) -> None:
    transform = AutoAugment([[AugmentOp("TranslateX", 1.0, 5, NEAREST)]])
    with shapes_unchecked(), pytest.raises(UserError, match=r"expected side, of the images|side: expected a whole"):
        from_timm(transform, side=side)  # type: ignore[arg-type]


def test_transforms_of_nothing_and_what_is_no_policy_are_refused() -> None:
    for transform in ("rand-m9-n0", AutoAugment([])):
        with pytest.raises(UserError, match="expected at least one"):
            from_timm(transform)
    with pytest.raises(UserError):
        from_timm("rand-m9-n100")
    with shapes_unchecked(), pytest.raises(UserError, match="to_timm: expected a policy, got str"):
        to_timm("randaugment")  # type: ignore[arg-type]
    assert any("bits are cut off" in loss.what for loss in from_timm("rand-m9-mstd101-inc1").losses)


@torch.no_grad()
@pytest.mark.parametrize(
    ("level", "deviation", "lost"),
    [(15.0, math.inf, True), (20.0, 1.0, False), (15.0, 0.0, False), (10.0, 0.5, True), (11.0, 3.0, True)],
)
def test_levels_beyond_the_top_are_drawn_and_then_cut(level: float, deviation: float, lost: bool) -> None:
    hparams = {"magnitude_std": deviation, "img_mean": (0, 0, 0), "interpolation": Image.BILINEAR}
    operation = AugmentOp("BrightnessIncreasing", 1.0, level, hparams)
    grey, count = Image.new("RGB", (1, 1), (100, 100, 100)), 3000
    random.seed(0)
    there = torch.tensor([operation(grey).getpixel((0, 0))[0] / 100 - 1 for _ in range(count)]).abs()
    policy, losses = from_timm(AutoAugment([[operation]]))
    images = torch.full((count, 3, 1, 1), 100 / 255)
    here = (policy(images, generator=torch.Generator().manual_seed(0))[:, 0, 0, 0] * 2.55 - 1).abs()
    assert here.mean() == pytest.approx(float(there.mean()), abs=0.02)
    assert here.std() == pytest.approx(float(there.std()), abs=0.02)
    assert any("logit-normal here" in loss.what for loss in losses) == lost


@torch.no_grad()
@pytest.mark.parametrize("name", ["Solarize", "SolarizeIncreasing", "SolarizeAdd", "ColorIncreasing"])
@pytest.mark.parametrize("deviation", [0.5, 3.0, math.inf])
def test_a_range_ends_where_the_values_do(name: str, deviation: float) -> None:
    """Levels go on to a top of twenty where a value is cut off at a level of ten or so."""
    hparams = {"magnitude_std": deviation, "magnitude_max": 20, "img_mean": (0, 0, 0)}
    operation = AugmentOp(name, 1.0, 9, hparams)
    random.seed(1)
    drawn = [operation.magnitude + deviation * random.gauss(0, 1) if deviation < math.inf else random.uniform(0, 9)
             for _ in range(4000)]  # fmt: skip
    entry = KNOWN[name]
    given = (float(operation.level_fn(min(max(level, 0), 20), hparams)[0]) for level in drawn)
    there = np.abs([entry.value(argument) for argument in given]).clip(0, 1)  # a strength is narrowed to one
    policy = from_timm(AutoAugment([[operation]])).result
    sample = policy.sample(4000, generator=torch.Generator().manual_seed(0))
    here = sample.magnitude.flatten().numpy()
    assert here.mean() == pytest.approx(there.mean(), abs=0.02)
    assert here.std() == pytest.approx(there.std(), abs=0.02)
