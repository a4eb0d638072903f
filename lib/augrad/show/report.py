"""The report of a run: one HTML file that needs nothing else, on a desk or on a phone, by day or by night."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from augrad.atomic import write_text
from augrad.comparison.differences import best_of
from augrad.comparison.rows import TrainingRow
from augrad.comparison.statistics import Interval, change, points, without_interval
from augrad.comparison.summary import Line, lines_of
from augrad.comparison.verdict import judge
from augrad.errors import UserError
from augrad.policy_file import PolicyDocument
from augrad.show.facts import facts_of, words_of_key, words_of_value
from augrad.show.page import data_uri, rendered, visible_masses
from augrad.show.words import policy_rows, short_names

_MOST_ROWS = 40
"""Operations that the table of the policy shows; the rest is in the policy file."""
NARROW = "_narrow"
"""The end of the name of a figure that takes the place of another one on narrow screens."""
_PHOTOGRAPHS = frozenset({"examples"})
"""Figures that show images, whose colours stay what they are on dark pages, too."""
_LEGENDS = {
    "evolution": "How the search went. What was taken of it, and how far the policy lies from there, is said above.",
    "examples": "What the policy does: originals, and draws on each.",
    "comparison": "How much better each policy is than the best of the others, under the same recipe.",
}


def write_report(path: str | os.PathLike[str], figures: Mapping[str, Path], **parts: Any) -> None:
    """Write the report to `path`, atomically. figures: PNG files by name. parts: the others of `report_page`.

    Raises `UserError` if a figure cannot be read or the report cannot be written.
    """
    write_text(path, report_page(figures={name: _read(figure) for name, figure in figures.items()}, **parts))


def report_page(
    title: str,
    document: PolicyDocument | None,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, bytes],
    comparison: Sequence[TrainingRow] | None = None,
    summary: Mapping[str, Any] | None = None,
    config_text: str = "",
    reference: str = "learned",
    taken: str = "",
    data: Sequence[str] = (),
    further: Sequence[str] = (),
) -> str:
    """The report as HTML.

    document: the policy; None: the page is about the comparison alone. rows: the metrics. figures: PNG images by
    name, shown in that order; NAME_narrow is the same as NAME for narrow screens. comparison: trainings; the policy
    `reference` is judged against the others. summary: facts of the run. config_text: the composed configuration. taken:
    where in the search the policy is from, a sentence. data: what was read, a sentence each.
    further: what would decide more, in words, and the command for it.
    """
    every = policy_rows(document) if document else []
    return rendered(
        "report.html.jinja",
        short_names(dict.fromkeys(["identity", *(row.op for row in every)])),
        title=title,
        verdict=judge(comparison, reference) if comparison else None,
        results=[_result(line, reference) for line in (lines_of(comparison, reference) if comparison else ())],
        paired=any(row.policy == reference for row in comparison or ()),
        best=best_of(comparison or (), reference, "accuracy"),
        reference=reference,
        has_policy=document is not None,
        taken=taken,
        data=data,
        further=further,
        masses=visible_masses(document) if document else [],
        rows=every[:_MOST_ROWS],
        left_out=len(every[_MOST_ROWS:]),
        several=document is not None and len(document.subpolicies) > 1,
        figures=[
            (name, _LEGENDS.get(name, name), data_uri(wide, "png"), data_uri(figures.get(name + NARROW, wide), "png"))
            for name, wide in figures.items()
            if not name.endswith(NARROW)
        ],
        photographs=_PHOTOGRAPHS,
        facts=[*_told_by(rows), *facts_of(summary or {})],
        config_text=config_text,
    )


def _result(line: Line, reference: str) -> dict[str, Any]:
    """One line of the comparison, in words."""
    return {
        "name": line.name,
        "is_reference": line.name == reference,
        "mean": f"{100 * line.accuracy.mean:.1f}%",
        "interval": _ends(line.accuracy, 100.0, 1),
        "seeds": line.accuracy.n,
        "loss": f"{line.loss.mean:.3f}",
        "loss_interval": _ends(line.loss, 1.0, 3),
        "calibration_error": f"{100 * line.calibration_error.mean:.1f}%",
        "affinity": "" if line.affinity is None else f"{100 * line.affinity:.1f}%",
        "diversity": f"{line.diversity:.3f}",
        "difference": points(line.ahead.interval) if line.ahead else "",
        "loss_difference": change(line.ahead_in_loss.interval) if line.ahead_in_loss else "",
        "note": "" if line.converged else "not converged",
    }


def _ends(interval: Interval, factor: float, decimals: int) -> str:
    words = without_interval(interval)
    if interval.low is None or interval.high is None or words is not None:
        return words or ""
    return f"{factor * interval.low:.{decimals}f} to {factor * interval.high:.{decimals}f}"


def _told_by(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the metrics say about the run as a whole."""
    steps = [row["step"] for row in rows if isinstance(row.get("step"), int)]
    if steps:
        yield "last step", str(max(steps))
    for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "selection_accuracy"):
        values = [value for row in rows if isinstance(value := row.get(key), int | float) and math.isfinite(value)]
        if values:
            yield words_of_key(key), words_of_value(key, values[-1])


def _read(figure: Path) -> bytes:
    try:
        return Path(figure).read_bytes()
    except OSError as error:
        raise UserError(
            f"{figure}: cannot read this figure ({error.strerror or error}); expected a PNG file"
        ) from error
