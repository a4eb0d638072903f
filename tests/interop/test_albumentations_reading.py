"""Documents of Albumentations and AutoAlbument as policies."""

import json
import math
import re
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

import augrad
from augrad import Policy, UserError
from augrad.interop import ConversionError
from augrad.interop.albumentations import KNOWN, from_albumentations, serialized, to_albumentations
from augrad.interop.genotype import read_genotype
from augrad.policy_file.convert import document_of
from fixed_policies import as_array, fixed, strengths
from pictures import every_kind, in_levels

SQUARE = {"min_height": 8, "max_height": 8, "min_width": 8, "max_width": 8}
OLD = "albumentations.augmentations.transforms."
"""Where Albumentations 0.5 had its transforms."""


def old(name: str, p: float = 0.5, **options: Any) -> dict[str, Any]:
    """A transform as AutoAlbument writes it."""
    return {"__class_fullname__": f"{OLD}{name}", "always_apply": False, "p": p, **options}


def moved(p: float = 0.5, **options: Any) -> dict[str, Any]:
    parts = {name: [0.0, 0.0] for name in ("shift_limit_x", "shift_limit_y", "scale_limit", "rotate_limit")}
    return old("ShiftScaleRotate", p, **{**parts, **options}, interpolation=1, border_mode=4, value=None)


def autoalbument(*stages: list[dict[str, Any]]) -> dict[str, Any]:
    """A document of one sub-policy, with what AutoAlbument puts after it."""

    def among(name: str, transforms: list[dict[str, Any]], p: float = 1.0) -> dict[str, Any]:
        return {"__class_fullname__": f"albumentations.core.composition.{name}", "p": p, "transforms": transforms}

    sequence = among("Sequential", [among("OneOf", stage) for stage in stages], 0.1)
    choice = among("OneOf", [sequence])
    return {"__version__": "0.5.2", "transform": among("Compose", [choice, old("Normalize", 1.0)])}


def only(document: dict[str, Any], side: int | None = None) -> tuple[Any, list[str]]:
    """The only entry of the policy, and what was lost besides the normalisation."""
    policy, losses = from_albumentations(document, side)
    (entry,) = document_of(policy).subpolicies[0].stages[0]
    return entry, [loss.what for loss in losses if not loss.what.startswith("Normalize")]


@pytest.mark.parametrize(
    ("transform", "op", "value"),
    [
        (moved(rotate_limit=[-49.5, -49.5]), "rotate", -49.5),
        (moved(shift_limit_x=[0.25, 0.25]), "translate_x", 0.25),
        (moved(shift_limit_y=[-0.5, -0.5]), "translate_y", -0.5),
        (moved(scale_limit=[2.0, 2.0]), "zoom", math.log(2)),
        (old("RandomBrightnessContrast", brightness_limit=[0, 0], contrast_limit=[1.8, 1.8]), "brightness", 0.8),
        (old("Solarize", threshold=[102, 102]), "solarize", 0.4),
        (old("CoarseDropout", min_holes=1, max_holes=1, **SQUARE), "cutout", 0.25),
    ],
)  # fmt: skip
def test_what_autoalbument_searched_is_read(transform: dict[str, Any], op: str, value: float) -> None:
    entry, lost = only(autoalbument([transform]), side=32)
    assert entry.op == op
    assert entry.magnitude.value == pytest.approx(value, abs=1e-5)
    assert (entry.signed, entry.probability, entry.weight) == (False, 1.0, 1.0)
    expected = {"cutout": "lies wholly inside", "solarize": "", "brightness": ""}.get(op, "goes on beyond its border")
    assert [expected in what for what in lost] == ([True] if expected else [])


def test_its_chances_are_those_of_what_is_applied() -> None:
    document = autoalbument(
        [old("HorizontalFlip", 0.2), old("VerticalFlip", 0.3), old("RGBShift", 0.1), old("NoOp", 0.4)],
        [old("NoOp", 1.0)],
    )
    policy, losses = from_albumentations(document)
    stage, nothing = document_of(policy).subpolicies[0].stages
    assert {e.op: (pytest.approx(e.weight), e.probability) for e in stage} == {
        "horizontal_flip": (0.2, 1.0),
        "vertical_flip": (0.3, 1.0),
        "identity": (0.5, 1.0),
    }
    assert [entry.op for entry in nothing] == ["identity"]
    said = list(map(str, losses))
    assert "subpolicies[0].stages[0][2]: RGBShift: not known here, and left out" in said
    assert "document: Normalize: left out" in said
    with pytest.raises(ConversionError, match="from_albumentations: expected that nothing is lost"):
        from_albumentations(document, strict=True)


@pytest.mark.parametrize(
    "transform",
    [
        moved(rotate_limit=[5, 5], shift_limit_x=[0.1, 0.1]),
        old("RandomBrightnessContrast", brightness_limit=[0.2, 0.2], contrast_limit=[0, 0]),
        old("CoarseDropout", min_holes=16, max_holes=16, **SQUARE),
        old("ColorJitter", brightness=[1.5, 1.5], contrast=[1.5, 1.5], saturation=[1, 1], hue=[0, 0]),
        old("Solarize"),
        old("Solarize", threshold="many"),
        old("RandomGamma", gamma_limit=[-5, -5]),
        moved(rotate_limit=[math.nan, math.nan]),
    ],
)
def test_what_is_not_known_is_left_out_and_said(transform: dict[str, Any]) -> None:
    entry, lost = only(autoalbument([transform]))
    assert entry.op == "identity"
    assert [": not known here, and left out" in what for what in lost] == [True]


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", list(KNOWN))
def test_what_goes_there_comes_back(name: str, interpolation: str) -> None:
    for value in strengths(name):
        policy = fixed(name, value, interpolation)
        there = to_albumentations(policy)
        (entry,) = document_of(policy).subpolicies[0].stages[0]
        (found,) = document_of(from_albumentations(there.result).result).subpolicies[0].stages[0]
        if value == augrad.ops.get(name).low or value < KNOWN[name].least:
            assert found.op == "identity"
            continue
        assert (found.op, found.probability, found.signed) == (entry.op, entry.probability, False)
        if entry.magnitude is not None:
            assert found.magnitude.value == pytest.approx(entry.magnitude.value, abs=2e-6)  # type: ignore[union-attr]


def test_a_policy_that_lost_nothing_is_equal_when_it_comes_back(tmp_path: Path) -> None:
    policy = Policy.over(
        {"rotate": {"low": 12.0, "high": 12.0}, "invert": None, "brightness": {"low": 0.5, "high": 0.5}},
        stages=2,
        probability=0.6,
        magnitude="point",
        interpolation="nearest",
        fill=0.2,
    )
    there, losses = to_albumentations(policy, strict=True)
    assert losses == ()
    for form in ("json", "yaml"):
        path = tmp_path / f"policy.{form}"
        path.write_text(serialized(there, form))  # type: ignore[arg-type]
        back = from_albumentations(path, strict=True).result
        ours, theirs = document_of(policy), document_of(back)
        assert (theirs.interpolation, theirs.fill) == ("nearest", pytest.approx(0.2, abs=1e-5))
        for stage, same in zip(ours.subpolicies[0].stages, theirs.subpolicies[0].stages, strict=True):
            keyed = {entry.op: entry for entry in same}
            for entry in stage:
                found = keyed[entry.op]
                assert (found.magnitude, found.signed, found.probability) == (
                    entry.magnitude, entry.signed, entry.probability,
                )  # fmt: skip
                assert found.weight == pytest.approx(entry.weight)


def test_pixels_of_a_document_are_those_of_its_pipeline() -> None:
    """By one that users write: a range of angles, which is uniform."""
    import albumentations as A

    angle = A.Affine(rotate=(20, 20), fill=30, interpolation=0, p=1.0)
    pipeline = A.Compose([A.OneOf([A.Sequential([A.OneOf([angle], p=1.0)], p=1.0)], p=1.0)])
    policy = from_albumentations(pipeline).result
    for image in in_levels(every_kind(3, 32, 32)):
        theirs, ours = pipeline(image=as_array(image))["image"].astype(int), as_array(policy(image[None])[0])
        assert (np.abs(theirs - ours.astype(int)) > 1).mean() < 0.01
    smooth = A.Compose([A.OneOf([A.Sequential([A.OneOf([A.Affine(rotate=(5, 5), fill=30, p=1.0)])], p=1.0)])])
    assert [loss.place for loss in from_albumentations(smooth).losses] == ["interpolation"]
    ranged = A.Compose([A.OneOf([A.Sequential([A.OneOf([A.Affine(rotate=(-5, 25), p=1.0)], p=1.0)], p=1.0)], p=1.0)])
    drawn = from_albumentations(ranged).result.sample(4000, torch.Generator().manual_seed(0)).magnitude.detach()
    assert (float(drawn.min()), float(drawn.max())) == (pytest.approx(-5, abs=0.1), pytest.approx(25, abs=0.1))
    assert float(drawn.mean()) == pytest.approx(10, abs=0.6)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({}, "from_albumentations: expected a document of Albumentations, an object with a transform, got an object"),
        ({"format": "augrad.policy"}, "got an object without it; it is a policy file of augrad: read it with"),
        ({"transform": {"p": 1}}, "expected transforms with their class"),
        ({"transform": old("Rotate")}, "got Rotate where Compose is expected"),
        ({"transform": {"__class_fullname__": "Compose", "transforms": [old("Rotate")]}}, "got 0 choices"),
        (3, "an object with a transform, got 3"),
        (autoalbument([old("NoOp", 0.0)]), "expected a choice with a chance above 0, got none"),
        (autoalbument([old("NoOp", 1.5)]), r"expected p from 0 to 1, got 1\.5"),
        (autoalbument([]), "got OneOf without transforms"),
    ],
)
def test_other_documents_are_refused(source: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_albumentations(source)


def test_a_small_file_that_stands_for_very_many_transforms_is_refused(tmp_path: Path) -> None:
    leaf = "{__class_fullname__: NoOp, p: 1.0}"
    of = "{{__class_fullname__: {}, p: 1.0, transforms: [{}]}}".format
    many = ", ".join
    leaves = many(["&leaf " + leaf] + ["*leaf"] * 300)
    stages = many(["&stage " + of("OneOf", leaves)] + ["*stage"] * 14)
    sequences = many(["&sequence " + of("Sequential", stages)] + ["*sequence"] * 3000)
    text = "transform: " + of("Compose", of("OneOf", sequences))
    (tmp_path / "many.yaml").write_text(text)
    assert len(text) < 100_000
    with pytest.raises(UserError, match="expected at most 100000 transforms, got more"):
        from_albumentations(tmp_path / "many.yaml")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("b.json", "[" * 100_000), ("c.yaml", "a: [b"), ("d.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="expected a document"):
            from_albumentations(tmp_path / name)
    with pytest.raises(UserError, match="expected a document of Albumentations, got none"):
        from_albumentations(tmp_path / "nowhere.json")
    (tmp_path / "e.json").write_text(json.dumps(autoalbument([old("CoarseDropout", min_holes=1, max_holes=1)])))
    policy, losses = from_albumentations(str(tmp_path / "e.json"), side=8)
    assert policy.ops[0].name == "identity"
    assert len(losses) == 2


def among(*leaves: Any, stage: float = 1.0, choice: float = 1.0, whole: float = 1.0) -> Any:
    """A pipeline of today's Albumentations: one sub-policy of one stage, with these p of its three choosers."""
    import albumentations as A

    return A.Compose([A.OneOf([A.Sequential([A.OneOf(list(leaves), p=stage)], p=1.0)], p=choice)], p=whole)


@pytest.mark.parametrize("chances", [{"stage": 0.5}, {"choice": 0.5}, {"whole": 0.5}, {"stage": 0.8, "choice": 0.625}])
def test_a_chooser_that_is_not_always_applied_leaves_images_alone_as_often(chances: dict[str, float]) -> None:
    import albumentations as A

    policy = from_albumentations(among(A.InvertImg(p=1.0), **chances), strict=True).result
    sample = policy.sample(8000, torch.Generator().manual_seed(0))
    acts = (sample.op == [op.name for op in policy.ops].index("invert"))[:, 0] & sample.gate[:, 0]
    assert acts.double().mean() == pytest.approx(0.5, abs=0.03)


def test_todays_objects_mean_what_they_do() -> None:
    import albumentations as A

    brighter = A.RandomBrightnessContrast(brightness_limit=(0, 0), contrast_limit=(0.2, 0.2), p=1.0)
    with pytest.warns(UserWarning, match="special case of Affine"):
        larger = A.ShiftScaleRotate(shift_limit=0, scale_limit=(0.5, 0.5), rotate_limit=0, border_mode=0, p=1.0)
    grey = np.full((8, 8, 3), 100, np.uint8)
    policy = from_albumentations(among(brighter)).result
    assert abs(int(policy(torch.full((1, 3, 8, 8), 100, dtype=torch.uint8))[0, 0, 0, 0]) - 120) <= 1
    assert abs(int(among(brighter)(image=grey)["image"][0, 0, 0]) - 120) <= 1
    (entry,) = document_of(from_albumentations(among(larger)).result).subpolicies[0].stages[0]
    assert entry.magnitude.value == pytest.approx(math.log(1.5))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Affine", {"translate_px": (5, 5)}, "a translation in pixels"),
        ("Affine", {"translate_px": {"x": (5, 5), "y": (0, 0)}}, "a translation in pixels"),
        ("Affine", {"rotate": (9, 9), "interpolation": 2}, "interpolation 2"),
        ("Affine", {"rotate": (9, 9), "fit_output": True}, "fit_output=True there is False here"),
        ("Affine", {"scale": (0.5, 2.0)}, "drawn evenly in another unit there"),
        ("CoarseDropout", {"num_holes_range": (1, 1), "fill": "random"}, "fill 'random'"),
        ("ToGray", {"method": "max"}, "method='max' there is weighted_average here"),
        ("AutoContrast", {"method": "cdf", "cutoff": 20}, "method='cdf' there is pil here"),
        ("Equalize", {"mode": "cv", "by_channels": False}, "mode='cv' there is pil here"),
        ("GaussianBlur", {"blur_limit": (3, 3), "sigma_limit": (3, 3)}, r"blur_limit=\[3, 3\] there"),
        ("GaussNoise", {"std_range": (0.1, 0.1), "mean_range": (0.5, 0.5)}, "mean_range="),
        ("Posterize", {"num_bits": (3, 7)}, "whole bits, all as likely"),
        ("RandomGamma", {"gamma_limit": (50, 200)}, "drawn evenly in another unit there"),
    ],
)
def test_options_that_change_the_result_are_said(name: str, options: dict[str, Any], said: str) -> None:
    import albumentations as A

    pipeline = among(getattr(A, name)(**options, p=1.0))
    with pytest.raises(ConversionError):
        from_albumentations(pipeline, strict=True)
    assert any(re.search(said, loss.what) for loss in from_albumentations(pipeline).losses)


def test_squares_in_pixels_need_the_side() -> None:
    import albumentations as A

    holes = {"num_holes_range": (1, 1), "hole_height_range": (8, 8), "hole_width_range": (8, 8)}
    pipeline = among(A.CoarseDropout(**holes, fill=51, p=1.0))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected side, of the images in pixels, because squares are in pixels"):
        from_albumentations(pipeline)
    policy = from_albumentations(pipeline, side=32).result
    (entry,) = document_of(policy).subpolicies[0].stages[0]
    assert (entry.op, entry.magnitude.value, policy.fill) == ("cutout", 0.25, pytest.approx(0.2))  # type: ignore[union-attr]
    for side in (0, True, -3):
        with pytest.raises(UserError, match=r"expected side, of the images|side: expected a whole number"):
            from_albumentations(pipeline, side=side)


def test_a_policy_that_only_erases_keeps_its_fill() -> None:
    back = from_albumentations(to_albumentations(fixed("cutout", 0.2, fill=0.5)).result).result
    assert back.fill == pytest.approx(0.5)


@pytest.mark.parametrize("level", [3, 9, 50, 128, 204])
def test_a_level_that_is_the_threshold_is_inverted_there_too(level: int) -> None:
    image = np.full((2, 2, 3), level, np.uint8)
    pipeline = to_albumentations(fixed("solarize", level / 255)).result
    assert (pipeline(image=image)["image"] == 255 - level).all()
    assert pipeline(image=image - 1)["image"].max() == level - 1


@pytest.mark.parametrize(
    ("name", "value"), [("hue", 0.8), ("sharpness", 14.0), ("gaussian_noise", 2.0), ("gamma", -6.0)]
)
def test_magnitudes_that_albumentations_refuses_are_left_out_and_said(name: str, value: float) -> None:
    pipeline, losses = to_albumentations(fixed(name, value))
    assert any(": refused there, and left out" in loss.what for loss in losses)
    image = np.full((8, 8, 3), 100, np.uint8)
    assert np.array_equal(pipeline(image=image)["image"], image)
    assert any("farther than 6 pixels" in loss.what for loss in to_albumentations(fixed("gaussian_blur", 3.0)).losses)


def alone(transform: Any) -> Any:
    """A pipeline of this transform."""

    def sequence(inner: Any) -> Any:
        return A.Sequential([inner], p=1.0)

    return A.Compose([A.OneOf([sequence(A.OneOf([sequence(transform)], p=1.0))], p=1.0)])


LOST: dict[str, tuple[Any, str]] = {
    "a range that fits the image": (
        A.RandomBrightnessContrast(0, (0.5, 0.5), ensure_safe_range=True, p=1.0),
        "ensure_safe_range=True there",
    ),
    "whole pixels": (A.Affine(translate_percent={"x": (0.26, 0.26), "y": (0, 0)}, p=1.0), "cut to whole pixels"),
    "a wide blur": (A.GaussianBlur(sigma_limit=(5, 5), blur_limit=0, p=1.0), "reaches farther than 6 pixels"),
    "both directions": (A.Affine(scale=(0.5, 2), p=1.0), "another scale in each direction"),
    "both sides": (
        A.CoarseDropout((1, 1), hole_height_range=(0.1, 0.6), hole_width_range=(0.1, 0.6), p=1.0),
        "height and width are drawn apart",
    ),
    "hue": (A.ColorJitter((1, 1), (1, 1), (1, 1), (0.1, 0.1), p=1.0), "steps of 2 degrees"),
    "equalize": (A.Equalize(p=1.0), "some levels of 255"),
}


@pytest.mark.parametrize("case", LOST)
def test_what_is_done_otherwise_is_named_in_this_direction_too(case: str) -> None:
    transform, words = LOST[case]
    losses = from_albumentations(alone(transform)).losses
    assert any(words in loss.what for loss in losses), losses
    with pytest.raises(ConversionError):
        from_albumentations(alone(transform), strict=True)


def test_one_scale_in_both_directions_is_zoom() -> None:
    together = from_albumentations(alone(A.Affine(scale=(0.5, 2), keep_ratio=True, p=1.0))).losses
    assert [loss.what for loss in together] == ["zoom: the range is drawn evenly in another unit there"]
    assert from_albumentations(alone(A.Affine(scale=(1.5, 1.5), p=1.0)), strict=True).losses == ()


@torch.no_grad()
def test_sides_of_one_and_more_are_pixels_there() -> None:
    sides = {"hole_height_range": (8.0, 8.0), "hole_width_range": (8.0, 8.0)}
    transform = alone(A.CoarseDropout((1, 1), **sides, fill=0, p=1.0))
    with pytest.raises(UserError, match="squares are in pixels"):
        from_albumentations(transform)
    entry = document_of(from_albumentations(transform, side=40).result).subpolicies[0].stages[0][0]
    assert entry.magnitude.value == 0.2  # type: ignore[union-attr]
    large = Policy.over({"cutout": {"low": 0.0, "high": 1.5}}, probability=1.0, magnitude="point", level=0.7)
    pipeline, losses = to_albumentations(large)
    white = np.full((40, 40, 3), 255, "uint8")
    assert (pipeline(image=white)["image"] == 0).mean() > 0.9
    assert any("1.05 fraction ends below the whole side" in loss.what for loss in losses)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Affine", {"cval": 255}, "cval=255 there is not known here"),
        ("Affine", {"mode": 4}, "mode=4 there is not known here"),
        ("Affine", {"balanced_scale": True}, "balanced_scale=True there is False here"),
        ("ToGray", {"num_output_channels": 1}, "num_output_channels=1 there is 3 here"),
        ("HorizontalFlip", {7: None}, "7=None there is not known here"),
        ("HorizontalFlip", {"of": [1, [2, [3, [4]]]]}, "of=[1, [2, [...]]] there is not known here"),
    ],
)
def test_no_option_is_dropped_without_a_word(name: str, options: dict[str, Any], said: str) -> None:
    """What another version calls otherwise may decide anything."""
    affine = A.to_dict(A.Affine(rotate=(20, 20), interpolation=0))["transform"] if name == "Affine" else {}
    leaf = {**affine, "__class_fullname__": name, "p": 1.0, **options}
    _, lost = only(autoalbument([leaf]) | {"__version__": "1.3.1"})
    assert any(said in what for what in lost)


@pytest.mark.parametrize("what", ["node", "p", "option", "interpolation"])
def test_a_few_lines_that_stand_for_gigabytes_are_told_shortly(what: str, tmp_path: Path) -> None:
    lines = ["x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 30)]
    leaf = {
        "node": "*x29",
        "p": "{__class_fullname__: InvertImg, p: *x29}",
        "option": "{__class_fullname__: ToGray, method: *x29, p: 1}",
        "interpolation": "{__class_fullname__: ShiftScaleRotate, shift_limit_x: 0, shift_limit_y: 0, scale_limit: 0, "
        "rotate_limit: 3, interpolation: *x29, p: 1}",
    }[what]
    of = "{{__class_fullname__: {}, p: 1.0, transforms: [{}]}}".format
    lines.append("transform: " + of("Compose", of("OneOf", of("Sequential", of("OneOf", leaf)))))
    (tmp_path / "few.yaml").write_text("\n".join(lines))
    try:
        told = [loss.what for loss in from_albumentations(tmp_path / "few.yaml").losses]
    except UserError as error:
        told = [str(error)]
    assert told
    assert max(map(len, told)) < 400


@pytest.mark.parametrize("chance", ["x" * 10**6, 10**4999, [[1] * 10**6]], ids=["text", "number", "list"])
def test_what_is_wrong_is_told_shortly(chance: object) -> None:
    with pytest.raises(UserError, match="expected p from 0 to 1") as caught:
        from_albumentations(autoalbument([old("NoOp", chance)]))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300
    _, lost = only(autoalbument([old("x" * 10**6)]))
    assert all(len(what) < 300 for what in lost)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no device without an end")
def test_a_file_without_an_end_is_refused() -> None:
    for read in (from_albumentations, read_genotype):
        with pytest.raises(UserError, match="expected a document of at most 64 MiB, got more"):
            read("/dev/zero")


@pytest.mark.parametrize(
    ("key", "given", "same"),
    [
        ("translate_px", [-4, 4], {"x": [-4, 4], "y": [-4, 4]}),
        ("translate_percent", [0.1, 0.1], {"x": [0.1, 0.1], "y": [0.1, 0.1]}),
        ("translate_percent", {"x": 0.1}, {"x": [0.1, 0.1], "y": [0.0, 0.0]}),
        ("scale", 1.5, {"x": [1.5, 1.5], "y": [1.5, 1.5]}),
        ("shear", [0, 0], {"x": [0, 0], "y": [0, 0]}),
    ],
)
def test_what_an_affine_takes_for_both_axes_at_once(key: str, given: Any, same: Any) -> None:
    """As `albumentations.from_dict` takes it; its own documents have both axes."""
    import albumentations as A

    def read(value: Any) -> Any:
        document = A.to_dict(among(A.Affine(p=1.0)))
        (affine,) = affines_in(document)
        affine[key] = value
        found = from_albumentations(document)
        return [loss.what for loss in found.losses], document_of(found.result).subpolicies

    assert read(given) == read(same)


def affines_in(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [found for one in document for found in affines_in(one)]
    if not isinstance(document, dict):
        return []
    own = [document] if str(document.get("__class_fullname__", "")).endswith("Affine") else []
    return own + [found for one in document.values() for found in affines_in(one)]
