"""Magnitudes in words, and the sums behind the tables."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from augrad import ops
from augrad.policy_file import (
    Entry,
    LogitNormal,
    Magnitude,
    PolicyDocument,
    SubPolicy,
    Uniform,
    UniformUpTo,
    Value,
)
from augrad.show.words import (
    describe_magnitude,
    describe_value,
    number,
    operation_masses,
    policy_rows,
    share,
    short_names,
)

_HALF = {"location": 0.0, "scale": 0.5}
"""Median in the middle of the range; 80% between 0.345 and 0.655 of it."""


@pytest.mark.parametrize(
    ("op", "magnitude", "signed", "words"),
    [
        ("rotate", Value(value=21.5), True, "±21.5°"),
        ("rotate", Value(value=0.0), True, "0°"),
        ("rotate", Value(value=-21.54), False, "−21.5°"),
        ("rotate", Uniform(low=0.0, high=21.5), True, "0° to ±21.5°"),
        ("rotate", Uniform(low=5.0, high=21.5), True, "±5° to ±21.5°"),
        ("rotate", Uniform(low=-30.0, high=30.0), False, "−30° to 30°"),
        ("rotate", LogitNormal(low=0.0, high=30.0, **_HALF), True, "±15° (80% between 10.4° and 19.6°)"),
        ("rotate", LogitNormal(low=0.0, high=30.0, location=0.0, scale=0.0), True, "±15°"),
        ("rotate", LogitNormal(low=0.0, high=30.0, location=-1e6, scale=1.0), True, "0°"),
        ("rotate", LogitNormal(low=0.0, high=30.0, location=1e6, scale=1.0), True, "±30°"),
        ("rotate", UniformUpTo(low=0.0, high=30.0, **_HALF), True, "0° to ±15° (end: 80% between 10.4° and 19.6°)"),
        ("brightness", Value(value=0.45), True, "factor 0.55 or 1.45"),
        ("brightness", Value(value=0.0), True, "factor 1"),
        ("brightness", Value(value=0.45), False, "factor 1.45"),
        ("brightness", Uniform(low=0.0, high=0.45), True, "factor 0.55–1.45"),
        ("brightness", Uniform(low=0.1, high=0.45), True, "factor 0.55–0.9 or 1.1–1.45"),
        ("contrast", Uniform(low=-0.5, high=0.5), True, "factor 0.5–1.5"),
        ("contrast", Uniform(low=-0.9, high=0.9), False, "factor 0.1–1.9"),
        ("color", LogitNormal(low=0.0, high=0.9, **_HALF), True, "factor 1 ± 0.45 (80% between ±0.31 and ±0.59)"),
        ("color", LogitNormal(low=0.0, high=0.9, **_HALF), False, "factor 1.45 (80% between 1.31 and 1.59)"),
        ("color", UniformUpTo(low=0.0, high=0.9, **_HALF), True, "factor 0.55–1.45 (end: 80% between ±0.31 and ±0.59)"),
        ("solarize", Value(value=0.71), False, "threshold 0.71"),
        ("solarize", Uniform(low=1.0, high=0.29), False, "threshold 1 to 0.29"),
        ("solarize", LogitNormal(low=1.0, high=0.0, **_HALF), False, "threshold 0.5 (80% between 0.35 and 0.65)"),
        ("posterize", Value(value=5.2), False, "5.2 bits"),
        ("posterize", Uniform(low=8.0, high=4.0), False, "8 to 4 bits"),
        ("translate_x", Value(value=0.12), True, "±12% of the side"),
        ("cutout", Uniform(low=0.0, high=0.2), False, "square of 0% to 20% of the side"),
        ("shear_y", Value(value=0.21), True, "factor ±0.21"),
    ],
)
def test_magnitudes(entry: Callable[..., Entry], op: str, magnitude: Magnitude, signed: bool, words: str):
    assert describe_magnitude(entry(op, magnitude, signed=signed)) == words


def test_four_draws_in_five_are_where_it_says(entry: Callable[..., Entry]):
    magnitude = LogitNormal(low=2.0, high=28.0, location=-0.7, scale=1.3)
    words = describe_magnitude(entry("rotate", magnitude, signed=False))
    median, low, high = (float(part.strip("°()")) for part in words.split() if part.endswith(("°", "°)")))
    normal = np.random.default_rng(0).normal(size=100_000)
    draws = 2 + 26 / (1 + np.exp(0.7 - 1.3 * normal))
    assert np.quantile(draws, (0.1, 0.5, 0.9)) == pytest.approx([low, median, high], abs=0.2)


def test_numbers():
    assert [number(value, 1) for value in (12.34, -0.04, 0.0, 30.0, -2.55)] == ["12.3", "0", "0", "30", "−2.5"]
    assert [share(value) for value in (0, 0.0001, 0.001, 0.0994, 0.0996, 0.5, 1)] == [
        "0%", "<0.1%", "0.1%", "9.9%", "10%", "50%", "100%",
    ]  # fmt: skip


def test_rows_heaviest_first(document: PolicyDocument):
    rows = policy_rows(document)
    assert [(row.subpolicy, row.stage, row.op) for row in rows] == [
        (1, 0, "shear_x"),
        (1, 0, "solarize"),
        (0, 0, "identity"),
        (0, 0, "rotate"),
        (0, 1, "invert"),
    ]
    assert [row.mass for row in rows] == pytest.approx([0.54, 0.15, 0.1, 0.075, 0.025])


def test_masses_by_hand(document: PolicyDocument):
    masses = operation_masses(document)
    # Stage 1: shear_x 0.54, solarize 0.15, rotate 0.075, the rest identity; stage 2: invert 0.025, the rest identity.
    assert masses == {
        "identity": pytest.approx((0.235 + 0.975) / 2),
        "shear_x": pytest.approx(0.27),
        "solarize": pytest.approx(0.075),
        "rotate": pytest.approx(0.0375),
        "invert": pytest.approx(0.0125),
    }
    assert list(masses) == ["identity", "shear_x", "solarize", "rotate", "invert"]
    assert math.fsum(masses.values()) == pytest.approx(1)


def test_masses_agree_with_draws(entry: Callable[..., Entry]):
    """The same counts as drawing: sub-policy, operation, gate."""
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(3), size=4).round(3)
    weights[:, 2] = (1 - weights[:, 0] - weights[:, 1]).round(3)
    gates = generator.random(3).round(2)
    stage = [
        tuple(
            entry(op, weight=float(weight), probability=float(gate) if op != "identity" else 1.0)
            for op, weight, gate in zip(("identity", "invert", "auto_contrast"), weights[index], gates, strict=True)
        )
        for index in range(4)
    ]
    subpolicies = tuple(SubPolicy(weight=w, stages=(stage[2 * i], stage[2 * i + 1])) for i, w in enumerate((0.3, 0.7)))
    masses = operation_masses(PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=subpolicies))
    n = 200_000
    counts = dict.fromkeys(("identity", "invert", "auto_contrast"), 0)
    chosen = generator.choice(4, size=n, p=[0.15, 0.15, 0.35, 0.35])
    for index in range(4):
        drawn = generator.choice(3, size=int((chosen == index).sum()), p=weights[index] / weights[index].sum())
        acted = generator.random(len(drawn)) < gates[drawn]
        for slot, op in enumerate(counts):
            counts[op] += int(((drawn == slot) & (acted | (slot == 0))).sum())
            counts["identity"] += int(((drawn == slot) & ~acted).sum()) if slot else 0
    assert {op: count / n for op, count in counts.items()} == pytest.approx(masses, abs=0.006)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("pixel", "1.5 px"),
        ("fraction", "150%"),
        ("strength", "strength 1.5"),
        ("factor", "factor 1.5"),
        ("degree", "1.5°"),
    ],
)
def test_magnitudes_of_operations_that_are_not_augrads_own_say_no_more_than_their_unit(unit: str, words: str):
    magnitude = Value(value=1.5)
    assert describe_magnitude(Entry(op="mypackage.ops.blur", unit=unit, magnitude=magnitude)) == words


def test_short_names_are_the_ends_that_no_other_name_has():
    names = ["rotate", "invert", "mypackage.ops.gamma", "mypackage.ops.rotate", "a.b.shift", "c.b.shift", "d.shift"]
    assert short_names(names) == {
        "rotate": "rotate",
        "invert": "invert",
        "mypackage.ops.gamma": "gamma",
        "mypackage.ops.rotate": "ops.rotate",
        "a.b.shift": "a.b.shift",
        "c.b.shift": "c.b.shift",
        "d.shift": "d.shift",
    }
    assert short_names(["a.b", "x.a.b"]) == {"a.b": "a.b", "x.a.b": "x.a.b"}
    assert short_names([]) == {}


def test_wordings_get_shorter(entry: Callable[..., Entry]):
    drawn, upto = LogitNormal(low=0.0, high=30.0, **_HALF), UniformUpTo(low=0.0, high=30.0, **_HALF)
    assert describe_magnitude(entry("rotate", drawn), "brief") == "±15° (10.4° to 19.6°)"
    assert describe_magnitude(entry("rotate", upto), "brief") == "0° to ±15° (end 10.4° to 19.6°)"
    assert describe_magnitude(entry("rotate", drawn), "none") == "±15°"
    assert describe_magnitude(entry("rotate", Value(value=15.0)), "brief") == "±15°"


@pytest.mark.parametrize(
    ("op", "value", "words"),
    [
        ("rotate", -14.04, "−14°"),
        ("brightness", -0.25, "0.75"),
        ("zoom", 0.2, "e^0.2"),
        ("cutout", 0.12, "12%"),
        ("posterize", 5.0, "5"),
    ],
)
def test_one_magnitude_as_a_number(op: str, value: float, words: str):
    unit = ops.get(op).unit
    assert unit is not None
    assert describe_value(op, unit, value) == words
