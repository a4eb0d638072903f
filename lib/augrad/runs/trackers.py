"""What an experiment tracker is to a run: a guest that may listen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tracker(Protocol):
    """Told about a run as it goes: `start` once, `log` for every metrics row, `finish` once. Never stops the run."""

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """The run begins, or goes on after a resume. config: the composed configuration. directory: the run's."""

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """One row of metrics of step `step`."""

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """The run is done. figures: PNG files by name. policy_file: the learned policy. summary: final numbers."""


class NoTracker:
    """Keeps nothing: the run directory has it all."""

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """Nothing to do."""

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """Nothing to do."""

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """Nothing to do."""
