"""A comparison as it goes: every training that is done is printed, written and tracked."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from augrad.atomic import write_text
from augrad.runs.trackers import Tracker
from augrad.terminal.console import say


def recorder(
    directory: Path, names: Iterable[str], tracker: Tracker | None = None
) -> Callable[[str, int, float], None]:
    """What `compare_policies` calls after each training: comparison.json holds what is done, by policy and seed."""
    kept: dict[str, dict[str, float]] = {name: {} for name in names}

    def record(name: str, seed: int, accuracy: float) -> None:
        kept[name][str(seed)] = accuracy
        write_text(directory / "comparison.json", json.dumps(kept, indent=2) + "\n")
        say(f"  {name:8} seed {seed}: {accuracy:.3f}", stderr=True)
        if tracker is not None:
            count = sum(len(seeds) for seeds in kept.values())
            tracker.log({"policy": name, "seed": seed, "test_accuracy": accuracy}, count)

    return record
