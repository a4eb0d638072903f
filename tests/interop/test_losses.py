"""Loss reports: what is lost is said, in units, and nothing else; a report is short enough to be read."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from augrad import Policy, load_policy
from augrad.interop import Converted, Loss
from augrad.interop.albumentations import to_albumentations
from augrad.interop.genotype import from_genotype, to_genotype
from augrad.interop.kornia import to_kornia
from augrad.interop.losses import differences, in_words
from augrad.interop.timm import from_timm, to_timm
from augrad.policy_file import Entry, LogitNormal, PolicyDocument, SubPolicy, Uniform, UniformUpTo, Value
from augrad.policy_file.convert import document_of, policy_from_document
from augrad.policy_file.values import drawn_range, signed_values
from fixed_policies import fixed
from problems import shapes_unchecked

TO: dict[str, Callable[..., Converted[Any]]] = {
    "genotype": to_genotype,
    "timm": to_timm,
    "kornia": to_kornia,
    "albumentations": to_albumentations,
}
MAGNITUDE = "subpolicies[0].stages[0][0].magnitude: "


def drawn(op: str, unit: str, low: float, high: float) -> Policy:
    """The operation, its magnitude uniform over a range and of one sign."""
    entry = Entry(op=op, unit=unit, magnitude=Uniform(low=low, high=high))  # type: ignore[arg-type]
    stages = ((entry,),)
    return policy_from_document(
        PolicyDocument(interpolation="nearest", fill=0.0, subpolicies=(SubPolicy(weight=1.0, stages=stages),))
    )


def said(found: Converted[Any]) -> list[str]:
    return list(map(str, found.losses))


@pytest.mark.parametrize("name", ["genotype", "kornia", "albumentations"])
def test_a_flip_neither_interpolates_nor_uncovers(name: str) -> None:
    assert TO[name](fixed("horizontal_flip", 0.0, fill=0.5), strict=True).losses == ()


@pytest.mark.parametrize("op", ["horizontal_flip", "zoom"])
def test_what_timm_leaves_out_has_no_border(op: str) -> None:
    found = to_timm(fixed(op, 0.2, fill=0.5))
    assert said(found) == [f"subpolicies[0].stages[0][0]: {op}: not known there, and left out"]


def test_what_is_never_applied_loses_nothing() -> None:
    policy = Policy.over({"rotate": {"low": 40.0, "high": 40.0}}, probability=1.0, magnitude="point", fill=0.5)
    (entry,) = document_of(policy).subpolicies[0].stages[0]
    never = entry.model_copy(update={"probability": 0.0})
    unchosen = entry.model_copy(update={"weight": 0.0})
    for stage in ((never,), (Entry(op="invert"), unchosen)):
        document = PolicyDocument(
            interpolation="bilinear", fill=0.5, subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),)
        )
        for name, convert in TO.items():
            assert said(convert(policy_from_document(document))) == [], name
    assert "fill: 0.5 becomes 0" in said(to_genotype(policy))


@pytest.mark.parametrize("name", ["timm", "genotype", "albumentations"])
@pytest.mark.parametrize(("bits", "whole"), [(5.6, 6), (5.4, 5), (4.5, 4), (5.5, 6)])
def test_bits_are_rounded_as_the_operation_rounds_them(name: str, bits: float, whole: int) -> None:
    found = TO[name](fixed("posterize", bits), strict=True)
    assert found.losses == ()
    if name == "genotype":
        assert found.result == [[["Posterize", 1.0, (whole - 4) / 4]]]
        (entry,) = document_of(from_genotype(found.result).result).subpolicies[0].stages[0]
        assert entry.magnitude == Value(value=float(whole))


def test_kornia_rounds_bits_alike() -> None:
    assert [loss.what.partition(":")[0] for loss in to_kornia(fixed("posterize", 5.6)).losses] == ["posterize"]


def test_a_uniform_range_is_what_the_file_says() -> None:
    assert drawn_range(Uniform(low=0.0, high=30.0)) == (0.0, 30.0)
    assert drawn_range(Uniform(low=1.0, high=0.0)) == (1.0, 0.0)
    assert drawn_range(Uniform(low=2.0, high=2.0)) is None
    assert drawn_range(Value(value=2.0)) is None
    low, high = drawn_range(LogitNormal(low=0.0, high=1.0, location=0.0, scale=1.0)) or (0.0, 0.0)
    assert 0.05 < low < 0.12
    assert low + high == pytest.approx(1.0)
    start, end = drawn_range(UniformUpTo(low=0.0, high=1.0, location=0.0, scale=0.0)) or (1.0, 0.0)
    assert (start, end) == (0.0, pytest.approx(0.5, abs=0.01))
    for name in ("kornia", "albumentations"):
        words = f"{MAGNITUDE}drawn from 0 to 30 degree; one of 9 values there"
        assert words in said(TO[name](drawn("rotate", "degree", 0.0, 30.0)))


@pytest.mark.parametrize("name", ["genotype", "timm"])
def test_a_mean_of_nothing_is_zero(name: str) -> None:
    words = f"{MAGNITUDE}drawn from -0.9 to 0.9 strength; always 0 strength there"
    assert said(TO[name](drawn("color", "strength", -0.9, 0.9))) == [words]
    drawn_evenly = LogitNormal(low=-0.9, high=0.9, location=0.0, scale=1.0)
    entry = Entry(op="color", unit="strength", magnitude=drawn_evenly)
    assert signed_values(entry, 1) == [(0.0, 1.0)]
    assert [value for value, _ in signed_values(entry, 3)][1] == 0.0


@pytest.mark.parametrize("name", ["genotype", "timm"])
def test_what_is_too_strong_is_said_in_its_unit(name: str) -> None:
    assert f"{MAGNITUDE}1.5 fraction is narrowed to 0.45" in said(TO[name](fixed("translate_x", 1.5)))
    assert f"{MAGNITUDE}-1.5 fraction is narrowed to -0.45" in said(TO[name](fixed("translate_x", -1.5)))
    assert f"{MAGNITUDE}-0.95 strength is narrowed to -0.9" in said(TO[name](fixed("color", -0.95)))


def test_what_is_too_weak_becomes_stronger_or_nothing() -> None:
    assert f"{MAGNITUDE}0.05 pixel becomes 0.1" in said(to_timm(fixed("gaussian_blur", 0.05)))
    assert f"{MAGNITUDE}2 bits becomes 4" in said(to_genotype(fixed("posterize", 2.0)))
    found = to_timm(fixed("gaussian_blur", 0.0), strict=True)
    assert [op.prob for op in found.result.policy[0]] == [0.0]


def test_a_choice_of_nothing_is_not_called_an_operation() -> None:
    policy = Policy.over(["identity", "invert", "auto_contrast"], stages=2, probability=1.0)
    found = to_genotype(policy, entries=2)
    names = [loss.amounts[0] for loss in found.losses]
    assert "identity then identity" in names
    assert "AutoContrast then AutoContrast" in names
    assert len(names) == len(set(names))


def test_losses_of_a_kind_are_one_sentence_with_their_range_and_their_number() -> None:
    losses = [
        Loss("a", "{:.3g} degree is narrowed to {:g}", (40.0, 30)),
        Loss("b", "{}: not known there", ("hue",)),
        Loss("c", "{:.3g} degree is narrowed to {:g}", (-54.123, 30)),
        Loss("c", "{:.3g} degree is narrowed to {:g}", (50.0, 30)),
        Loss("d", "{}: not known there", ("zoom",)),
        Loss("e", "{}: not known there", ("hue",)),
        Loss("f", "as {it} is"),
    ]
    assert in_words(losses) == [
        "a and 1 more place: -54.1..50 degree is narrowed to 30",
        "b and 2 more places: hue, zoom: not known there",
        "f: as {it} is",
    ]
    assert differences(losses) == ["-54.1..50 degree is narrowed to 30", "as {it} is", "hue, zoom: not known there"]
    assert str(losses[2]) == "c: -54.1 degree is narrowed to 30"
    many = [Loss("a", "{}: gone", (f"operation_{number}",)) for number in range(40)]
    (sentence,) = in_words(many)
    assert sentence.startswith("a: operation_0, operation_1, ")
    assert sentence.endswith(" more: gone")
    assert len(sentence) < 130


@pytest.mark.parametrize("name", list(TO))
def test_a_report_of_a_large_policy_can_be_read(name: str) -> None:
    """Every operation of a space in two stages of three sub-policies, drawn in another way in each."""
    (stage,) = document_of(load_policy("trivialaugment_wide")).subpolicies[0].stages
    subpolicies = []
    for number, weight in enumerate((0.2, 0.3, 0.5)):
        drawn_otherwise = tuple(
            entry.model_copy(
                update={"magnitude": LogitNormal(**dict(entry.magnitude), location=-1.0 * number, scale=1.0)}
            )
            if entry.magnitude
            else entry
            for entry in stage
        )
        subpolicies.append(SubPolicy(weight=weight, stages=(drawn_otherwise,) * 2))
    document = PolicyDocument(interpolation="bilinear", fill=0.5, subpolicies=tuple(subpolicies))
    losses = TO[name](policy_from_document(document)).losses
    assert len(losses) > 60
    assert len(in_words(losses)) <= 20
    assert all(loss.place and "{" not in loss.what for loss in losses)


def test_a_mistake_while_timm_is_asked_leaves_the_random_state() -> None:
    transform = to_timm(fixed("rotate", 10.0)).result

    def broken(level: float, options: Any) -> Any:
        raise ValueError("broken")

    transform.policy[0][0].level_fn = broken
    with shapes_unchecked():  # checks draw from the same generator
        random.seed(7)
        state = random.getstate()
        with pytest.raises(ValueError, match="broken"):
            from_timm(transform)
        assert random.getstate() == state
