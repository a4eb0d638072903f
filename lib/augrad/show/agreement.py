"""What several policies agree on: of every operation the mean, and how far apart they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from augrad.atomic import write_text
from augrad.policy_file import PolicyDocument
from augrad.show.about import counted
from augrad.show.page import rendered
from augrad.show.profile import Profile, profiles_of, total_variation
from augrad.show.table import Fitting
from augrad.show.words import describe_amount, number, share, short_names


@dataclass(frozen=True)
class Agreement:
    """An operation in several policies, and in the one that they become together.

    share: how often an image meets it in a stage of the merged policy; shares: of each of the others. strengths: its
    mean magnitudes in words, that of the merged policy, the smallest and the largest; None where it has no magnitude.
    """

    op: str
    share: float
    shares: tuple[float, ...]
    strengths: tuple[str, str, str] | None


def agreements_of(documents: Sequence[PolicyDocument], together: PolicyDocument) -> tuple[list[Agreement], list[float]]:
    """Of every operation, the largest share of the merged policy first; and how far each policy's shares are from it.

    The distance is the total variation. together: `augrad.policy_file.edit.merged` of the documents.
    """
    merged, *profiles = profiles_of(together, *documents)
    rows = [
        Agreement(op, share, tuple(one.shares.get(op, 0.0) for one in profiles), _strengths(merged, profiles, op))
        for op, share in merged.shares.items()
    ]
    return rows, [total_variation(one.shares, merged.shares) for one in profiles]


def _strengths(merged: Profile, profiles: Sequence[Profile], op: str) -> tuple[str, str, str] | None:
    if op not in merged.strengths:
        return None
    found = [one.strengths[op] for one in profiles if op in one.strengths]
    mean, low, high = (
        describe_amount(op, merged.units[op], value) for value in (merged.strengths[op], min(found), max(found))
    )
    return mean, low, high


def agreement_in_words(documents: Sequence[PolicyDocument], together: PolicyDocument) -> Iterator[str | Fitting]:
    """What to print: how far apart the policies are, and a table; see `agreements_of`."""
    rows, distances = agreements_of(documents, together)
    yield f"{counted(len(documents), 'policy', 'policies')}; total variation of their shares from the merged policy's:"
    yield "  ".join(number(apart, 3) for apart in distances)
    short = short_names(row.op for row in rows)
    lines = []
    for row in rows:
        strength = row.strengths or ("–", "", "")
        lines.append((short[row.op], share(row.share), _span(row.shares), strength[0], _between(*strength[1:])))
    head = ("operation", "share", "lowest to highest", "strength", "lowest to highest")
    yield Fitting(head, lines, [(0, 1, 2, 3, 4), (0, 1, 2, 3), (0, 1, 3), (0, 1)])


def write_agreement(
    path: str,
    documents: Sequence[PolicyDocument],
    together: PolicyDocument,
    names: Sequence[str],
    weights: Sequence[float] | None = None,
) -> None:
    """Write the same as a page, atomically. names: of the policies; weights: theirs, None if they are all alike.

    The bars are as long as the largest share of an operation; identity, which is none, has no bar. Raises UserError if
    the page cannot be written.
    """
    rows, distances = agreements_of(documents, together)
    widest = max((max(*row.shares, row.share) for row in rows if row.op != "identity"), default=1.0) or 1.0
    given = [1.0] * len(documents) if weights is None else list(weights)
    html = rendered(
        "agreement.html.jinja",
        short_names(row.op for row in rows),
        title=counted(len(documents), "policy", "policies"),
        policies=[
            (name, share(weight / sum(given)), number(apart, 3))
            for name, weight, apart in zip(names, given, distances, strict=True)
        ],
        rows=[
            {
                "op": row.op,
                "share": share(row.share),
                "span": _span(row.shares),
                "mean": row.share / widest,
                "places": [] if row.op == "identity" else [value / widest for value in row.shares],
                "strength": row.strengths and row.strengths[0],
                "strengths": row.strengths and _between(*row.strengths[1:]),
            }
            for row in rows
        ],
    )
    write_text(path, html)


def _span(shares: Sequence[float]) -> str:
    return _between(share(min(shares)), share(max(shares)))


def _between(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
