"""The metrics log: one JSON object per line, readable while the run writes it and after a crash."""

import contextlib
import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from augrad.atomic import write_text
from augrad.errors import AugradWarning, UserError


class MetricsLog:
    """Appends rows to a metrics file; a context manager.

    Every row has an integer `step`. Numbers have seven digits, as those of single precision; those that JSON cannot say
    (NaN, infinities) are written as null. A row is one write to the operating system: other processes see whole rows,
    and a killed run loses at most the row in hand.
    """

    def __init__(self, path: str | os.PathLike[str], resume_step: int | None = None) -> None:
        """Begin a log at `path`, or with `resume_step` go on with the one that is there.

        resume_step: the step of the checkpoint the run goes on from. Rows of later steps, and a last line torn by a
        crash, are dropped (atomically) because the run will produce them again.
        Raises `UserError` if a log of another run is at `path` and `resume_step` is None, if the file to go on with is
        damaged, or if the path cannot be written.
        """
        self.path = Path(path)
        if resume_step is not None and self.path.exists():
            rows = read_metrics(self.path)
            for number, row in enumerate(rows, start=1):
                if not isinstance(row.get("step"), int):
                    raise UserError(
                        f"{self.path}: row {number} has no integer `step`: cannot tell what is later than {resume_step}"
                    )
            kept = [row for row in rows if row["step"] <= resume_step]
            write_text(self.path, "".join(map(_line, kept)))
            if resume_step > 0 and (not kept or kept[-1]["step"] < resume_step):
                _warn_of_gap(self.path, f"ends with step {kept[-1]['step']}" if kept else "is empty", resume_step)
        elif resume_step:
            _warn_of_gap(self.path, "is gone", resume_step)
        elif resume_step is None and self.path.exists() and self.path.stat().st_size > 0:
            raise UserError(
                f"{self.path}: holds the metrics of another run; resume that run or choose another run directory"
            )
        try:
            with contextlib.suppress(FileExistsError):  # not a folder: opening says so better
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot write the metrics ({error.strerror or error}); choose a writable run directory"
            ) from error

    def append(self, row: Mapping[str, float | int | str | None]) -> None:
        """Write one row. It needs an integer `step` (ValueError otherwise).

        Raises `UserError` naming the path when the disk is full; the log then ends with the row before.
        """
        if not isinstance(row.get("step"), int):
            raise ValueError(f"a metrics row needs an integer `step`, got {row.get('step')!r}")
        data = _line(row).encode()
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(data)
            if written != len(data):  # a disk that fills up mid-row takes a part and fails at the next try
                self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(end)
            raise UserError(
                f"{self.path}: cannot write the metrics ({error.strerror or error}); free some space and resume the run"
            ) from error

    def sync(self) -> None:
        """Returns when the rows are on the disk: a checkpoint written afterwards is never ahead of them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file, in order. A last line torn by a crash is left out, as are blank lines.

    Raises `UserError` if there is no such file, or naming the line if anything else in it is not a JSON object.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot read the metrics ({error.strerror or error}); expected the metrics.jsonl of a run"
        ) from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=lambda _: None)
            if not isinstance(row, dict):
                raise ValueError(f"a {type(row).__name__}")
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no newline at its end: the writer was stopped in the middle
                continue
            raise UserError(
                f"{path}: line {number} is not a JSON object ({error}); remove or repair that line"
            ) from error
        rows.append(row)
    return rows


def _line(row: Mapping[str, float | int | str | None]) -> str:
    return json.dumps({key: _short(value) for key, value in row.items()}, allow_nan=False, separators=(",", ":")) + "\n"


def _short(value: float | int | str | None) -> float | int | str | None:
    if not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _warn_of_gap(path: Path, what: str, step: int) -> None:
    words = f"{path}: {what}, and the run goes on after step {step}: the rows between are missing from now on"
    warnings.warn(words, AugradWarning, stacklevel=3)
