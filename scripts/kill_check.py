"""Whether runs that are killed go on to the same end: every command and recipe, `kill -9` at random moments.

    python scripts/kill_check.py --kills 20 --out kills --json kills.json

Of each case one run goes through to its end. Then another one is begun, killed at a random moment of the length of the
first, and taken up with `resume=`, so many times; what it leaves must be what the first one left, byte for byte: the
metrics, the policy, the choice, the comparison's trainings and the classifier, but for dates, and seconds of steps. A
run that is killed before it has a directory of its own is begun again, as a user would. --seed draws the moments.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SEARCH = [
    *("search.warmup_steps=4", "search.checkpoint_every=7", "search.log_every=3", "data.train_size=300"),
    *("train.steps=30", "compare.seeds=1", "compare.processes=1", "choose.seeds=1", "choose.processes=1"),
]
ROUNDS = ["search", *SEARCH, "search.steps=60", "search.select_every=10"]
WHOLE = ["search", *SEARCH, "search.steps=4", "search.checkpoint_every=1", "search.warmup_steps=0", "objective.pairs=2",
         "objective.processes=1"]  # fmt: skip
PAPER = ["search", *SEARCH[:4], "search.steps=20", "compare=null"]  # recipes that end with their search
CASES: dict[str, list[str]] = {
    "search": ROUNDS,
    "reinforce": [*ROUNDS, "estimator=reinforce"],
    "unrolled": [*ROUNDS, "hypergradient=unrolled", "search.steps=24"],
    "dada": [*PAPER, "experiment=dada"],
    "dada_gumbel": [*PAPER, "experiment=dada_gumbel"],
    "faster_autoaugment": [*PAPER, "experiment=faster_autoaugment"],
    "ddas": [*PAPER, "experiment=ddas"],
    "madao": [*PAPER, "experiment=madao"],
    "adversarial_autoaugment": [*PAPER, "experiment=adversarial_autoaugment"],
    "online": [*PAPER, "experiment=online"],
    "population": [*WHOLE, "experiment=population"],
    "persistent": [*WHOLE[:-1], "experiment=persistent"],
    "train": ["train", "data.train_size=300", "train.epochs=300", "policy.file=randaugment", "train.ema=0.99"],
    "compare": ["compare", "data.train_size=300", "train.steps=60", "seeds=2", "policies=[none,randaugment]",
                "processes=1"],
}  # fmt: skip
SAME = ("metrics.jsonl", "policy.json", "initial.json", "choice.json", "trainings.json", "comparison.json", "model.pt")
TIMES = ("created", "seconds", "step_seconds", "resume")
"""Keys of what says when a run was made, how long it took, and that it was taken up."""
_SECONDS = 1800


def command(arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """The command, begun in a session of its own: a kill reaches its processes, too."""
    with open(log, "ab") as output:
        line = [sys.executable, "-m", "augrad", *arguments]
        return subprocess.Popen(line, stdout=output, stderr=output, start_new_session=True)


def killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Whether it was killed at that moment; else it had ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def left_by(run: Path) -> dict[str, Any]:
    """What a run leaves, without what says when and under which name it was made."""
    found: dict[str, Any] = {}
    for name in SAME:
        path = run / name
        if not path.is_file():
            continue
        if path.suffix == ".pt":
            found[name] = path.read_bytes()
        else:
            texts = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            found[name] = json.dumps([json.loads(text, object_hook=_timeless) for text in texts])
    return found


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in TIMES}


def checked(name: str, kills: int, out: Path, moments: random.Random) -> dict[str, Any]:
    """One case: how many runs were killed, at which moments, and how many of them came to the same end."""
    arguments = CASES[name]
    whole = out / name / "whole"
    shutil.rmtree(out / name, ignore_errors=True)
    (out / name).mkdir(parents=True)
    log = out / name / "log.txt"
    begun = time.monotonic()
    if command([*arguments, f"hydra.run.dir={whole}"], log).wait(_SECONDS) != 0:
        raise SystemExit(f"{name}: the run that nobody kills failed; see {log}")
    length = time.monotonic() - begun
    expected, same, when, differing = left_by(whole), 0, [], []
    for number in range(kills):
        run = out / name / f"killed-{number}"
        moment = moments.uniform(0.0, length)
        killed_after(command([*arguments, f"hydra.run.dir={run}"], log), moment)
        when.append(round(moment, 1))
        begins_anew = not (run / ".hydra").is_dir()
        again = [*arguments, f"hydra.run.dir={run}"] if begins_anew else [arguments[0], f"resume={run}"]
        status = command(again, log).wait(_SECONDS)
        found = left_by(run)
        parts = [part for part in sorted({*expected, *found}) if expected.get(part) != found.get(part)]
        if status == 0 and not parts:
            same += 1
            shutil.rmtree(run)
        else:
            differing.append({"run": run.name, "status": status, "differ": parts})
    return {"case": name, "seconds": round(length, 1), "kills": kills, "same": same, "moments": when, "not": differing}


def main() -> None:
    """The command line; see the top of the file."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("cases", nargs="*", choices=[*CASES, []], help="all of them, if none is named")
    words.add_argument("--kills", type=int, default=20)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, default=Path("kills"))
    words.add_argument("--json", type=Path)
    options = words.parse_args()
    rows = []
    for name in options.cases or CASES:
        rows.append(checked(name, options.kills, options.out.absolute(), random.Random(f"{options.seed} {name}")))
        print(
            f"{name}: {rows[-1]['same']} of {rows[-1]['kills']} ({rows[-1]['seconds']} s) {rows[-1]['not']}", flush=True
        )
        if options.json is not None:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    raise SystemExit(any(row["same"] < row["kills"] for row in rows))


if __name__ == "__main__":
    main()
