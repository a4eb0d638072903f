"""What is not a policy document is refused at its place, in words."""

import json
import re
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from augrad import ops
from augrad.errors import PolicyFileError, UserError
from augrad.policy_file import Entry, PolicyDocument, SubPolicy, Uniform, Value, format_policy, parse_policy

ROTATE = {"op": "rotate", "unit": "degree", "magnitude": {"low": 0.0, "high": 30.0}, "signed": True}


def document(*stage: Any, **top: Any) -> dict[str, Any]:
    """A document whose second sub-policy's third stage is `stage`."""
    plain = [{"op": "identity"}]
    return {
        "format": "augrad.policy",
        "version": 1,
        "interpolation": "bilinear",
        "fill": 0.0,
        "subpolicies": [
            {"weight": 0.5, "stages": [plain]},
            {"weight": 0.5, "stages": [plain, plain, list(stage or plain)]},
        ],
        **top,
    }


def refuse(data: Any, message: str) -> None:
    """Assert that `data` (text, or a value written as JSON) is refused with a message that begins so."""
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(data if isinstance(data, str | bytes) else json.dumps(data))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_defaults_and_integers_are_filled_in() -> None:
    parsed = parse_policy(json.dumps(document({"op": "invert"}, fill=1)))
    assert parsed.subpolicies[1].stages[2] == (Entry(op="invert", probability=1.0, weight=1.0),)
    assert parsed.provenance == {}
    assert isinstance(parsed.fill, float)
    written = format_policy(parsed)
    assert '{"op": "invert", "probability": 1.0, "weight": 1.0}' in written
    assert '"fill": 1.0,' in written


def test_a_byte_order_mark_is_no_obstacle() -> None:
    text = json.dumps(document())
    assert parse_policy(b"\xef\xbb\xbf" + text.encode()) == parse_policy(text)


ENTRY = "subpolicies[1].stages[2][0]"
HERE = "subpolicies[1].stages[2]"
RANGE = {"low": 0, "high": 1}
ENTRIES: list[tuple[Any, str]] = [
    (3, ": expected an operation, an object, got 3"),
    ({}, ".op: expected the name of an operation, a string, got nothing"),
    ({"op": "rotat"}, '.op: expected the name of an operation, got "rotat"; did you mean "rotate"?'),
    ({"op": "qqq"}, '.op: expected the name of an operation, got "qqq"; known are identity, '),
    ({"op": 3}, ".op: expected the name of an operation, a string, got 3"),
    ({"op": "os.system"}, '.op: expected the name of an operation, got "os.system"'),
    ({"op": "invert", "weigth": 1}, ".weigth: expected no key but op, unit, magnitude, signed, probability, weight, "),
    ({"op": "invert", "p\n": 1}, '["p\\n"]: expected no key but op, '),
    ({"op": "invert", "weight": -0.1}, ".weight: expected a number of at least 0, weights summing to 1, got -0.1"),
    (
        {"op": "invert", "weight": float("nan")},
        ".weight: expected a number of at least 0, weights summing to 1, got NaN",
    ),
    ({"op": "invert", "weight": "1"}, '.weight: expected a number of at least 0, weights summing to 1, got "1"'),
    ({"op": "invert", "weight": True}, ".weight: expected a number of at least 0, weights summing to 1, got true"),
    ({"op": "invert", "probability": 1.01}, ".probability: expected a number from 0 to 1, got 1.01"),
    ({"op": "invert", "probability": None}, ".probability: expected a number from 0 to 1, got null"),
    ({"op": "invert", "probability": float("inf")}, ".probability: expected a number from 0 to 1, got an infinite"),
    ({"op": "invert", "probability": 10**308}, ".probability: expected a number from 0 to 1, got an integer of 1024"),
    ({"op": "invert", "probability": 10**400}, ".probability: expected a number from 0 to 1, got an infinite"),
    ({"op": "invert", "signed": False}, ".signed: expected no such key, got false; invert has no magnitude"),
    ({"op": "invert", "unit": None}, ".unit: expected no such key, got null; invert has no magnitude"),
    ({"op": "invert", "unit": "degree"}, '.unit: expected no such key, got "degree"; invert has no magnitude'),
    ({"op": "invert", "magnitude": {"value": 1}}, ".magnitude: expected no such key, got an object; invert has no"),
    ({**ROTATE, "unit": "radian"}, '.unit: expected "degree", the unit of rotate, got "radian"'),
    ({**ROTATE, "unit": "bits"}, '.unit: expected "degree", the unit of rotate, got "bits"'),
    ({**ROTATE, "unit": None}, '.unit: expected "degree", the unit of rotate, got null'),
    ({"op": "rotate", "magnitude": RANGE}, '.unit: expected "degree", the unit of rotate, got nothing'),
    ({"op": "rotate", "unit": "degree"}, '.magnitude: expected an object: {"value": v} or {"low": a, "high": b}'),
    ({**ROTATE, "signed": 1}, ".signed: expected true or false, got 1"),
    ({**ROTATE, "signed": None}, ".signed: expected true or false, got null"),
]
MAGNITUDES: list[tuple[Any, str]] = [
    (None, ': expected an object: {"value": v} or {"low": a, "high": b}, the latter'),
    (3.0, ": expected an object: "),
    ([0, 1], ": expected an object: "),
    ({}, ": expected an object: "),
    ({"vale": 1}, ": expected an object: "),
    ({"value": 1, "vale": 1}, '.vale: expected no key but value, got an unknown one; did you mean "value"?'),
    ({"value": 1, "low": 1}, ".low: expected no key but value, got an unknown one"),
    ({"value": "1"}, '.value: expected a number from -1000000 to 1000000, got "1"'),
    ({"value": True}, ".value: expected a number from -1000000 to 1000000, got true"),
    ({"value": float("nan")}, ".value: expected a number from -1000000 to 1000000, got NaN"),
    ({"value": 1e7}, ".value: expected a number from -1000000 to 1000000, got 10000000.0"),
    ({"low": 0}, ".high: expected a number from -1000000 to 1000000, got nothing"),
    ({"low": 0, "high": float("-inf")}, ".high: expected a number from -1000000 to 1000000, got an infinite number"),
    ({**RANGE, "location": 0}, ".scale: expected a number from 0 to 1000000, got nothing"),
    ({**RANGE, "scale": 0}, ".location: expected a number from -1000000 to 1000000, got nothing"),
    ({**RANGE, "location": 0, "scale": -1e-9}, ".scale: expected a number from 0 to 1000000, got -1e-09"),
    ({**RANGE, "location": 0, "scale": 1, "uniform": False}, ".uniform: expected true (without the key, "),
    ({**RANGE, "location": 0, "scale": 1, "uniform": 1}, ".uniform: expected true (without the key, "),
    ({**RANGE, "uniform": True}, ".location: expected a number from -1000000 to 1000000, got nothing"),
]


@pytest.mark.parametrize(("entry", "message"), ENTRIES)
def test_a_bad_operation_is_refused(entry: Any, message: str) -> None:
    refuse(document(entry), ENTRY + message)


@pytest.mark.parametrize(("magnitude", "message"), MAGNITUDES)
def test_a_bad_magnitude_is_refused(magnitude: Any, message: str) -> None:
    refuse(document({**ROTATE, "magnitude": magnitude}), f"{ENTRY}.magnitude{message}")


@pytest.mark.parametrize(
    ("op", "inside", "outside"),
    [
        ("posterize", (1.0, 8.0), (0.9, 8.1, 0.0, -4.0)),
        ("solarize", (0.0, 1.0), (-0.1, 1.1, 256.0)),
        ("cutout", (0.0, 0.2, 2.0), (-0.1,)),
        ("translate_x", (-0.45, 0.45, 1.0), ()),
        ("brightness", (-0.9, 3.0), ()),
        ("rotate", (-180.0, 720.0), ()),
    ],
)
def test_magnitudes_stay_within_what_the_operation_accepts(
    op: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    entry = {"op": op, "unit": ops.get(op).unit}
    fine = inside[0]
    for number in inside:
        for magnitude in ({"value": number}, {"low": number, "high": fine}, {"low": fine, "high": number}):
            parse_policy(json.dumps(document({**entry, "magnitude": magnitude})))
    for number in outside:
        refuse(document({**entry, "magnitude": {"value": number}}), f"{ENTRY}.magnitude.value: expected a number from ")
        refuse(document({**entry, "magnitude": {"low": number, "high": fine}}), f"{ENTRY}.magnitude.low: expected a ")
        logit = {"low": fine, "high": number, "location": 0, "scale": 1}
        refuse(document({**entry, "magnitude": logit}), f"{ENTRY}.magnitude.high: expected a number from ")
        refuse(document({**entry, "magnitude": {**logit, "uniform": True}}), f"{ENTRY}.magnitude.high: expected a ")


def test_a_sign_is_accepted_exactly_where_the_operation_has_one() -> None:
    for op in map(ops.get, ops.names()):
        if op.unit is None:
            continue
        data = document({"op": op.name, "unit": op.unit, "magnitude": {"value": op.high}, "signed": True})
        if op.signed:
            assert parse_policy(json.dumps(data)).subpolicies[1].stages[2][0].signed
        else:
            refuse(data, f"{ENTRY}.signed: expected false, got true; {op.name} has no opposite direction")


TOPS: list[tuple[dict[str, Any], str]] = [
    ({"format": "x"}, 'format: expected "augrad.policy", got "x"'),
    ({"format": None}, 'format: expected "augrad.policy", got null'),
    ({"fill": 1.1}, "fill: expected a number from 0 to 1, got 1.1"),
    ({"fill": False}, "fill: expected a number from 0 to 1, got false"),
    ({"interpolation": "bicubic"}, 'interpolation: expected "bilinear" or "nearest", got "bicubic"'),
    ({"interpolations": 1}, "interpolations: expected no key but format, version, interpolation, "),
    ({"subpolicies": {}}, "subpolicies: expected a list of 1 to 10000 sub-policies, got an empty object"),
    ({"subpolicies": []}, "subpolicies: expected a list of 1 to 10000 sub-policies, got an empty list"),
    ({"subpolicies": [1]}, "subpolicies[0]: expected a sub-policy, an object with weight and stages, got 1"),
    ({"subpolicies": [1] * 10_001}, "subpolicies: expected a list of 1 to 10000 sub-policies, got a list of 10001"),
    ({"subpolicies": [{"weight": 1}]}, "subpolicies[0].stages: expected a list of 1 to 16 stages, got nothing"),
    ({"subpolicies": [{"stages": [[{"op": "invert"}]]}]}, "subpolicies[0].weight: expected a number of at least 0"),
    ({"subpolicies": [{"weight": 1, "stages": []}]}, "subpolicies[0].stages: expected a list of 1 to 16 stages"),
    ({"subpolicies": [{"weight": 1, "stages": "x"}]}, "subpolicies[0].stages: expected a list of 1 to 16 stages"),
    ({"subpolicies": [{"weight": 1, "stages": [[]] * 17}]}, "subpolicies[0].stages: expected a list of 1 to 16 st"),
    ({"subpolicies": [{"weight": 1, "stages": [{}]}]}, "subpolicies[0].stages[0]: expected a stage, a list of 1 to "),
    ({"subpolicies": [{"weight": 1, "stages": [[]]}]}, "subpolicies[0].stages[0]: expected a stage, a list of 1 to "),
    ({"subpolicies": [{"weight": 1, "stages": [[1] * 257]}]}, "subpolicies[0].stages[0]: expected a stage, a list "),
    ({"provenance": []}, "provenance: expected an object, got an empty list"),
    ({"provenance": None}, "provenance: expected an object, got null"),
    ({"provenance": {"a": [1, float("nan")]}}, "provenance.a[1]: expected an object, list, string, finite number"),
    ({"provenance": {"a b": float("inf")}}, 'provenance["a b"]: expected an object, list, string, finite number'),
    ({"provenance": {"a": 10**309}}, "provenance.a: expected an object, list, string, finite number"),
    ({"provenance": {"a": "\ud800"}}, "provenance.a: expected Unicode text, got half a surrogate pair"),
    ({"provenance": {"\ud800": 1}}, "provenance: expected Unicode text, got half a surrogate pair"),
]


@pytest.mark.parametrize(("top", "message"), TOPS)
def test_a_bad_document_is_refused(top: dict[str, Any], message: str) -> None:
    refuse(document(**top), message)


@pytest.mark.parametrize("key", ["format", "version", "interpolation", "fill", "subpolicies"])
def test_a_missing_key_is_refused(key: str) -> None:
    data = document()
    del data[key]
    refuse(data, f"{key}: expected ")


def test_the_limits_themselves_are_accepted() -> None:
    stage = [{"op": "identity", "weight": 1 / 256}] * 256
    data = document(subpolicies=[{"weight": 1, "stages": [stage] * 16}])
    assert len(parse_policy(json.dumps(data)).subpolicies[0].stages) == 16
    data = document(subpolicies=[{"weight": 1e-4, "stages": [[{"op": "invert"}]]}] * 10_000)
    assert len(parse_policy(json.dumps(data)).subpolicies) == 10_000


def test_weights_that_do_not_sum_to_one_are_refused_and_not_normalised() -> None:
    half = {"op": "invert", "weight": 0.5}
    refuse(document(half), f"{HERE}: expected weights that sum to 1, got a sum of 0.5; divide each weight by the sum")
    refuse(document(half, half, half), f"{HERE}: expected weights that sum to 1, got a sum of 1.5")
    refuse(document({"op": "invert", "weight": 2}), f"{HERE}: expected weights that sum to 1, got a sum of 2")
    refuse(document(half, {"op": "invert", "weight": 0.500002}), f"{HERE}: expected weights that sum to 1, got a sum")
    near = document(half, {"op": "invert", "weight": 0.5000009})
    assert parse_policy(json.dumps(near)).subpolicies[1].stages[2][1].weight == 0.5000009
    zero = document({"op": "invert", "weight": 0}, {"op": "identity"})
    assert parse_policy(json.dumps(zero)).subpolicies[1].stages[2][0].weight == 0.0
    subpolicies = document()["subpolicies"]
    refuse(document(subpolicies=subpolicies[:1]), "subpolicies: expected weights that sum to 1, got a sum of 0.5")


def test_the_first_problem_is_told_and_the_others_are_counted() -> None:
    data = document({"op": "rotat"}, fill=2)
    refuse(data, "fill: expected a number from 0 to 1, got 2 (and 1 more problem)")
    bad = {"weight": "1", "stages": [[{"op": "rotat"}]]}
    refuse(
        document(subpolicies=[bad, bad]), "subpolicies[0].weight: expected a number of at least 0, weights summing to"
    )
    with pytest.raises(PolicyFileError, match=r"\(and 3 more problems\)$"):
        parse_policy(json.dumps(document(subpolicies=[bad, bad])))


TEXTS: list[tuple[str | bytes, str]] = [
    ("", "document: expected a JSON object, got nothing: the file is empty"),
    (b" \n\t", "document: expected a JSON object, got nothing: the file is empty"),
    ("[]", "document: expected a JSON object, got an empty list"),
    ("null", "document: expected a JSON object, got null"),
    ("NaN", "document: expected a JSON object, got NaN"),
    ('"augrad.policy"', 'document: expected a JSON object, got "augrad.policy"'),
    ('{\n  "format": }', "line 2, column 13: expected JSON, got something else: "),
    ('{"format": "augrad.policy",}', "line 1, column 28: expected JSON, got something else: "),
    ("{} {}", "line 1, column 4: expected JSON, got something else: extra data"),
    ("\x80\x04\x95", "line 1, column 1: expected JSON, got something else: "),
    (b"\x80\x04\x95", "document: expected UTF-8 text, got the byte 0x80 at position 0"),
    ("{}".encode("utf-16"), "document: expected UTF-8 text, got the byte 0xff at position 0"),
    ('{"a": "\ud800"}', "document: expected Unicode text, got half a surrogate pair at position 7"),
    ('{"formt": "augrad.policy"}', 'format: expected "augrad.policy", got nothing; is "formt" a misspelling?'),
    ('{"__version__": "1.4.10", "transform": {}}', 'format: expected "augrad.policy", got nothing; is this a policy'),
    ('{"a": 1, "a": 2}', 'a: expected each key once, got "a" twice in one object; remove one'),
    ('{"a": [1, {"b": 1, "c": 2, "b": {}}]}', 'a[1].b: expected each key once, got "b" twice'),
    ('{"a": {"b": 1, "b": 2}, "a": 1}', 'a: expected each key once, got "a" twice'),
    ("[" * 100_000, "line 1, column 65: expected at most 64 levels of nesting, got more"),
    ("[\n" * 100_000, "line 65, column 1: expected at most 64 levels of nesting, got more"),
    ('{"a":' * 100_000, "line 1, column 321: expected at most 64 levels of nesting, got more"),
    ('"' + "[" * 100_000, "line 1, column 1: expected JSON, got something else: unterminated string"),
    (" " * (2**24 + 1), "document: expected at most 16777216 bytes (16 MiB), got 16777217"),
    ("é" * 2**23 + " ", "document: expected at most 16777216 bytes (16 MiB), got 16777217"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=[str(index) for index in range(len(TEXTS))])
def test_text_that_is_no_document_is_refused(text: str | bytes, message: str) -> None:
    refuse(text, message)


def test_brackets_within_strings_are_no_nesting() -> None:
    note = '\\"' + "[{" * 1000 + '"'
    assert parse_policy(json.dumps(document(provenance={"note": note}))).provenance == {"note": note}


def test_provenance_may_fill_the_levels_of_nesting_that_are_left_and_no_more() -> None:
    def nested(levels: int) -> dict[str, Any]:
        inner: Any = []
        for _ in range(levels - 2):
            inner = [inner]
        return {"a": inner}

    parsed = parse_policy(json.dumps(document(provenance=nested(63))))
    assert parse_policy(format_policy(parsed)) == parsed
    refuse(document(provenance=nested(64)), "line 1, column ")
    with pytest.raises(ValidationError, match="at most 64 levels"):
        PolicyDocument(**{**dict(parsed), "provenance": nested(64)})


def test_repeated_unknown_keys_and_escaped_names_stay_on_one_line() -> None:
    refuse(json.dumps({**document(), "a\nb\u202e": 1}), '["a\\nb\\u202e"]: expected no key but format, ')
    long = "k" * 10_000
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(json.dumps({**document(), long: 1}))
    assert len(str(caught.value)) < 300


def test_reading_imports_and_runs_nothing() -> None:
    parse_policy(json.dumps(document()))
    before = set(sys.modules)
    payload = {"_target_": "antigravity.geohash", "py/object": "this.s", "__reduce__": ["os.system", ["true"]]}
    assert parse_policy(json.dumps(document(provenance=payload))).provenance == payload
    for name in ("this", "antigravity.geohash", "__import__('this')", "this:s"):
        refuse(document({"op": name}), f"{ENTRY}.op: expected the name of an operation, got ")
    assert not {"this", "antigravity"} & (set(sys.modules) - before)


def test_documents_built_in_python_are_checked_frozen_and_own_their_provenance() -> None:
    assert issubclass(PolicyFileError, UserError)
    source: dict[str, Any] = {"metrics": {"accuracy": 0.5}, "versions": ("1", "2")}
    stages = ((Entry(op="identity", unit=None, magnitude=None, signed=False),),)
    made = PolicyDocument(
        interpolation="nearest", fill=0, subpolicies=(SubPolicy(weight=1, stages=stages),), provenance=source
    )
    assert (made.format, made.version) == ("augrad.policy", 1)
    source["metrics"]["accuracy"] = 0.9
    assert made.provenance == {"metrics": {"accuracy": 0.5}, "versions": ["1", "2"]}
    with pytest.raises(ValidationError):
        made.fill = 1.0
    for build in (
        lambda: Value(value=float("nan")),
        lambda: Uniform(low=0, high=10**400),
        lambda: Entry(op="rotate", unit="degree"),
        lambda: Entry(op="invert", signed=True),
        lambda: Entry(op="invert", magnitude=Value(value=1)),
        lambda: SubPolicy(weight=1, stages=((Entry(op="invert", weight=0.5),),)),
        lambda: PolicyDocument(**{**dict(made), "provenance": {"when": re}}),
        lambda: PolicyDocument(**{**dict(made), "provenance": {1: 2}}),
        lambda: PolicyDocument(**{**dict(made), "provenance": {"count": 10**309}}),
    ):
        with pytest.raises(ValidationError, match=r"expected|finite number|valid number"):
            build()
