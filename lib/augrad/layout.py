"""Which operations a policy's draws and parameters are over: text that travels with them."""

import json
from collections.abc import Iterable, Sequence

from augrad.errors import UserError

Places = Sequence[Sequence[Sequence[int]]]


def layout_of(names: Sequence[str], places: Places) -> str:
    """The layout of a policy, as JSON: its operations `names` in their order, and its candidates.

    places: [S][L][K], the operation of each candidate as an index into `names`.
    """
    return json.dumps([names, places], separators=(",", ":"), ensure_ascii=False)


def require_same_operations(layout: str, own: str, expected: str, advice: str) -> None:
    """Raise UserError where a candidate of `layout` has an operation that is another one, or none, in `own`.

    Hard draws are indices into the operations. An empty layout is not known, and passes. expected, advice: what the
    message begins and ends with.
    """
    if layout in ("", own):
        return
    (names, places), (own_names, _) = _read(layout, expected), json.loads(own)
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
    (names, places), (own_names, own_places) = _read(layout, expected), json.loads(own)
    if _named(names, places) != _named(own_names, own_places):
        different = _difference(names, own_names)
        if _shape(places) != _shape(own_places):
            different = f"{different} ({_shape(places)} instead of {_shape(own_places)})"
        raise UserError(f"{expected}, got {different}; {advice}")


def common_layout(layouts: Iterable[str]) -> str:
    """The layout of hard draws that are joined; empty, which is not known, where they do not have one and the same.

    Raises UserError where their operations differ.
    """
    first, *others = sorted(set(layouts), reverse=True)  # an empty one last
    for other in others:
        require_same_operations(other, first, "concatenate: expected samples over the same operations", "join others")
    return "" if others else first


def _read(layout: str, expected: str) -> tuple[list[str], list[list[list[int]]]]:
    try:
        names, places = json.loads(layout)
    except ValueError:
        raise UserError(f"{expected}, got {layout[:40]!r}, which names none; it is damaged") from None
    return names, places


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
