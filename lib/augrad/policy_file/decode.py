"""From bytes to plain JSON values, with everything refused that JSON readers differ about or stumble over."""

import json
import re
from typing import Any

from augrad.errors import PolicyFileError
from augrad.policy_file.provenance import DEEPEST, LONGEST_INTEGER
from augrad.policy_file.refusals import Place, describe, refusal

LARGEST_FILE = 16 * 2**20
"""Bytes."""
MOST_OBJECTS = 1_000_000
"""Objects and lists of a document. In memory one takes as much as a hundred bytes of text; operations alone, within
their own limits, cannot be so many."""
_OTHER_FORMATS = {
    b"\x1f\x8b": "it is compressed: unpack it first",
    b"PK\x03\x04": "it is a zip archive: unpack it first",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
}

# Possessive repeats: linear in the length of the text, also for strings that never end.
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)


def decode(text: str | bytes) -> Any:
    """The JSON value of `text`; numbers beyond a double's range become infinities, for the schema to refuse in place.

    Raises PolicyFileError for text that is larger than 16 MiB, not UTF-8, empty, not JSON, nested deeper than 64
    levels, of more than a million objects and lists, or with a key twice in one object.
    """
    text = _unicode(text)
    if not text.strip():
        raise refusal((), "a JSON object", "nothing: the file is empty")
    _check_brackets(text)
    repeated: list[_Repeated] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            made = _Repeated(made)
            seen: set[str] = set()
            made.key = next(key for key, _ in pairs if key in seen or seen.add(key))
            repeated.append(made)
        return made

    try:
        value = json.loads(text, object_pairs_hook=make_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        hint = error.msg[0].lower() + error.msg[1:]
        raise PolicyFileError(
            f"line {error.lineno}, column {error.colno}: expected JSON, got something else: {hint}"
        ) from None
    if repeated:
        # One that is not found sits in a value that a repeated key replaced; then the object around it is found.
        place = _find(value, ())
        assert place is not None
        raise refusal(place, "each key once", f"{describe(place[-1])} twice in one object", "remove one")
    return value


class _Repeated(dict[str, Any]):
    """An object that had `key` more than once."""

    __slots__ = ("key",)
    key: str


def _unicode(text: str | bytes) -> str:
    size = len(text)
    try:
        if isinstance(text, str):
            # Text is at most four bytes a character; measure only what may be too large.
            size = len(text.encode()) if 4 * size > LARGEST_FILE or not text.isascii() else size
        elif size <= LARGEST_FILE:
            text = text.decode()
    except UnicodeDecodeError as error:
        what = next((words for start, words in _OTHER_FORMATS.items() if error.object.startswith(start)), "")
        raise refusal(
            (), "UTF-8 text", f"the byte 0x{error.object[error.start]:02x} at position {error.start}", what
        ) from None
    except UnicodeEncodeError as error:
        raise refusal((), "Unicode text", f"half a surrogate pair at position {error.start}") from None
    if size > LARGEST_FILE:
        raise refusal((), f"at most {LARGEST_FILE} bytes (16 MiB)", f"{size} or more", "is this a policy file?")
    assert isinstance(text, str)
    return text.removeprefix("\ufeff")


def _check_brackets(text: str) -> None:
    depth, count = 0, 0
    for match in _STRINGS_AND_BRACKETS.finditer(text):
        token = match[0]
        if token in "[{":
            depth, count = depth + 1, count + 1
            if depth > DEEPEST or count > MOST_OBJECTS:
                at = match.start()
                line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
                most = f"{DEEPEST} levels of nesting" if depth > DEEPEST else f"{MOST_OBJECTS} objects and lists"
                raise PolicyFileError(f"line {line}, column {column}: expected at most {most}, got more")
        elif token in "]}":
            depth -= 1


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits.lstrip("-")) <= LONGEST_INTEGER else float(digits)


def _find(value: Any, place: Place) -> Place | None:
    """The place of the first repeated key."""
    if isinstance(value, _Repeated):
        return (*place, value.key)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _find(item, (*place, key))) is not None), None)
