"""The published JSON Schema is that of the models, and agrees with the parser wherever it can."""

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from augrad import ops
from augrad.errors import PolicyFileError
from augrad.policy_file import json_schema, parse_policy
from augrad.policy_file.schema import SCHEMA_FILE

GOLDEN = Path(__file__).parent / "golden" / "version_1.json"


def test_the_published_schema_is_that_of_the_models() -> None:
    published = files("augrad.policy_file").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    assert published == json_schema(), (
        "the published JSON Schema is out of date; write it anew with: "
        f"PYTHONPATH=lib python -m augrad.policy_file > lib/augrad/policy_file/{SCHEMA_FILE}"
    )


def test_the_schema_knows_every_unit_of_the_operations() -> None:
    units = set(json.loads(json_schema())["$defs"]["Entry"]["properties"]["unit"]["enum"])
    assert units >= {op.unit for op in map(ops.get, ops.names()) if op.unit is not None}


def _entry(document: dict[str, Any]) -> dict[str, Any]:
    return document["subpolicies"][0]["stages"][0][0]


BROKEN = {
    "no format": lambda d: d.pop("format"),
    "other format": lambda d: d.update(format="albumentations"),
    "no version": lambda d: d.pop("version"),
    "newer version": lambda d: d.update(version=2),
    "no fill": lambda d: d.pop("fill"),
    "unknown key": lambda d: d.update(name="x"),
    "no sub-policies": lambda d: d.update(subpolicies=[]),
    "provenance a list": lambda d: d.update(provenance=[]),
    "no stages": lambda d: d["subpolicies"][0].update(stages=[]),
    "empty stage": lambda d: d["subpolicies"][0].update(stages=[[]]),
    "probability above 1": lambda d: _entry(d).update(probability=1.5),
    "negative weight": lambda d: _entry(d).update(weight=-0.1),
    "number as text": lambda d: _entry(d).update(weight="0.9"),
    "null magnitude": lambda d: _entry(d).update(magnitude=None),
    "magnitude without unit": lambda d: _entry(d).pop("unit"),
    "unit without magnitude": lambda d: _entry(d).pop("magnitude"),
    "unknown unit": lambda d: _entry(d).update(unit="radian"),
    "mixed kinds": lambda d: _entry(d)["magnitude"].update(value=1.0),
    "no scale": lambda d: _entry(d)["magnitude"].update(location=1.0),
    "negative scale": lambda d: _entry(d)["magnitude"].update(location=1.0, scale=-1.0),
    "uniform false": lambda d: _entry(d)["magnitude"].update(location=1.0, scale=1.0, uniform=False),
    "uniform alone": lambda d: _entry(d)["magnitude"].update(uniform=True),
    "signed a number": lambda d: _entry(d).update(signed=1),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_schema_and_parser_refuse_the_same(change: Any) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json.loads(json_schema()))
    validator.check_schema(validator.schema)
    document = json.loads(GOLDEN.read_text(encoding="utf-8"))
    validator.validate(document)
    broken = copy.deepcopy(document)
    change(broken)
    assert not validator.is_valid(broken)
    with pytest.raises(PolicyFileError):
        parse_policy(json.dumps(broken))
