"""How two policies differ: in shares, and in units."""

import math
from collections.abc import Iterator, Sequence

from augrad.policy_file import PolicyDocument
from augrad.show.about import describe_shape
from augrad.show.profile import Profile, profiles_of, strength_in_words, total_variation
from augrad.show.table import Fitting
from augrad.show.words import describe_amount, number, share, short_names

_CLOSE, _SEEN = 1e-9, 5e-5
"""What two numbers differ by that are the same but for rounding, and shares that nobody would tell apart."""
_CAPTION = (
    "share: of the images in a stage, in per cent; change in points. strength: the mean magnitude in the operation's "
    "unit, without its sign where it goes both ways."
)
_SHORTER = "The policy with fewer stages has identity in the stages that it lacks, which counts among its shares."


def difference_in_words(documents: Sequence[PolicyDocument], names: Sequence[str]) -> Iterator[str | Fitting]:
    """What to print of two policies A and B that are called `names`: lines, and a table of operations.

    Operations whose shares are the farthest apart come first; those that are the same in both are left out.
    """
    profiles = profiles_of(*documents)
    for letter, name, document, profile in zip("AB", names, documents, profiles, strict=True):
        yield f"{letter}: {name}"
        yield f"   {describe_shape(document)}, {number(profile.applied, 2)} operations an image"
    apart = total_variation(profiles[0].shares, profiles[1].shares)
    yield f"total variation of the shares: {_least(apart, 3)} (0: alike, 1: nothing in common)"
    rows = _rows(profiles)
    defined = _defined_otherwise(documents)
    if defined:
        yield f"defined otherwise: {', '.join(defined)} (--text shows how)"
    if not rows and not defined:
        yield "shares and mean strengths are the same: how they are combined or drawn differs (--text shows how)"
    if not rows:
        return
    short = short_names(op for op, *_ in rows)
    head = ("operation", "share A", "B", "change", "strength A", "B", "change")
    lines = [(short[op], *cells) for op, *cells in rows]
    stages = {max(len(subpolicy.stages) for subpolicy in document.subpolicies) for document in documents}
    caption = f"{_CAPTION} {_SHORTER}" if len(stages) > 1 else _CAPTION
    yield Fitting(head, lines, [tuple(range(7)), (0, 1, 2, 4, 5), (0, 1, 2), (0, 3)], caption)


def _defined_otherwise(documents: Sequence[PolicyDocument]) -> list[str]:
    """The operations of both whose definitions, the users' own, are not the same."""
    first, second = (document.definitions for document in documents)
    return [op for op in first if op in second and first[op] != second[op]]


def _rows(profiles: Sequence[Profile]) -> list[tuple[str, ...]]:
    """Of every operation that is not the same in both."""
    first, second = profiles
    found: list[tuple[float, tuple[str, ...]]] = []
    for op in dict.fromkeys([*first.shares, *second.shares]):
        shares = [profile.shares.get(op, 0.0) for profile in profiles]
        moved = shares[1] - shares[0]
        shift = _shift(first, second, op)
        if abs(moved) > _SEEN or shift:
            points = _signed(moved) + _least(100 * abs(moved), 0 if abs(moved) >= 0.0995 else 1) if moved else ""
            words = (strength_in_words(profile, op) for profile in profiles)
            found.append((abs(moved), (op, *map(share, shares), points, *words, shift)))
    return [row for _, row in sorted(found, key=lambda item: -item[0])]


def _shift(first: Profile, second: Profile, op: str) -> str:
    """How the mean magnitude changes; nothing where it does not, or is not in both."""
    if op not in first.strengths or op not in second.strengths:
        return ""
    change = second.strengths[op] - first.strengths[op]
    words = describe_amount(op, first.units[op], abs(change))
    if math.isclose(change, 0.0, abs_tol=_CLOSE) or words == describe_amount(op, first.units[op], 0.0):
        return ""
    return _signed(change) + words


def _signed(value: float) -> str:
    return "−" if value < 0 else "+"


def _least(value: float, decimals: int) -> str:
    """A number of at least 0, with as many decimals more as it takes for it not to look like 0."""
    while value > 0 and number(value, decimals) == "0":
        decimals += 1
    return number(value, decimals)
