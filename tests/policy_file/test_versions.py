"""Files of every released version load for ever; newer ones are refused."""

import json
from pathlib import Path

import pytest

from augrad.errors import PolicyFileError
from augrad.policy_file import (
    Entry,
    LogitNormal,
    PolicyDocument,
    SubPolicy,
    Uniform,
    UniformUpTo,
    Value,
    format_policy,
    parse_policy,
    read_policy,
)
from augrad.policy_file.model import VERSION
from augrad.policy_file.parse import UPGRADES, upgrade

GOLDEN = Path(__file__).parent / "golden"

VERSION_1 = PolicyDocument(
    interpolation="nearest",
    fill=0.502,
    subpolicies=(
        SubPolicy(
            weight=0.31,
            stages=(
                (
                    Entry(
                        op="rotate",
                        unit="degree",
                        magnitude=Uniform(low=0, high=21.5),
                        signed=True,
                        probability=0.62,
                        weight=0.9,
                    ),
                    Entry(op="identity", weight=0.1),
                ),
                (Entry(op="solarize", unit="threshold", magnitude=Value(value=0.71), probability=0.4),),
            ),
        ),
        SubPolicy(
            weight=0.69,
            stages=(
                (
                    Entry(
                        op="shear_x",
                        unit="factor",
                        magnitude=LogitNormal(low=0, high=0.3, location=-0.405465108108, scale=0.25),
                        signed=True,
                        probability=0.333333333333,
                        weight=0.25,
                    ),
                    Entry(
                        op="posterize",
                        unit="bits",
                        magnitude=UniformUpTo(low=8, high=4, location=1.5, scale=0),
                        weight=0.5,
                    ),
                    Entry(
                        op="cutout",
                        unit="fraction",
                        magnitude=UniformUpTo(low=0, high=0.2, location=0, scale=1),
                        probability=0,
                        weight=0.25,
                    ),
                ),
                (Entry(op="horizontal_flip", probability=0.5),),
                (Entry(op="brightness", unit="strength", magnitude=Uniform(low=-0.9, high=0.9)),),
            ),
        ),
    ),
    provenance={
        "created": "2025-01-01T00:00:00+00:00",
        "augrad": "0.1.0",
        "seed": 0,
        "config": {"steps": [100, 1e-5, True, []], "name": "Prüfling „α“", "nothing": None},
        "metrics": {},
    },
)


def test_the_file_of_version_1_loads_and_is_written_byte_for_byte() -> None:
    content = (GOLDEN / "version_1.json").read_bytes()
    document = read_policy(GOLDEN / "version_1.json")
    assert document == VERSION_1
    assert format_policy(document).encode() == content
    assert format_policy(VERSION_1).encode() == content


def test_every_version_has_a_golden_file_that_loads_and_a_way_up() -> None:
    for version in range(1, VERSION + 1):
        path = GOLDEN / f"version_{version}.json"
        assert json.loads(path.read_bytes())["version"] == version
        assert read_policy(path).version == VERSION
    assert sorted(UPGRADES) == list(range(1, VERSION))


def test_older_versions_are_brought_up_step_by_step() -> None:
    steps = {
        1: lambda data: {**data, "fill": data["fill"] / 255},
        2: lambda data: {key: value for key, value in data.items() if key != "levels"},
    }
    old = {"format": "augrad.policy", "version": 1, "fill": 51, "levels": 10}
    assert upgrade(old, steps, newest=3) == {"format": "augrad.policy", "version": 3, "fill": 0.2}
    assert upgrade({**old, "version": 2}, steps, newest=3) == {"format": "augrad.policy", "version": 3, "fill": 51}
    assert old["version"] == 1


@pytest.mark.parametrize("version", [VERSION + 1, 10**30])
def test_a_newer_version_is_refused_whatever_it_holds(version: int) -> None:
    text = json.dumps({"format": "augrad.policy", "version": version, "novelty": {}})
    with pytest.raises(PolicyFileError, match=rf"^version: expected at most {VERSION}, got .*newer augrad; upgrade"):
        parse_policy(text)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None, [1]])
def test_a_version_that_is_no_positive_integer_is_refused(version: object) -> None:
    text = json.dumps({"format": "augrad.policy", "version": version})
    with pytest.raises(PolicyFileError, match=r"^version: expected a whole number from 1 to"):
        parse_policy(text)
