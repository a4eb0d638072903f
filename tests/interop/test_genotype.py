"""The lists of Fast AutoAugment and DADA."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

import augrad
from augrad import Policy, UserError
from augrad.interop import ConversionError, Loss
from augrad.interop.genotype import RANGES, from_genotype, published, read_genotype, to_genotype
from augrad.policy_file import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.convert import document_of, policy_from_document
from pictures import every_kind, in_levels

SIDE = 32
SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
LEVELS = (0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0)


def as_the_papers_code(picture: Image.Image, name: str, level: float, mirror: int) -> Image.Image:
    """What the two papers say that the operation does, by Pillow."""
    low, high = {
        "ShearX": (-0.3, 0.3), "ShearY": (-0.3, 0.3), "TranslateX": (-0.45, 0.45), "TranslateY": (-0.45, 0.45),
        "Rotate": (-30, 30), "Solarize": (0, 256), "Posterize": (4, 8),
        **dict.fromkeys(("Contrast", "Color", "Brightness", "Sharpness"), (0.1, 1.9)),
    }.get(name, (0, 1))  # fmt: skip
    value = low + level * (high - low)
    value = mirror * value if name in SIGNED else value
    affine = {
        "ShearX": (1, value, 0, 0, 1, 0), "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value * SIDE, 0, 1, 0), "TranslateY": (1, 0, 0, 0, 1, value * SIDE),
    }  # fmt: skip
    if name in affine:
        return picture.transform(picture.size, Image.Transform.AFFINE, affine[name])
    match name:
        case "Rotate":
            return picture.rotate(value)
        case "AutoContrast":
            return ImageOps.autocontrast(picture)
        case "Invert":
            return ImageOps.invert(picture)
        case "Equalize":
            return ImageOps.equalize(picture)
        case "Flip":
            return ImageOps.mirror(picture)
        case "Solarize":
            return ImageOps.solarize(picture, value)
        case "Posterize":
            return ImageOps.posterize(picture, int(value))
    return getattr(ImageEnhance, name)(picture).enhance(value)


@pytest.mark.parametrize("name", [name for name in RANGES if name not in ("Cutout", "SamplePairing")])
def test_an_operation_is_what_the_papers_say_over_the_whole_range(name: str) -> None:
    images = in_levels(every_kind(3, SIDE, SIDE))
    for level in LEVELS:
        policy = from_genotype([[[name, 1.0, level]]]).result
        for sign in (1, -1) if name in SIGNED else (1,):
            sample = policy.sample(len(images), torch.Generator().manual_seed(0))
            ours = policy(images, params=sample.map(lambda t: t)) if name not in SIGNED else None
            if ours is None:
                sample.sign.fill_(sign)
                ours = policy(images, params=sample)
            for image, result in zip(images, ours, strict=True):
                found = []
                for mirror in (1, -1) if name in SIGNED else (1,):
                    given = Image.fromarray(image.permute(1, 2, 0).numpy())
                    theirs = np.asarray(as_the_papers_code(given, name, level, mirror), dtype=int)
                    difference = np.abs(theirs - result.permute(1, 2, 0).numpy().astype(int))
                    # Nearest pixels at ties, and levels that Pillow rounds elsewhere.
                    found.append(float((difference > 2).mean()))
                assert min(found) <= 0.04, (name, level, sign, found)


def test_published_lists_come_back_as_they_were() -> None:
    for name in ("dada", "fast_autoaugment"):
        _, lists = published(name)
        for given in lists.values():
            policy = from_genotype(given).result
            back = to_genotype(policy)
            assert len(back.result) == len(given)
            assert document_of(from_genotype(back.result).result).subpolicies == document_of(policy).subpolicies
            for theirs, ours in zip(given, back.result, strict=True):
                for (op, probability, level), (same, as_likely, found) in zip(theirs, ours, strict=True):
                    assert (op, probability) == (same, as_likely)
                    if op in SIGNED:
                        assert abs(found - 0.5) == pytest.approx(abs(level - 0.5), abs=1e-6)
                    elif op == "Posterize":
                        assert int(4 + 4 * found) == int(4 + 4 * level)
                    elif op == "Solarize":  # beyond white there is nothing to invert
                        assert found == pytest.approx(level, abs=0.004)
                    elif RANGES[op].low is not None:
                        assert found == pytest.approx(level, abs=1e-6)


def test_draws_are_distributed_as_the_list_says() -> None:
    """By sub-policy and place: how often, how strong, how often either way."""
    _, lists = published("dada")
    given, count = lists["cifar10"], 200_000
    policy = augrad.load_policy("dada_cifar10")
    sample = policy.sample(count, torch.Generator().manual_seed(0))
    for index, steps in enumerate(given):
        chosen = sample.subpolicy == index
        number = int(chosen.sum())
        assert number / count == pytest.approx(1 / len(given), abs=5 * (0.04 / count) ** 0.5)
        for place, (name, probability, level) in enumerate(steps):
            known = RANGES[name]
            assert {policy.ops[op].name for op in sample.op[chosen, place].unique()} == {known.op}
            applied = sample.gate[chosen, place].double().mean()
            assert applied == pytest.approx(probability, abs=5 * 0.5 / number**0.5)
            if known.low is None:
                continue
            low, high = {"ShearX": (-0.3, 0.3), "Rotate": (-30, 30), "Color": (-0.9, 0.9)}.get(name, (None, None))
            if low is not None:
                value = low + level * (high - low)
                drawn = (sample.magnitude * sample.sign).detach()[chosen, place]
                assert drawn.abs().unique() == pytest.approx(abs(value), abs=1e-6)
                positive = (drawn > 0).double().mean()
                either = 0.5 if name in SIGNED and abs(value) > 1e-6 else float(value > 1e-6)
                assert positive == pytest.approx(either, abs=5 * 0.5 / number**0.5)


def test_what_a_list_cannot_say_is_reported_and_refused_if_strict() -> None:
    policy = Policy.over({"gaussian_blur": None, "rotate": {"high": 60.0}, "color": None}, probability=1.0)
    found = to_genotype(policy)
    said = {loss.what for loss in found.losses}
    assert "gaussian_blur: not known there, and left out" in said
    assert any("drawn from" in what and "always 30 degree there" in what for what in said)
    assert Loss("interpolation", "bilinear becomes nearest") in found.losses
    with pytest.raises(ConversionError, match=r"to_genotype: expected that nothing is lost, got .* more; leave") as e:
        to_genotype(policy, strict=True)
    assert e.value.losses == found.losses
    strong = Policy.over({"rotate": {"low": 0.0, "high": 60.0}}, probability=1.0, magnitude="point", level=0.9)
    said = set(map(str, to_genotype(strong).losses))
    assert "subpolicies[0].stages[0][0].magnitude: 54 degree is narrowed to 30" in said


def test_a_sign_that_lists_do_not_draw_becomes_two_sub_policies() -> None:
    policy = Policy.over({"color": {"low": 0.0, "high": 0.9}}, probability=1.0, magnitude="point", level=0.5)
    listed, losses = to_genotype(policy)
    assert losses == ()
    assert listed == [[["Color", 1.0, 0.75]], [["Color", 1.0, 0.25]]]


def test_weights_become_numbers_of_sub_policies() -> None:
    policy = from_genotype([[["Invert", 1.0, 0.0]]] * 3 + [[["Equalize", 1.0, 0.0]]]).result
    listed, losses = to_genotype(policy)
    assert losses == ()
    assert [steps[0][0] for steps in listed] == ["Invert"] * 3 + ["Equalize"]
    short = to_genotype(policy, entries=2)
    assert [steps[0][0] for steps in short.result] == ["Invert", "Equalize"] or len(short.result) == 2
    assert {"Invert: chance 0.75 becomes 0.5", "Invert: chance 0.75 becomes 1"} & {loss.what for loss in short.losses}
    with pytest.raises(UserError, match="expected entries as a whole number from 1 to 100000, got 0"):
        to_genotype(policy, entries=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "expected a list of sub-policies"),
        ("Rotate", "expected a list of sub-policies"),
        ([[]], r"genotype\[0\]: expected a list of"),
        ([[["Turn", 0.5, 0.5]]], r"genotype\[0\]\[0\]: expected \[operation, probability, level\] with one of"),
        ([[["Rotate", 0.5]]], r"genotype\[0\]\[0\]: expected \[operation, probability, level\]"),
        ([[["Rotate", 1.5, 0.5]]], "expected a probability from 0 to 1, got 1.5"),
        ([[["Rotate", 0.5, float("nan")]]], "expected a level from 0 to 1, got nan"),
        ([[["Rotate", True, 0.5]]], "expected a probability from 0 to 1, got True"),
    ],
)
def test_lists_of_another_form_are_refused(given: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_genotype(given)  # type: ignore[arg-type]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(UserError, match="expected a JSON list of sub-policies, got none"):
            read_genotype(path)
    path.write_text(json.dumps([[["Rotate", 0.5, 0.25]]]))
    assert read_genotype(path) == [[["Rotate", 0.5, 0.25]]]


def test_a_chance_that_is_almost_nothing_is_said_where_it_vanishes() -> None:
    stages = lambda op: ((Entry(op=op),),)  # noqa: E731
    weights = {"invert": 1 - 5e-7, "equalize": 5e-7}
    document = PolicyDocument(
        interpolation="nearest",
        fill=0.0,
        subpolicies=tuple(SubPolicy(weight=weight, stages=stages(op)) for op, weight in weights.items()),
    )
    losses = to_genotype(policy_from_document(document)).losses
    assert any(loss.what.startswith("Equalize: chance 5e-07 becomes 0") for loss in losses)


def test_what_never_happens_is_no_loss() -> None:
    document = PolicyDocument(
        interpolation="nearest",
        fill=0.0,
        subpolicies=(
            SubPolicy(weight=0.0, stages=((Entry(op="grayscale"),),)),
            SubPolicy(weight=1.0, stages=((Entry(op="invert"),),)),
        ),
    )
    assert to_genotype(policy_from_document(document), strict=True).result == [[["Invert", 1.0, 0.0]]]


def test_lists_that_no_policy_describes_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="at most 10000 sub-policies, got 20000"):
        from_genotype([[["Invert", 1.0, 0.0]]] * 20_000)
    with pytest.raises(UserError, match="at most 16 operations, got 20"):
        from_genotype([[["Invert", 1.0, 0.0]] * 20])
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.json").write_text('[[["Invert", 1, 0]]]')
    assert read_genotype("~/list.json") == [[["Invert", 1, 0]]]
