"""Operations that are not augrad's own in a policy file: carried whole, and never imported unasked."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import augrad
from augrad.errors import PolicyFileError
from augrad.ops.definition import OPTIONS, Definition
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.policy_file import (
    Entry,
    PolicyDocument,
    SubPolicy,
    Uniform,
    Value,
    format_policy,
    json_schema,
    parse_policy,
)
from augrad.policy_file.convert import document_of, policy_from_document

GOLDEN = Path(__file__).parent / "golden" / "version_1_definitions.json"
GAMMA = {"low": 0.0, "high": 2 / 3, "unit": "strength", "signed": True}
SLOPE = {"low": 0.0, "high": 0.9, "unit": "strength", "surrogate": "open_ops.step_slope"}
ALL = {
    "identity": {},
    "rotate": {"high": 45.0},
    "open_ops.gamma": GAMMA,
    "open_ops.negative": {},
    "open_ops.step": SLOPE,
    "open_ops.rain": {"low": 0.0, "high": 0.9, "unit": "strength", "draws": 1},
}


@pytest.fixture
def dangerous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a file when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "dangerous.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "def negative(images):\n    return 1 - images\n"
        "def slope(images, magnitude):\n    return -images\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("dangerous", None)


def document(definitions: dict[str, Any], *entries: dict[str, Any], **top: Any) -> dict[str, Any]:
    weight = 1 / max(len(entries), 1)
    return {
        "format": "augrad.policy",
        "version": 1,
        "interpolation": "bilinear",
        "fill": 0.0,
        "definitions": definitions,
        "subpolicies": [{"weight": 1.0, "stages": [[{**entry, "weight": weight} for entry in entries]]}],
        **top,
    }


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(json.dumps(data))
    return path


# --- there and back --------------------------------------------------------------------------------------------------


def test_the_golden_file_is_read_and_written_byte_for_byte() -> None:
    text = GOLDEN.read_text(encoding="utf-8")
    parsed = parse_policy(text)
    assert format_policy(parsed) == text
    assert parsed.definitions["open_ops.gamma"] == Definition(
        low=0.0, high=0.666666666667, unit="strength", signed=True, kind="color"
    )
    assert parsed.definitions["open_ops.negative"].given() == {}


def test_the_golden_file_becomes_a_policy_and_goes_back() -> None:
    pytest.importorskip("kornia")
    policy = augrad.load_policy(GOLDEN, allow=["open_ops", "kornia.augmentation"])
    assert format_policy(document_of(policy)) == GOLDEN.read_text(encoding="utf-8")
    images = torch.rand(40, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(policy(images), images)


def test_a_policy_goes_into_a_file_and_comes_back_the_same(tmp_path: Path) -> None:
    policy = initial_policy(make_space(ALL), subpolicies=2, stages=2)
    augrad.save_policy(policy, tmp_path / "policy.json")
    loaded = augrad.load_policy(tmp_path / "policy.json", allow="open_ops")
    images, sample = torch.rand(64, 3, 12, 10, dtype=torch.float64), policy.sample(64)
    # Magnitudes are kept to 12 digits.
    torch.testing.assert_close(loaded(images, params=sample), policy(images, params=sample), rtol=0, atol=1e-9)
    augrad.save_policy(loaded, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "policy.json").read_bytes()
    for one, other in zip(policy.ops, loaded.ops, strict=True):
        assert (one.name, one.kind, one.unit, one.signed, one.draws) == (
            other.name, other.kind, other.unit, other.signed, other.draws)  # fmt: skip
        assert one.magnitude_grad == other.magnitude_grad


def test_only_operations_that_are_used_are_defined() -> None:
    policy = initial_policy(make_space(ALL))
    assert set(document_of(policy).definitions) == {name for name in ALL if "." in name}
    assert document_of(initial_policy(make_space({"rotate": {}}))).definitions == {}
    assert "definitions" not in format_policy(document_of(initial_policy(make_space({"rotate": {}}))))


def test_a_magnitude_rounded_past_the_end_of_its_range_is_no_obstacle() -> None:
    policy = initial_policy(make_space({"open_ops.gamma": GAMMA}), magnitude="point")
    with torch.no_grad():
        policy.magnitude_locations.fill_(100.0)
    assert document_of(policy).subpolicies[0].stages[0][0].magnitude == Value(value=0.666666666667)
    assert 0.666666666667 > 2 / 3


def test_tuples_become_lists_and_the_definition_is_a_copy() -> None:
    given = {"arguments": {"kernel_size": (3, 5)}}
    policy_of = PolicyDocument(
        interpolation="bilinear",
        fill=0.0,
        definitions={"some.blur": Definition(**given)},
        subpolicies=(SubPolicy(weight=1.0, stages=((Entry(op="some.blur"),),)),),
    )
    given["arguments"]["kernel_size"] = "changed"
    assert policy_of.definitions["some.blur"].arguments == {"kernel_size": [3, 5]}
    assert parse_policy(format_policy(policy_of)) == policy_of


# --- nothing is imported unasked -------------------------------------------------------------------------------------


def test_nothing_is_imported_that_is_not_allowed(dangerous: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", document({"dangerous.negative": {}}, {"op": "dangerous.negative"}))
    for allow in ((), [], ["open_ops"], ["danger"], ["dangerous.other"], ["dangerous.negative.more"], ""):
        with pytest.raises(PolicyFileError) as caught:
            augrad.load_policy(path, allow=allow)
        message = str(caught.value)
        assert message.startswith('definitions["dangerous.negative"]: expected operations of allowed modules only ')
        assert 'got "dangerous.negative"' in message
        assert '"dangerous"]' in message
        assert "dangerous] on the command line" in message
        assert message.endswith(f"[in {path}]")
        assert not dangerous.exists()
        assert "dangerous" not in sys.modules
    policy = augrad.load_policy(path, allow=["dangerous"])
    assert dangerous.exists()
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(policy(images), 1 - images)


@pytest.mark.parametrize("allow", [["dangerous.negative"], "dangerous", ("open_ops", "dangerous")])
def test_a_function_a_module_or_a_package_can_be_allowed(dangerous: Path, tmp_path: Path, allow: Any) -> None:
    path = write(tmp_path / "p.json", document({"dangerous.negative": {}}, {"op": "dangerous.negative"}))
    assert augrad.load_policy(path, allow=allow).ops[0].name == "dangerous.negative"


def test_a_surrogate_has_to_be_allowed_as_well(dangerous: Path, tmp_path: Path) -> None:
    slope = {**SLOPE, "surrogate": "dangerous.slope"}
    entry = {"op": "open_ops.step", "unit": "strength", "magnitude": {"value": 0.5}}
    path = write(tmp_path / "p.json", document({"open_ops.step": slope}, entry))
    with pytest.raises(PolicyFileError, match=r'got "dangerous.slope"; .*allow=\["open_ops", "dangerous"\]'):
        augrad.load_policy(path, allow=["open_ops"])
    assert not dangerous.exists()
    assert augrad.load_policy(path, allow=["open_ops", "dangerous"]).ops[0].magnitude_grad == "straight_through"


def test_all_modules_that_are_missing_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r'allow=\["kornia.augmentation", "open_ops"\]'):
        augrad.load_policy(GOLDEN)


def test_an_attribute_of_an_allowed_module_is_no_way_to_another(tmp_path: Path) -> None:
    """open_ops imports torch: that opens torch to no one."""
    path = write(tmp_path / "p.json", document({"open_ops.torch.relu": {}}, {"op": "open_ops.torch.relu"}))
    with pytest.raises(PolicyFileError, match=r"there is no module open_ops\.torch"):
        augrad.load_policy(path, allow=["open_ops"])


def test_documents_are_read_shown_and_compared_without_any_import(dangerous: Path) -> None:
    parsed = parse_policy(json.dumps(document({"dangerous.negative": {}}, {"op": "dangerous.negative"})))
    format_policy(parsed)
    with pytest.raises(PolicyFileError):
        policy_from_document(parsed)
    assert not dangerous.exists()


@pytest.mark.parametrize(
    ("definitions", "entry", "message"),
    [
        ({"open_ops.gama": {}}, {"op": "open_ops.gama"}, 'definitions["open_ops.gama"]: expected a function of open'),
        ({"open_ops.gamma": {}}, {"op": "open_ops.gamma"}, 'definitions["open_ops.gamma"]: expected a function of (im'),
        ({"open_ops.step": {"low": 0.0, "high": 0.9, "unit": "strength"}},
         {"op": "open_ops.step", "unit": "strength", "magnitude": {"value": 0.5}},
         'definitions["open_ops.step"]: expected a derivative with respect to the magnitude, got zeros'),
    ],
)  # fmt: skip
def test_an_operation_that_cannot_be_made_is_refused_at_its_place(
    tmp_path: Path, definitions: dict[str, Any], entry: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "p.json", document(definitions, entry))
    with pytest.raises(PolicyFileError) as caught:
        augrad.load_policy(path, allow=["open_ops"])
    assert str(caught.value).startswith(message)


# --- what is refused as a document -----------------------------------------------------------------------------------

ENTRY = {"op": "a.b", "unit": "degree", "magnitude": {"low": 0.0, "high": 3.0}}
RANGE = {"low": 0.0, "high": 3.0, "unit": "degree"}
PLACE = "subpolicies[0].stages[0][0]"
HERE = 'definitions["a.b"]'
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, ENTRY, f'{PLACE}.op: expected the name of an operation, got "a.b"; an operation that is not'),
    ({"a.c": {}}, {"op": "identity"}, 'definitions["a.c"]: expected an operation that the policy uses, got one that'),
    ({"gamma": {}}, {"op": "identity"}, "definitions: expected a name of at most 200 characters as in package.module"),
    ({"a..b": {}}, {"op": "identity"}, "definitions: expected a name of at most 200 characters as in package.module"),
    ({"a.b()": {}}, {"op": "identity"}, "definitions: expected a name of at most 200 characters as in package.module"),
    ({"a.import": {}}, {"op": "identity"}, "definitions: expected a name of at most 200 characters as in package.mod"),
    ({"a." + 200 * "b": {}}, {"op": "identity"}, "definitions: expected a name of at most 200 characters"),
    ({"a.b": None}, ENTRY, f"{HERE}: expected a definition, an object, got null"),
    ({"a.b": []}, ENTRY, f"{HERE}: expected a definition, an object, got an empty list"),
    ({"a.b": {**RANGE, "hihg": 1}}, ENTRY, f"{HERE}.hihg: expected no key but low, high, unit, .* got an unknown one"),
    ({"a.b": {**RANGE, "kind": None}}, ENTRY, f"{HERE}.kind: expected geometric, color, filter or erase, or no such"),
    ({"a.b": {**RANGE, "kind": "mix"}}, ENTRY, f'{HERE}.kind: expected geometric, color, filter or erase, got "mix"'),
    ({"a.b": {**RANGE, "unit": "radian"}}, ENTRY, f'{HERE}.unit: expected the unit .* got "radian"'),
    ({"a.b": {**RANGE, "high": "3"}}, ENTRY, f'{HERE}.high: expected a number, the strong end .* got "3"'),
    ({"a.b": {**RANGE, "high": float("nan")}}, ENTRY, f"{HERE}.high: expected a number, the strong end .* got NaN"),
    ({"a.b": {**RANGE, "high": 1e7}}, ENTRY, f"{HERE}.high: expected a number, the strong end .* got 10000000.0"),
    ({"a.b": {**RANGE, "high": 0.0}}, ENTRY, f"{HERE}.high: expected a number other than low, 0.0, got 0.0"),
    ({"a.b": {"low": 0.0, "unit": "degree"}}, ENTRY, f"{HERE}.high: expected a number, the strong end .* got nothing"),
    ({"a.b": {**RANGE, "draws": True}}, ENTRY, f"{HERE}.draws: expected a whole number from 1 to 64, got true"),
    ({"a.b": {**RANGE, "draws": 65}}, ENTRY, f"{HERE}.draws: expected a whole number from 1 to 64, got 65"),
    ({"a.b": {**RANGE, "surrogate": "os"}}, ENTRY, f"{HERE}.surrogate: expected finite_difference, or the .* 'os'"),
    ({"a.b": {**RANGE, "surrogate": 3}}, ENTRY, f"{HERE}.surrogate: expected finite_difference, or the name .* got 3"),
    ({"a.b": {**RANGE, "signed": 1}}, ENTRY, f"{HERE}.signed: expected true or false, got 1"),
    ({"a.b": {**RANGE, "arguments": []}}, ENTRY, f"{HERE}.arguments: expected an object, arguments of the kornia"),
    ({"a.b": {**RANGE, "arguments": {"x": float("inf")}}}, ENTRY, f"{HERE}.arguments.x: expected an object, list, st"),
    ({"a.b": {}}, ENTRY, f'{PLACE}.unit: expected no such key, got "degree"; a.b is defined without a magnitude'),
    ({"a.b": RANGE}, {"op": "a.b"}, f'{PLACE}.magnitude: expected an object: .* got nothing; a.b is defined with one'),
    ({"a.b": RANGE}, {**ENTRY, "unit": "bits"}, f'{PLACE}.unit: expected "degree", the unit of a.b, got "bits"'),
    ({"a.b": RANGE}, {**ENTRY, "signed": True}, f"{PLACE}.signed: expected false, got true; a.b is defined without a"),
    ({"a.b": RANGE}, {**ENTRY, "magnitude": {"value": 4}},
     f"{PLACE}.magnitude.value: expected a number from 0 to 3, the range of a.b, got 4.0"),
    ({"a.b": RANGE}, {**ENTRY, "magnitude": {"low": -1.0, "high": 3.0}},
     f"{PLACE}.magnitude.low: expected a number from 0 to 3, the range of a.b, got -1.0"),
    ({"a.b": RANGE}, {"op": "a.b", "unit": "degree"}, f"{PLACE}.magnitude: expected an object: .* come together"),
    ({"a.b": RANGE}, {"op": "a.b", "magnitude": {"value": 1.0}}, f"{PLACE}.unit: expected the unit .* come together"),
    ({"a.b": {}}, {"op": "a.b", "signed": False}, f"{PLACE}.signed: expected no such key, got false"),
    ({"a.b": {}}, {"op": "a.b", "unit": None}, f"{PLACE}.unit: expected no such key, got null"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "entry", "message"), REFUSED)
def test_a_bad_definition_is_refused_at_its_place(
    definitions: dict[str, Any], entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(json.dumps(document(definitions, entry)))
    start, _, rest = message.partition(" .* ")
    assert str(caught.value).startswith(start)
    assert rest in str(caught.value)
    assert "\n" not in str(caught.value)


def test_definitions_are_an_object_and_not_too_many() -> None:
    for definitions, got in (([], "an empty list"), (3, "3")):
        with pytest.raises(PolicyFileError, match=f"^definitions: expected an object .* got {got}"):
            parse_policy(json.dumps(document(definitions, {"op": "identity"})))  # type: ignore[arg-type]
    many = {f"a.b{index}": {} for index in range(257)}
    with pytest.raises(PolicyFileError, match=r"^definitions: expected an object .* 256 operations, got 257"):
        parse_policy(json.dumps(document(many, {"op": "identity"})))


def test_a_sign_opens_the_other_half_of_the_range() -> None:
    entry = {**ENTRY, "magnitude": {"low": -3.0, "high": 3.0}, "signed": True}
    assert parse_policy(json.dumps(document({"a.b": {**RANGE, "signed": True}}, entry))).subpolicies[0].stages[0][
        0
    ].magnitude == Uniform(low=-3.0, high=3.0)


def test_a_document_built_in_python_keeps_the_same_rules() -> None:
    with pytest.raises(ValidationError):
        PolicyDocument(
            interpolation="bilinear", fill=0.0, subpolicies=(SubPolicy(weight=1.0, stages=((Entry(op="a.b"),),)),)
        )


# --- the schema ------------------------------------------------------------------------------------------------------


def test_the_schema_has_every_option() -> None:
    assert tuple(sorted(json.loads(json_schema())["$defs"]["Definition"]["properties"])) == tuple(sorted(OPTIONS))


def _definition(data: dict[str, Any]) -> dict[str, Any]:
    return data["definitions"]["open_ops.gamma"]


BROKEN = {
    "definitions a list": lambda d: d.update(definitions=[]),
    "a definition null": lambda d: d["definitions"].update({"open_ops.gamma": None}),
    "unknown option": lambda d: _definition(d).update(hihg=1.0),
    "null option": lambda d: _definition(d).update(kind=None),
    "unknown kind": lambda d: _definition(d).update(kind="mix"),
    "unknown unit": lambda d: _definition(d).update(unit="radian"),
    "range without its end": lambda d: _definition(d).pop("high"),
    "range without its unit": lambda d: _definition(d).pop("unit"),
    "unit without a range": lambda d: (_definition(d).pop("low"), _definition(d).pop("high")),
    "number as text": lambda d: _definition(d).update(low="0"),
    "number too large": lambda d: _definition(d).update(high=1e7),
    "draws a fraction": lambda d: _definition(d).update(draws=1.5),
    "signed a number": lambda d: _definition(d).update(signed=1),
    "arguments a list": lambda d: _definition(d).update(arguments=[]),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_schema_and_parser_refuse_the_same(change: Any) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json.loads(json_schema()))
    validator.check_schema(validator.schema)
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    validator.validate(data)
    broken = copy.deepcopy(data)
    change(broken)
    assert not validator.is_valid(broken)
    with pytest.raises(PolicyFileError):
        parse_policy(json.dumps(broken))
