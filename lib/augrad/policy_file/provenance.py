"""Where a policy comes from: any JSON object, copied and checked, so that a document holds nothing else than JSON."""

import math
from typing import Any

from augrad.policy_file.refusals import describe, problem

DEEPEST = 64
"""Levels of nesting of a whole document; provenance is one level below."""
LONGEST_INTEGER = 309
"""Digits: longer ones are larger than any double."""
_TOO_LARGE = 10**LONGEST_INTEGER


def copy_provenance(value: object, own: bool = False) -> object:
    """A deep copy of `value` made of plain dict, list, str, int, float, bool and None; tuples become lists.

    own: nobody else has `value`, which is plain JSON: it is checked and comes back as it is.
    Raises a validation problem naming the place for anything else, a number that is not finite, text that UTF-8 cannot
    hold, or nesting so deep that the document would have more than 64 levels.
    """
    # Anything but an object is refused by the field's own type.
    return _copy(value, (), own) if isinstance(value, dict) else value


def _is_plain(value: object) -> bool:
    """Whether it is a value that needs neither a copy nor a closer look: most of a long list are."""
    kind = type(value)
    return (
        (kind is str and value.isascii())  # type: ignore[union-attr]
        or (kind is float and math.isfinite(value))  # type: ignore[arg-type]
        or (kind is int and -_TOO_LARGE < value < _TOO_LARGE)  # type: ignore[operator]
        or kind is bool
        or value is None
    )


def _copy(value: object, below: tuple[str | int, ...], own: bool) -> Any:
    if len(below) >= DEEPEST - 1 and isinstance(value, dict | list | tuple):
        raise problem(f"at most {DEEPEST} levels of nesting", "more", *below)
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, below)
        case int() if abs(value) < _TOO_LARGE:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case list() | tuple():
            items = [item if _is_plain(item) else _copy(item, (*below, index), own) for index, item in enumerate(value)]
            return value if own else items
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise problem("keys that are strings", describe(key), *below)
            copied = {
                _text(key, below): item if _is_plain(item) else _copy(item, (*below, key), own)
                for key, item in value.items()
            }
            return value if own else copied
    raise problem("an object, list, string, finite number, true, false or null", describe(value), *below)


def _text(text: str, below: tuple[str | int, ...]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise problem("Unicode text", f"half a surrogate pair in {describe(text)}", *below) from None
    return str(text)
