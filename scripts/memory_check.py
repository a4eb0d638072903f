"""The memory of a long search, read off while it runs.

    python scripts/memory_check.py

A small network on the handwritten digits, without choice and comparison. What Linux says of the process's own memory
(RssAnon) is read every second, and printed for steps evenly apart, with what a step leaves in metrics.jsonl.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = (
    *("search.batch_size=16", "search.validation_batch_size=32", "model.width=8", "data.train_size=200"),
    *("data.validation_size=60", "data.selection_size=60", "choose=null", "compare=null"),
)


def memory_of(process: int) -> float | None:
    """Megabytes of its own; None where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon")), None)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        metrics, seen = Path(folder, "run", "metrics.jsonl"), dict[int, float]()
        command = [sys.executable, "-m", "augrad", "search", f"search.steps={options.steps}", *SMALL]
        search = subprocess.Popen(
            [*command, f"hydra.run.dir={metrics.parent}"], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        while search.poll() is None:
            time.sleep(1)
            done = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            if 0 < done < options.steps and (memory := memory_of(search.pid)) is not None:
                seen[done] = memory
        size = metrics.stat().st_size
    if search.returncode:
        sys.exit(search.returncode)
    steps = sorted(seen)
    for step in steps[:: max(1, len(steps) // 10)] + steps[-1:]:
        print(f"step {step:6}: {seen[step]:7.1f} MB")
    print(f"metrics.jsonl: {size / options.steps:.0f} bytes a step")


if __name__ == "__main__":
    main()
