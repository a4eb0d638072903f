"""What the policies of several searches agree on: of every operation the mean, and how far apart they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.table import Table

from augrad.atomic import write_text
from augrad.policy_file import PolicyDocument
from augrad.show.page import rendered
from augrad.show.profile import Profile, mean_shares, profile_of, total_variation
from augrad.show.words import describe_amount, number, share, short_names
from augrad.terminal.console import Words


@dataclass(frozen=True)
class Agreement:
    """An operation in several policies.

    shares: how often an image meets it in a stage, by policy. strengths: its mean magnitudes in words, the mean over
    the policies that have it, the smallest and the largest; None where it has no magnitude.
    """

    op: str
    shares: tuple[float, ...]
    strengths: tuple[str, str, str] | None

    @property
    def share(self) -> float:
        """The mean over the policies."""
        return fmean(self.shares)


def agreements_of(documents: Sequence[PolicyDocument]) -> tuple[list[Agreement], list[float]]:
    """Of every operation, the largest mean share first; and how far each policy's shares are from their mean.

    The distance is the total variation. Policies count alike.
    """
    profiles = [profile_of(document) for document in documents]
    means = mean_shares(profiles)
    rows = [Agreement(op, tuple(one.shares.get(op, 0.0) for one in profiles), _strengths(profiles, op)) for op in means]
    return rows, [total_variation(one.shares, means) for one in profiles]


def _strengths(profiles: Sequence[Profile], op: str) -> tuple[str, str, str] | None:
    found = [(one.strengths[op], one.units[op]) for one in profiles if op in one.strengths]
    if not found:
        return None
    values, units = zip(*found, strict=True)
    mean, low, high = (describe_amount(op, units[0], value) for value in (fmean(values), min(values), max(values)))
    return mean, low, high


def agreement_in_words(documents: Sequence[PolicyDocument]) -> Iterator[str | Table]:
    """What to print: how far apart the policies are, and a table."""
    rows, distances = agreements_of(documents)
    yield f"{len(documents)} policies, {_distances(distances)}"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("operation", "share", "lowest to highest", "strength", "lowest to highest"):
        table.add_column(name, justify="left" if name == "operation" else "right", no_wrap=name != "operation")
    short = short_names(row.op for row in rows)
    for row in rows:
        mean, low, high = row.strengths or ("–", "", "")
        span = f"{low} to {high}" if low != high else low
        table.add_row(Words(short[row.op]), share(row.share), _span(row.shares), mean, span)
    yield table


def write_agreement(path: str, documents: Sequence[PolicyDocument], names: Sequence[str]) -> None:
    """Write the same as a page, atomically. names: of the policies. Raises UserError if it cannot be written."""
    rows, distances = agreements_of(documents)
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


def _distances(distances: Sequence[float]) -> str:
    return f"total variation of their shares from the mean {', '.join(number(apart, 3) for apart in distances)}"


def _span(shares: Sequence[float]) -> str:
    return f"{share(min(shares))} to {share(max(shares))}"
