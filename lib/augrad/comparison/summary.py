"""A comparison in one line for each policy, and as text: Markdown, and CSV of the trainings."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from augrad.comparison.differences import Difference, difference, interval_of
from augrad.comparison.rows import TrainingRow, affinity_of, names_of, of_policy
from augrad.comparison.statistics import Interval, change, percent, points
from augrad.comparison.verdict import judge, unconverged


@dataclass(frozen=True)
class Line:
    """What is known of one policy.

    trainings: their number. accuracy, loss, calibration_error: their means and 95% intervals. affinity: how accurate a
    classifier trained without a policy is on images that it augments, as a share of its accuracy on images as they are;
    None where no such classifier was trained beside. diversity: the loss on augmented training images at the end.
    ahead, ahead_in_loss: how much more the reference has; None for itself, and without a training in common.
    """

    name: str
    trainings: int
    accuracy: Interval
    loss: Interval
    calibration_error: Interval
    affinity: float | None
    diversity: float
    ahead: Difference | None
    ahead_in_loss: Difference | None
    converged: bool


def lines_of(rows: Sequence[TrainingRow], reference: str) -> list[Line]:
    """A line for each policy. Raises `UserError` for a value that is not finite."""
    unfinished, lines = unconverged(rows), []
    for name in names_of(rows):
        own = of_policy(rows, name)
        lines.append(
            Line(
                name,
                len(own),
                *(interval_of(rows, name, metric) for metric in ("accuracy", "loss", "calibration_error")),
                affinity=affinity_of(rows, name),
                diversity=sum(row.diversity for row in own) / len(own),
                ahead=difference(rows, reference, name, "accuracy"),
                ahead_in_loss=difference(rows, reference, name, "loss"),
                converged=name not in unfinished,
            )
        )
    return lines


def words_of_training(row: TrainingRow, width: int = 0) -> str:
    """A training in a line of text. width: of the names of all policies."""
    told = ("search", row.search_seed), ("split", row.split_seed)
    seeds = "".join(f" {name} {value}" for name, value in told if value)
    return f"{row.policy:{width}}{seeds} seed {row.seed}: {100 * row.accuracy:.1f}%, loss {row.loss:.3f}"


def csv_of(rows: Sequence[TrainingRow]) -> str:
    """Every training, a line each."""
    text = io.StringIO()
    names = [name for name in rows[0].as_dict() if name != "affinities"] if rows else []
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.as_dict() for row in rows)
    return text.getvalue()


def markdown_of(rows: Sequence[TrainingRow], reference: str) -> str:
    """The verdict and a table, for a page of one's own."""
    verdict = judge(rows, reference)
    header = ["policy", "n", "accuracy", "loss", "calibration error", "affinity", "diversity"]
    header += [f"{_cell(reference)} minus this: points", "loss"]
    table = [header, ["---"] * len(header)]
    for line in lines_of(rows, reference):
        name = line.name + ("" if line.converged else " (not converged)")
        table.append(
            [
                f"**{_cell(name)}**" if line.name == reference else _cell(name),
                str(line.accuracy.n),
                percent(line.accuracy, with_n=False),
                f"{line.loss.mean:.4f}",
                f"{line.calibration_error.mean:.4f}",
                "" if line.affinity is None else f"{line.affinity:.3f}",
                f"{line.diversity:.3f}",
                points(line.ahead.interval) if line.ahead else "",
                change(line.ahead_in_loss.interval) if line.ahead_in_loss else "",
            ]
        )
    rows_of_text = ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([f"**{verdict.headline}**", "", *verdict.reasons, "", *rows_of_text]) + "\n"


def _cell(text: str) -> str:
    """In a cell of Markdown, as it is."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text.replace("\n", " "))
