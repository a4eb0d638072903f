"""The report of a run: one HTML file that needs nothing else, on a desk or on a phone, by day or by night."""

import base64
import importlib.resources
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from augrad.atomic import write_text
from augrad.errors import UserError
from augrad.policy_file import PolicyDocument
from augrad.show.progress import duration
from augrad.show.statistics import ComparisonRow, difference, find_row, mean_interval, points, without_interval
from augrad.show.verdict import judge
from augrad.show.words import number, operation_masses, policy_rows, share, short_names
from augrad.terminal.output import writable

_MOST_ROWS = 40
"""Operations that the table of the policy shows; the rest is in the policy file."""
_LEGENDS = {
    "evolution": "How the search went.",
    "examples": "What the policy does: originals, and draws on each.",
    "comparison": "Each policy under the same recipe.",
}


def write_report(
    path: str | os.PathLike[str],
    title: str,
    document: PolicyDocument,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
    comparison: Sequence[ComparisonRow] | None = None,
    summary: Mapping[str, Any] | None = None,
    config_text: str = "",
    reference: str = "learned",
) -> None:
    """Write the report to `path`, atomically.

    rows: the metrics. figures: PNG files by name, shown in that order. comparison: test accuracies; the row `reference`
    is judged against the others. summary: facts of the run. config_text: the composed configuration.
    Raises `UserError` if a figure cannot be read or the report cannot be written.
    """
    template = importlib.resources.files("augrad.show").joinpath("report.html.jinja").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    every = policy_rows(document)
    names = short_names(dict.fromkeys(["identity", *(row.op for row in every)]))
    environment.filters["share"] = share
    environment.filters["short"] = names.__getitem__
    html = environment.from_string(template).render(
        title=title,
        verdict=judge(comparison, reference) if comparison else None,
        results=[_result(row, comparison, reference) for row in comparison or ()],
        paired=find_row(comparison or (), reference) is not None,
        reference=reference,
        masses=[(op, mass) for op, mass in operation_masses(document).items() if mass >= 0.005],
        rows=every[:_MOST_ROWS],
        left_out=len(every[_MOST_ROWS:]),
        several=len(document.subpolicies) > 1,
        figures=[(name, _LEGENDS.get(name, name), _embedded(figure)) for name, figure in figures.items()],
        facts=[*_facts_of(rows), *_flat(summary or {})],
        config_text=config_text,
    )
    write_text(path, writable(html))


def _result(row: ComparisonRow, rows: Sequence[ComparisonRow] | None, reference: str) -> dict[str, Any]:
    """One line of the comparison, in words."""
    interval = mean_interval(row.accuracies)
    against = difference(rows or (), row.name, reference)
    words = without_interval(interval)
    if interval.low is not None and interval.high is not None and words is None:
        words = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    return {
        "name": row.name,
        "is_reference": row.name == reference,
        "mean": f"{100 * interval.mean:.1f}%",
        "interval": words,
        "seeds": interval.n,
        "difference": points(against) if against else "",
    }


def _facts_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the metrics say about the run as a whole."""
    steps = [row["step"] for row in rows if isinstance(row.get("step"), int)]
    if steps:
        yield "last step", str(max(steps))
    for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "selection_accuracy"):
        values = [value for row in rows if isinstance(value := row.get(key), int | float) and math.isfinite(value)]
        if values:
            yield _words(key), _value(key, values[-1])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield _words(f"{prefix}{key}"), _value(str(key), value)


def _words(key: str) -> str:
    words = key.replace("_", " ")
    for short, long in (("train ", "training "), ("val ", "validation ")):
        words = long + words.removeprefix(short) if words.startswith(short) else words
    return words


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int | float) and math.isfinite(value):
        if "accuracy" in key and 0 <= value <= 1:
            return number(100 * value, 1) + "%"
        if key.endswith("seconds"):
            return duration(value) if value >= 10 else f"{value:.2g} s"
        return str(value) if isinstance(value, int) else f"{value:.4g}".replace("-", "\u2212")
    if isinstance(value, list | tuple):
        return ", ".join(_value(key, item) for item in value)
    return str(value)


def _embedded(figure: Path) -> str:
    try:
        data = Path(figure).read_bytes()
    except OSError as error:
        raise UserError(
            f"{figure}: cannot read this figure ({error.strerror or error}); expected a PNG file"
        ) from error
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
