"""Which operations, and ranges, a policy's draws and parameters are over: text that travels with them."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from augrad.errors import UserError

Places = Sequence[Sequence[Sequence[int]]]
Range = tuple[float, float, bool, bool]
"""low, high, signed and uniform of a candidate, see `augrad.policy.slots.Slot`."""


def layout_of(names: Sequence[str], places: Places, *ranges: Sequence[Range | None] | Places) -> str:
    """The layout of a policy, as JSON: its operations `names` in their order, and its candidates.

    places: [S][L][K], the operation of each candidate as an index into `names`. ranges: nothing, as draws have it,
    whose magnitudes are in absolute units; or, as parameters need it, the different ranges (None for operations without
    a magnitude) and, [S][L][K], the range of each candidate as an index into them.
    """
    return json.dumps([names, places, *ranges], separators=(",", ":"), ensure_ascii=False)


def require_same_operations(layout: str, own: str, expected: str, advice: str) -> None:
    """Raise UserError where a candidate of `layout` has an operation that is another one, or none, in `own`.

    Hard draws are indices into the operations. An empty layout is not known, and passes. expected, advice: what the
    message begins and ends with.
    """
    if layout in ("", own):
        return
    (names, places, *_), (own_names, _) = _read(layout, expected), json.loads(own)
    used = {index for stages in places for stage in stages for index in stage}
    if any(names[index : index + 1] != own_names[index : index + 1] for index in used):
        raise UserError(f"{expected}, got {_difference(names, own_names)}; {advice}")


def require_same_places(layout: str, own: str, expected: str, advice: str) -> None:
    """Raise UserError unless `layout` and `own` have the same operation in each of their places [S][L][K].

    Relaxed draws and parameters are by place. An empty layout is not known, and passes. expected, advice: what the
    message begins and ends with.
    """
    if layout in ("", own):
        return
    (names, places, *_), (own_names, own_places) = _read(layout, expected), json.loads(own)
    if _named(names, places) != _named(own_names, own_places):
        different = _difference(names, own_names)
        if _shape(places) != _shape(own_places):
            different = f"{different} ({_shape(places)} instead of {_shape(own_places)})"
        raise UserError(f"{expected}, got {different}; {advice}")


def require_same_ranges(layout: str, own: str, expected: str, advice: str) -> None:
    """Raise UserError unless each candidate of `layout` has the range that it has in `own`, a layout with ranges.

    Both have the same places. A layout without ranges does not know them, and passes. expected, advice: what the
    message begins and ends with.
    """
    if layout in ("", own):
        return
    names, places, *theirs = _read(layout, expected)
    _, _, own_ranges, own_indices = json.loads(own)
    if not theirs:
        return
    ranges, indices = theirs
    for place, index, own_index in zip(*map(_candidates, (places, indices, own_indices)), strict=True):
        if ranges[index] != own_ranges[own_index]:
            name, there, here = names[place], _worded(ranges[index]), _worded(own_ranges[own_index])
            raise UserError(f"{expected}, got {name} {there} instead of {here}; {advice}")


def common_layout(layouts: Iterable[str], by_place: bool = False) -> str:
    """The layout of draws that are joined; empty, which is not known, where that of one is not known.

    Of different ones it has all sub-policies, and an empty one, which makes it that of no policy: such draws are over
    the same operations, but not in the places of any. Raises UserError where their operations differ, of relaxed draws
    (`by_place`) those in a place.
    """
    require, expected = require_same_places, "concatenate: expected samples over the same operations"
    require = require if by_place else require_same_operations
    first, *others = sorted(set(layouts), reverse=True)  # an empty one last
    for other in others:
        require(other, first, expected, "join others")
    if "" in (first, *others):
        return ""
    if not others or by_place:
        return first
    names, *_ = _read(first, expected)
    subpolicies = [stages for layout in (first, *others) for stages in _read(layout, expected)[1]] + [[]]
    return layout_of(names, list({json.dumps(stages): stages for stages in subpolicies}.values()))


def _read(layout: str, expected: str) -> list[Any]:
    """Names and places and, if they are there, ranges and their places."""
    try:
        parts = json.loads(layout)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or len(parts) not in (2, 4):
        raise UserError(f"{expected}, got {layout[:40]!r}, which names none; it is damaged")
    return parts


def _candidates(places: Places) -> list[int]:
    return [index for stages in places for stage in stages for index in stage]


def _worded(given: Sequence[Any] | None) -> str:
    if given is None:
        return "without a magnitude"
    low, high, signed, uniform = given
    more = [word for word, holds in (("signed", signed), ("uniform", uniform)) if holds]
    return f"from {low:g} to {high:g}" + (f" ({', '.join(more)})" if more else "")


def _named(names: Sequence[str], places: Places) -> list[list[list[str]]]:
    return [[[names[index] for index in stage] for stage in stages] for stages in places]


def _difference(names: Sequence[str], own: Sequence[str]) -> str:
    strange = ", ".join(name for name in names if name not in own)
    missing = ", ".join(name for name in own if name not in names)
    if strange and missing:
        return f"{strange} instead of {missing}"
    if strange or missing:
        return f"{strange} besides" if strange else f"none of {missing}"
    return f"{', '.join(names)} instead of {', '.join(own)}" if names != own else "the same in other places"


def _shape(places: Places) -> str:
    stages = max(len(stages) for stages in places)
    width = max(len(stage) for stages in places for stage in stages)
    return f"{len(places)} sub-policies of {stages} stages of {width} candidates"
