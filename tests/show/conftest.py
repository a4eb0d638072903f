"""Policies and metrics that look like those of a real search."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from augrad import ops
from augrad.policy_file import Entry, LogitNormal, PolicyDocument, SubPolicy, UniformUpTo, Value
from browser import CHROMIUM, Browser

MakeEntry = Callable[..., Entry]


@pytest.fixture
def entry() -> MakeEntry:
    """entry(op, magnitude, weight=, probability=, signed=): unit and sign as the operation has them."""

    def make(op: str, magnitude: Any = None, weight: float = 1.0, probability: float = 1.0, signed: bool | None = None):
        kind = ops.get(op)
        if magnitude is None:
            return Entry(op=op, probability=probability, weight=weight)
        sign = kind.signed if signed is None else signed
        return Entry(op=op, unit=kind.unit, magnitude=magnitude, signed=sign, probability=probability, weight=weight)

    return make


@pytest.fixture
def document(entry: MakeEntry) -> PolicyDocument:
    """Two sub-policies, the lighter one first, of two stages and of one."""
    rotation = LogitNormal(low=0.0, high=30.0, location=0.4, scale=0.3)
    shear = UniformUpTo(low=0.0, high=0.3, location=-0.5, scale=0.2)
    light = SubPolicy(
        weight=0.25,
        stages=(
            (entry("identity", weight=0.4), entry("rotate", rotation, weight=0.6, probability=0.5)),
            (entry("invert", probability=0.1),),
        ),
    )
    heavy = SubPolicy(
        weight=0.75,
        stages=(
            (entry("shear_x", shear, weight=0.8, probability=0.9), entry("solarize", Value(value=0.71), weight=0.2)),
        ),
    )
    return PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(light, heavy))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """300 steps: rotate wins, shear_x matters, invert and cutout never do."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for step in range(300):
        done = step / 300
        rotate, shear = 0.04 + 0.4 * done, 0.04 + 0.1 * done
        row: dict[str, Any] = {
            "step": step,
            "train_loss": float(2.3 * np.exp(-4 * done) + 0.1 * generator.random()),
            "val_loss": float(2.5 * np.exp(-3 * done) + 0.1 * generator.random()) if step != 7 else None,
            "train_accuracy": 0.1 + 0.8 * done,
            "val_accuracy": 0.1 + 0.7 * done,
            "selection_entropy": 2.0 - done,
            "identity_mass": 1 - rotate - shear - 0.07,
            "mass/identity": 1 - rotate - shear - 0.07,
            "mass/rotate": rotate,
            "mass/shear_x": shear,
            "mass/invert": 0.04,
            "mass/cutout": 0.03,
            "strength/rotate": 0.3 + 0.3 * done,
            "strength/shear_x": 0.3,
            "strength/cutout": 0.2,
            "probability/rotate": 0.5 + 0.4 * done,
        }
        if step % 50 == 0:
            row["selection_accuracy"] = 0.1 + 0.75 * done
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed here")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
