"""What an experiment tracker is to a run: a guest that may listen."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_LOG = logging.getLogger(__name__)


@runtime_checkable
class Tracker(Protocol):
    """Told about a run as it goes: `start` once, `log` for every metrics row, `finish` once. Never stops the run."""

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """The run begins, or goes on after a resume. config: the composed configuration. directory: the run's."""

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """One row of metrics of step `step`."""

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """The run is done. figures: PNG files by name. policy_file: the learned policy. summary: final numbers."""


class Guest:
    """A tracker that cannot stop the run: the first error of the one it stands for is told once, and is its last."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker: Tracker | None = tracker

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """As of a tracker."""
        self._tell(lambda tracker: tracker.start(config, directory))

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """As of a tracker."""
        self._tell(lambda tracker: tracker.log(row, step))

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """As of a tracker."""
        self._tell(lambda tracker: tracker.finish(figures, policy_file, summary))

    def _tell(self, news: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            news(self._tracker)
        except Exception as error:  # whatever a tracker does wrong, the run matters more
            self._tracker = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _LOG.warning("the tracker failed, the run goes on without it: %s", reason)


class NoTracker:
    """Keeps nothing: the run directory has it all."""

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """Nothing to do."""

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """Nothing to do."""

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """Nothing to do."""
