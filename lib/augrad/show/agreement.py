"""What several policies agree on: of every operation the mean, and how far apart they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from augrad.atomic import write_text
from augrad.policy_file import PolicyDocument
from augrad.show.page import rendered
from augrad.show.profile import Profile, profiles_of, total_variation
from augrad.show.words import describe_amount, number, share, short_names
from augrad.terminal.console import Words


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


def agreement_in_words(documents: Sequence[PolicyDocument], together: PolicyDocument) -> Iterator[str | Table]:
    """What to print: how far apart the policies are, and a table; see `agreements_of`."""
    rows, distances = agreements_of(documents, together)
    yield f"{len(documents)} policies; total variation of their shares from the merged policy's:"
    yield "  ".join(number(apart, 3) for apart in distances)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("operation", "share", "lowest to highest", "strength", "lowest to highest"):
        table.add_column(name, justify="left" if name == "operation" else "right", no_wrap=name != "operation")
    short = short_names(row.op for row in rows)
    for row in rows:
        mean, low, high = row.strengths or ("–", "", "")
        span = f"{low} to {high}" if low != high else low
        table.add_row(Words(short[row.op]), share(row.share), _span(row.shares), mean, span)
    yield table


def write_agreement(
    path: str, documents: Sequence[PolicyDocument], together: PolicyDocument, names: Sequence[str]
) -> None:
    """Write the same as a page, atomically. names: of the policies. Raises UserError if it cannot be written."""
    rows, distances = agreements_of(documents, together)
    widest = max(max(row.shares) for row in rows)
    html = rendered(
        "agreement.html.jinja",
        short_names(row.op for row in rows),
        title=f"{len(documents)} policies",
        policies=[(name, number(apart, 3)) for name, apart in zip(names, distances, strict=True)],
        rows=[
            {
                "op": row.op,
                "share": share(row.share),
                "span": _span(row.shares),
                "mean": row.share / widest,
                "places": [value / widest for value in row.shares],
                "strength": row.strengths and row.strengths[0],
                "strengths": row.strengths and f"{row.strengths[1]} to {row.strengths[2]}",
            }
            for row in rows
        ],
    )
    write_text(path, html)


def _span(shares: Sequence[float]) -> str:
    return f"{share(min(shares))} to {share(max(shares))}"
