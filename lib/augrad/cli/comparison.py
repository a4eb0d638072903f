"""A comparison as it goes: every training that is done is printed, written and tracked."""

import json
from collections.abc import Iterable
from pathlib import Path

from augrad.atomic import write_text
from augrad.errors import UserError
from augrad.runs.trackers import Tracker
from augrad.terminal.console import say


class Recorder:
    """What `compare_policies` calls after each training: comparison.json holds what is done, by policy and seed.

    A file that cannot be written (a full disk) does not end the comparison: it is tried again after the next training,
    and `require_written` says at the end whether all of it is there.
    """

    def __init__(self, directory: Path, names: Iterable[str], tracker: Tracker | None = None) -> None:
        self._path, self._tracker = directory / "comparison.json", tracker
        self._kept: dict[str, dict[str, float]] = {name: {} for name in names}
        self._refusal: UserError | None = None

    def __call__(self, name: str, seed: int, accuracy: float) -> None:
        self._kept[name][str(seed)] = accuracy
        say(f"  {name:8} seed {seed}: {accuracy:.3f}", stderr=True)
        try:
            self._refusal = None
            write_text(self._path, json.dumps(self._kept, indent=2) + "\n")
        except UserError as error:
            self._refusal = error
        if self._tracker is not None:
            count = sum(len(seeds) for seeds in self._kept.values())
            self._tracker.log({"policy": name, "seed": seed, "test_accuracy": accuracy}, count)

    def require_written(self) -> None:
        """Raises UserError unless the file has everything."""
        if self._refusal is not None:
            raise self._refusal
