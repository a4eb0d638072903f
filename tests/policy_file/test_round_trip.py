"""Writing and reading a document is the identity; whatever a file holds, only one kind of error comes out."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from augrad import ops
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
)

GOLDENS = [
    (Path(__file__).parent / "golden" / f"{name}.json").read_bytes() for name in ("version_1", "version_1_definitions")
]
GOLDEN = GOLDENS[0]
OPS = tuple(map(ops.get, ops.names()))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LIMITS = {"bits": (1.0, 8.0), "threshold": (0.0, 1.0), "weight": (0.0, 1.0), "pixel": (0.0, 1e6)}


def twelve_digits(number: float) -> float:
    return float(f"{number:.12g}")


def floats(low: float, high: float, exact: bool) -> st.SearchStrategy[float]:
    """Any float of the range, or one that 12 digits hold."""
    numbers = st.floats(low, high)
    return numbers.map(twelve_digits) if exact else numbers


@st.composite
def weights(draw: st.DrawFn, count: int) -> list[float]:
    parts = draw(st.lists(st.integers(0, 50), min_size=count, max_size=count).filter(any))
    return [twelve_digits(part / sum(parts)) for part in parts]


@st.composite
def entries(draw: st.DrawFn, weight: float, exact: bool) -> dict[str, Any]:
    op = draw(st.sampled_from(OPS))
    chances = {"probability": draw(floats(0, 1, exact)), "weight": weight}
    if op.unit is None:
        return {"op": op.name, **chances}
    signed = op.signed and draw(st.booleans())
    low, high = LIMITS.get(op.unit, (-1e6 if op.signed else 0.0, 1e6))
    low, high = op.meaning.within(1e6, signed) if op.unit == "strength" else (low, high)
    ends = {"low": draw(floats(low, high, exact)), "high": draw(floats(low, high, exact))}
    normal = {"location": draw(floats(-1e6, 1e6, exact)), "scale": draw(floats(0, 1e6, exact))}
    kinds = {"value": ends["low"]}, ends, {**ends, **normal}, {**ends, **normal, "uniform": True}
    magnitude = draw(st.sampled_from(kinds))
    return {"op": op.name, "unit": op.unit, "magnitude": magnitude, "signed": signed, **chances}


def json_values(exact: bool) -> st.SearchStrategy[Any]:
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | st.integers() | TEXT | (numbers.map(twelve_digits) if exact else numbers)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@st.composite
def documents(draw: st.DrawFn, exact: bool = True) -> dict[str, Any]:
    """What a file holds, keys in the order of the format. (Nothing of augrad runs while Hypothesis draws: the run-time
    type checks use random numbers.)"""
    subpolicies = []
    for weight in draw(weights(draw(st.integers(1, 3)))):
        stages = []
        for _ in range(draw(st.integers(1, 2))):
            stage_weights = draw(weights(draw(st.integers(1, 3))))
            stages.append([draw(entries(each, exact)) for each in stage_weights])
        subpolicies.append({"weight": weight, "stages": stages})
    return {
        "format": "augrad.policy",
        "version": 1,
        "interpolation": draw(st.sampled_from(("bilinear", "nearest"))),
        "fill": draw(floats(0, 1, exact)),
        "subpolicies": subpolicies,
        "provenance": draw(st.dictionaries(TEXT, json_values(exact), max_size=3)),
    }


MAGNITUDES = {1: Value, 2: Uniform, 4: LogitNormal, 5: UniformUpTo}
"""By their number of keys."""


def build(data: dict[str, Any]) -> PolicyDocument:
    """The document as Python code builds it."""

    def entry(item: dict[str, Any]) -> Entry:
        kind = item.get("magnitude")
        return Entry(**{**item, "magnitude": MAGNITUDES[len(kind)](**kind)} if kind else item)

    subpolicies = tuple(
        SubPolicy(weight=item["weight"], stages=tuple(tuple(map(entry, stage)) for stage in item["stages"]))
        for item in data["subpolicies"]
    )
    return PolicyDocument(**{**data, "subpolicies": subpolicies})


def key_orders(value: Any) -> Any:
    """The keys of all objects, in order."""
    if isinstance(value, dict):
        return [(key, key_orders(item)) for key, item in value.items() if key != "provenance"]
    return list(map(key_orders, value)) if isinstance(value, list) else None


@settings(max_examples=20, deadline=None)
@given(documents())
def test_reading_what_was_written_gives_the_document_back(data: dict[str, Any]) -> None:
    document = build(data)
    text = format_policy(document)
    assert parse_policy(text) == document
    assert parse_policy(text.encode()) == document
    assert format_policy(parse_policy(text)) == text
    assert text.endswith("\n}\n")
    assert json.loads(text) == data
    assert key_orders(json.loads(text)) == key_orders(data)


@settings(max_examples=20, deadline=None)
@given(documents(exact=False))
def test_any_number_is_written_with_12_digits_and_then_stays(data: dict[str, Any]) -> None:
    text = format_policy(build(data))
    assert format_policy(parse_policy(text)) == text
    # The numbers of provenance come last, in another order.
    written: list[str] = []
    json.loads(text, parse_float=written.append)
    original: list[str] = []
    json.loads(json.dumps({**data, "provenance": {}}), parse_float=original.append)
    for new, old in zip(written, original, strict=False):
        assert math.isclose(float(new), float(old), rel_tol=5e-12, abs_tol=1e-300)
    for number in written:
        digits = re.sub(r"e.*|[-.]", "", number).lstrip("0").rstrip("0")
        # Below 1e-307 a double has fewer digits than 12, and its shortest name may be a longer number's.
        assert len(digits) <= 12 or abs(float(number)) < 1e-307


@settings(max_examples=20, deadline=None)
@given(documents(), st.randoms())
def test_equal_documents_are_written_alike(data: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    document, twin = build(data), build({**data, "provenance": shuffled(data["provenance"])})
    assert twin == document
    assert format_policy(twin) == format_policy(document)
    assert parse_policy(json.dumps(shuffled(data))) == document


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (2 / 3, 1 / 6, 1 / 6)], ids=["down", "up"])
@pytest.mark.parametrize("edge", [1e-6, -1e-6])
def test_rounding_never_makes_an_accepted_sum_of_weights_a_refused_one(shares: tuple[float, ...], edge: float) -> None:
    """Rounding to 12 digits moves some of these sums across the edge of what is accepted."""
    accepted = 0
    for step in range(-40, 41):
        parts = [*shares[:2], shares[2] + edge + step * 1e-13]
        stage = tuple(Entry(op="identity", weight=part) for part in parts)
        try:
            subpolicy = SubPolicy(weight=1.0, stages=(stage,))
        except ValidationError:
            continue
        accepted += 1
        text = format_policy(PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(subpolicy,)))
        assert format_policy(parse_policy(text)) == text
    assert 0 < accepted < 81


def test_the_two_zeros_are_written_alike() -> None:
    for zero in (0.0, -0.0):
        entry = Entry(op="rotate", unit="degree", magnitude=Value(value=zero), probability=zero)
        subpolicy = SubPolicy(weight=1.0, stages=((entry,),))
        provenance = {"loss": zero}
        text = format_policy(
            PolicyDocument(interpolation="bilinear", fill=zero, subpolicies=(subpolicy,), provenance=provenance)
        )
        assert "-" not in text


def refused_or_stable(text: str | bytes) -> None:
    """Only PolicyFileError comes out, one line that begins with a place; what is accepted can be written and read."""
    try:
        document = parse_policy(text)
    except PolicyFileError as error:
        message = str(error)
        assert re.match(
            r'(document|line \d+, column \d+|([\w-]|\.|\[\d+\]|\["(\\.|[^"\\])*"\])+): expected .*, got ', message
        )
        assert message.isprintable()
        assert message.isascii()
        assert len(message) < 1000
        assert not re.search("pydantic|[Ii]nput should|validation|tuple|dict", message)
    else:
        written = format_policy(document)
        assert format_policy(parse_policy(written)) == written


STRANGE = st.sampled_from(
    [None, True, False, 0, 1, -1, 0.5, 2, 1e300, math.nan, math.inf, 10**400, [], {}, [[]], {"value": 1.0}]
)
STRANGE |= st.sampled_from(
    ["", "0.5", "rotate", "identity", "degree", "bits", "os.system", "\ud800", "\n", "\x1b[31m", {"low": 0, "high": 1}]
)
KEYS = st.sampled_from(
    ["op", "unit", "magnitude", "low", "location", "uniform", "weight", "weigth", "arguments", "", "a.b", "\ud800"]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A golden document with a few values replaced, removed, repeated or added."""
    data = json.loads(draw(st.sampled_from(GOLDENS)))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = data
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and draw(st.integers(0, 3)):
                at = at[key]
                continue
            action = draw(st.sampled_from(["replace", "remove", "repeat"]))
            if action == "replace":
                at[key] = copy.deepcopy(draw(STRANGE))
            elif action == "remove":
                del at[key]
            elif isinstance(at, list):
                at.insert(key, copy.deepcopy(at[key]))
            else:
                at[draw(KEYS)] = copy.deepcopy(at[key])
            break
    return json.dumps(data)


@settings(max_examples=100, deadline=None)
@given(mutated())
def test_mutated_documents_are_accepted_or_refused(text: str) -> None:
    refused_or_stable(text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOLDEN)), st.integers(0, 6), st.binary(max_size=4)), min_size=1, max_size=4)
)
def test_documents_with_mutated_bytes_are_accepted_or_refused(cuts: list[tuple[int, int, bytes]]) -> None:
    content = GOLDEN
    for start, length, insert in cuts:
        content = content[:start] + insert + content[start + length :]
    refused_or_stable(content)


@settings(max_examples=100, deadline=None)
@given(st.binary() | st.text(st.characters()) | st.text('[]{}",:\\0129.eE+-nulltrefasNI ', max_size=40))
def test_random_input_is_refused(text: str | bytes) -> None:
    refused_or_stable(text)
