"""How a refusal reads: `subpolicies[3].stages[0][1].magnitude: expected ..., got ...; what to do`."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from augrad.errors import PolicyFileError
from augrad.ops import definition
from augrad.policy.slots import MOST_STAGES, MOST_SUBPOLICIES

LARGEST = 1e6
"""No number of a policy is larger: it must stay finite, differences and products included, in single precision."""
TOLERANCE = 1e-6
"""Within which weights sum to 1."""
MOST_OPS = 256
MOST_EMPTY_PLACES = 10_000_000
"""A policy is a table of sub-policies x stages x operations, and so many of its places may have no operation: a short
document cannot ask for a huge table by one long sub-policy among thousands of short ones."""

_LONGEST_PLACE, _LONGEST_STRING = 160, 60
"""Characters in a message."""

Place = tuple[str | int, ...]
Advice = str | Callable[[], str]
"""What to do; a function, where that takes time: most problems of a document are only counted."""
_NUMBER = f"a number from {-LARGEST:.0f} to {LARGEST:.0f}"

EXPECTED = {
    **definition.EXPECTED,
    "format": '"augrad.policy"',
    "version": "a version number",
    "interpolation": '"bilinear" or "nearest"',
    "fill": "a number from 0 to 1",
    "definitions": f"an object with the definitions of at most {MOST_OPS} operations",
    "subpolicies": f"a list of 1 to {MOST_SUBPOLICIES} sub-policies",
    "provenance": "an object",
    "weight": "a number of at least 0, weights summing to 1",
    "stages": f"a list of 1 to {MOST_STAGES} stages",
    "op": "the name of an operation, a string",
    "unit": "the unit of the operation, a string",
    "magnitude": 'an object: {"value": v} or {"low": a, "high": b}, the latter also with "location" and "scale",'
    ' these also with "uniform": true',
    "signed": "true or false",
    "probability": "a number from 0 to 1",
    "value": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "location": _NUMBER,
    "scale": f"a number from 0 to {LARGEST:.0f}",
    "uniform": "true, or no such key",
}
"""What belongs under each key."""
STAGE = f"a stage, a list of 1 to {MOST_OPS} operations"
_EXPECTED_ITEM: dict[tuple[str, int], str] = {
    ("subpolicies", 1): "a sub-policy, an object with weight and stages",
    ("stages", 1): STAGE,
    ("stages", 2): "an operation, an object",
}


def describe(value: object, present: bool = True) -> str:
    """What came, in JSON's words and in at most about 60 characters of ASCII; "nothing" for what was not `present`."""
    if not present:
        return "nothing"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int():
            return repr(int(value)) if abs(value) < 10**20 else f"an integer of {value.bit_length()} bits"
        case float():
            if math.isnan(value):
                return "NaN"
            return repr(float(value)) if math.isfinite(value) else "an infinite number, or one too large to be held"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "an object" if value else "an empty object"
    return f"a value of type {type(value).__name__}"


def _quoted(text: str) -> str:
    """As JSON writes it: one character of the text may be 12 there."""
    kept = text[:40]
    while len(json.dumps(kept)) > _LONGEST_STRING:
        kept = kept[:-1]
    return json.dumps(kept if kept == text else f"{kept}...")


def format_place(place: Place) -> str:
    """`("stages", 0, 1, "op")` as `stages[0][1].op`; the document itself for the empty place.

    A place that would be long, deep in provenance, is its first and its last steps.
    """
    steps = [_step(step) for step in place]
    if sum(map(len, steps)) > _LONGEST_PLACE and len(steps) > 4:
        steps[2:-2] = ["..."]
    return "".join(steps).removeprefix(".") or "document"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", step) else f"[{describe(step)}]"


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the closest known one; nothing where none is close."""
    close = get_close_matches(name[:100], known, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def known_names(name: str, known: tuple[str, ...]) -> str:
    """The same, or all known names where none is close."""
    return suggestion(name, known) or f"known are {', '.join(known)}"


def refusal(place: Place, expected: str, got: str, advice: str = "") -> PolicyFileError:
    """The error for one problem at `place`."""
    return PolicyFileError(f"{format_place(place)}: {_sentence(expected, got, advice)}")


def problem(expected: str, got: str, *below: str | int, advice: Advice = "") -> PydanticCustomError:
    """For validators: the same, at the place being validated, or `below` it."""
    sentence = _sentence(expected, got, "" if callable(advice) else advice)
    later = {"advice": advice} if callable(advice) else {}
    return PydanticCustomError("policy_file", "{sentence}", {"sentence": sentence, "below": below, **later})


def first_refusal(error: ValidationError) -> PolicyFileError:
    """The first problem of a failed validation as one sentence, and how many more there are."""
    # Stopping at the first bad element makes a list look too short as well; the least length everywhere is 1.
    found = [e for e in error.errors(include_url=False) if not (e["type"] == "too_short" and e["input"])]
    first, more = found[0], len(found) - 1
    place = _strip_tags(first["loc"])
    if first["type"] == "policy_file" and "ctx" in first:
        place, sentence = place + first["ctx"]["below"], first["ctx"]["sentence"]
        if advice := first["ctx"].get("advice", str)():
            sentence = f"{sentence}; {advice}"
    elif first["type"] == "missing":
        sentence = _sentence(_expected(place), describe(None, present=False), "")
    else:
        sentence = _sentence(_expected(place), describe(first["input"]), "")
    count = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    return PolicyFileError(f"{format_place(place)}: {sentence}{count}")


def _sentence(expected: str, got: str, advice: str) -> str:
    return f"expected {expected}, got {got}" + (f"; {advice}" if advice else "")


def _strip_tags(location: tuple[Any, ...]) -> Place:
    """Validation names the kind of magnitude after `magnitude`; the file has no such step."""
    return tuple(step for index, step in enumerate(location) if index == 0 or location[index - 1] != "magnitude")


def _expected(place: Place) -> str:
    if not place:
        return "a JSON object"
    if len(place) == 2 and place[0] == "definitions":
        return "a definition, an object"
    if len(place) == 3 and place[0] == "definitions":
        return definition.EXPECTED[str(place[2])]
    if isinstance(last := place[-1], str):
        return EXPECTED[last]
    indices = next(count for count, step in enumerate(reversed(place)) if isinstance(step, str))
    return _EXPECTED_ITEM[str(place[-1 - indices]), indices]


@contextmanager
def told_in_words() -> Iterator[None]:
    """Inside, a part of a document made with something invalid raises PolicyFileError, which names the place."""
    try:
        yield
    except ValidationError as error:
        raise first_refusal(error) from None
