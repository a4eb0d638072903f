"""Writing and reading a document is the identity; whatever a file holds, only one kind of error comes out."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

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

GOLDEN = (Path(__file__).parent / "golden" / "version_1.json").read_bytes()
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
def entries(draw: st.DrawFn, weight: float, exact: bool) -> Entry:
    op = ops.get(draw(st.sampled_from(ops.names())))
    probability = draw(floats(0, 1, exact))
    if op.unit is None:
        return Entry(op=op.name, probability=probability, weight=weight)
    low, high = LIMITS.get(op.unit, (-1e6 if op.signed else 0.0, 1e6))
    ends = {"low": draw(floats(low, high, exact)), "high": draw(floats(low, high, exact))}
    normal = {"location": draw(floats(-1e6, 1e6, exact)), "scale": draw(floats(0, 1e6, exact))}
    kinds = Value(value=ends["low"]), Uniform(**ends), LogitNormal(**ends, **normal), UniformUpTo(**ends, **normal)
    return Entry(
        op=op.name,
        unit=op.unit,
        magnitude=draw(st.sampled_from(kinds)),
        signed=op.signed and draw(st.booleans()),
        probability=probability,
        weight=weight,
    )


def json_values(exact: bool) -> st.SearchStrategy[Any]:
    text = st.text(st.characters(exclude_categories=["Cs"]))
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | st.integers() | text | (numbers.map(twelve_digits) if exact else numbers)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))


@st.composite
def documents(draw: st.DrawFn, exact: bool = True) -> PolicyDocument:
    subpolicies = []
    for weight in draw(weights(draw(st.integers(1, 3)))):
        stages = []
        for _ in range(draw(st.integers(1, 2))):
            stage_weights = draw(weights(draw(st.integers(1, 3))))
            stages.append(tuple(draw(entries(each, exact)) for each in stage_weights))
        subpolicies.append(SubPolicy(weight=weight, stages=tuple(stages)))
    return PolicyDocument(
        interpolation=draw(st.sampled_from(("bilinear", "nearest"))),
        fill=draw(floats(0, 1, exact)),
        subpolicies=tuple(subpolicies),
        provenance=draw(
            st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values(exact), max_size=3)
        ),
    )


def plain(document: PolicyDocument) -> dict[str, Any]:
    """The document as the format's description has it, made without the code under test."""

    def entry(item: Entry) -> dict[str, Any]:
        moving = (
            {} if item.unit is None else {"unit": item.unit, "magnitude": vars(item.magnitude), "signed": item.signed}
        )
        return {"op": item.op, **moving, "probability": item.probability, "weight": item.weight}

    return {
        "format": "augrad.policy",
        "version": 1,
        "interpolation": document.interpolation,
        "fill": document.fill,
        "subpolicies": [
            {"weight": item.weight, "stages": [[entry(op) for op in stage] for stage in item.stages]}
            for item in document.subpolicies
        ],
        "provenance": document.provenance,
    }


def key_orders(value: Any) -> Any:
    return [(key, key_orders(item)) for key, item in value.items()] if isinstance(value, dict) else None


@settings(max_examples=25, deadline=None)
@given(documents())
def test_reading_what_was_written_gives_the_document_back(document: PolicyDocument) -> None:
    text = format_policy(document)
    assert parse_policy(text) == document
    assert parse_policy(text.encode()) == document
    assert format_policy(parse_policy(text)) == text
    assert text.endswith("\n}\n")
    loaded, expected = json.loads(text), plain(document)
    assert loaded == expected
    assert list(loaded) == list(expected)
    for left, right in zip(loaded["subpolicies"], expected["subpolicies"], strict=True):
        for stage, expected_stage in zip(left["stages"], right["stages"], strict=True):
            assert list(map(key_orders, stage)) == list(map(key_orders, expected_stage))


@settings(max_examples=25, deadline=None)
@given(documents(exact=False))
def test_any_number_is_written_with_12_digits_and_then_stays(document: PolicyDocument) -> None:
    text = format_policy(document)
    read = parse_policy(text)
    assert format_policy(read) == text
    for before, after in zip(document.subpolicies, read.subpolicies, strict=True):
        for old, new in zip(
            (entry for stage in before.stages for entry in stage),
            (entry for stage in after.stages for entry in stage),
            strict=True,
        ):
            assert math.isclose(new.probability, old.probability, rel_tol=5e-12, abs_tol=1e-300)
    written: list[str] = []
    json.loads(text, parse_float=written.append)
    for number in written:
        digits = re.sub(r"e.*|[-.]", "", number).lstrip("0").rstrip("0")
        # Below 1e-307 a double has fewer digits than 12, and its shortest name may be a longer number's.
        assert len(digits) <= 12 or abs(float(number)) < 1e-307


@settings(max_examples=15, deadline=None)
@given(documents(), st.randoms())
def test_equal_documents_are_written_alike(document: PolicyDocument, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    twin = PolicyDocument(**{**dict(document), "provenance": shuffled(document.provenance)})
    assert twin == document
    assert format_policy(twin) == format_policy(document)
    assert parse_policy(json.dumps(shuffled(plain(document)))) == document


def test_rounding_never_makes_an_accepted_sum_of_weights_a_refused_one() -> None:
    """Rounding to 12 digits moves these sums across the edge of what is accepted, in both directions."""
    accepted = 0
    for step in range(-40, 41):
        parts = [1 / 3, 1 / 3, 1 / 3 + 1e-6 + step * 1e-13]
        stage = tuple(Entry(op="identity", weight=part) for part in parts)
        try:
            subpolicy = SubPolicy(weight=1.0, stages=(stage,))
        except ValidationError:
            continue
        accepted += 1
        text = format_policy(PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(subpolicy,)))
        assert format_policy(parse_policy(text)) == text
    assert 0 < accepted < 81


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
    ["op", "unit", "magnitude", "low", "location", "uniform", "weight", "weigth", "", "a.b", "\ud800"]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The golden document with a few values replaced, removed, repeated or added."""
    data = json.loads(GOLDEN)
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
                at[key] = draw(STRANGE)
            elif action == "remove":
                del at[key]
            elif isinstance(at, list):
                at.insert(key, copy.deepcopy(at[key]))
            else:
                at[draw(KEYS)] = copy.deepcopy(at[key])
            break
    return json.dumps(data)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_mutated_documents_are_accepted_or_refused(text: str) -> None:
    refused_or_stable(text)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOLDEN)), st.integers(0, 6), st.binary(max_size=4)), min_size=1, max_size=4)
)
def test_documents_with_mutated_bytes_are_accepted_or_refused(cuts: list[tuple[int, int, bytes]]) -> None:
    content = GOLDEN
    for start, length, insert in cuts:
        content = content[:start] + insert + content[start + length :]
    refused_or_stable(content)


@settings(max_examples=150, deadline=None)
@given(st.binary() | st.text(st.characters()) | st.text('[]{}",:\\0129.eE+-nulltrefasNI ', max_size=40))
def test_random_input_is_refused(text: str | bytes) -> None:
    refused_or_stable(text)
