"""What the experiment scripts share: searches that are not repeated, their common options, and where a table goes."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from augrad.atomic import write_text
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.policy_file import parse_policy
from augrad.policy_file.convert import policy_from_document
from experiments.shared.pages import command


def search_once(directory: Path, overrides: list[str]) -> Path:
    """The directory of a complete `augrad search`: run, resumed, or found as it is. One thread.

    `processor_seconds` in it says how much time of a processor all of the run took.
    """
    if not (directory / "report.html").exists():
        resume = [f"resume={directory}"] if (directory / ".hydra").exists() else []
        seconds = _run("search", directory, resume or [*overrides, "compare=null", f"hydra.run.dir={directory}"])
        clock = directory / "processor_seconds"
        before = float(clock.read_text()) if resume and clock.exists() else 0.0
        clock.write_text(f"{before + seconds:.1f}\n")
    return directory


def compare_once(directory: Path, overrides: list[str], counts: list[str]) -> dict[str, Any]:
    """The content of comparison.json of an `augrad compare`: run, or taken up where it was; no training is done twice.

    counts: overrides that may change from one time to the next, as `seeds=5`.
    """
    begun = (directory / "trainings.json").exists()
    if not begun:  # one that ended before its first training has nothing to take up, and would be in the way
        shutil.rmtree(directory, ignore_errors=True)
    given = [f"resume={directory}"] if begun else [*overrides, f"hydra.run.dir={directory}"]
    _run("compare", directory, [*given, *counts])
    return json.loads((directory / "comparison.json").read_text())


def _run(command: str, directory: Path, arguments: list[str]) -> float:
    """Runs `augrad COMMAND` on one thread: its processor seconds. Ends this process if it fails, with what it said."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "augrad", command, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if process.returncode:
        raise SystemExit(f"{directory}: augrad {command} ended with status {process.returncode}\n{said[-2000:]}")
    print(f"{directory.parent.name}/{directory.name}", file=sys.stderr, flush=True)
    return usage.ru_utime + usage.ru_stime


def one_operation(entry: str) -> Policy:
    """A policy that always applies one operation; entry: `"op": ...` and what belongs to it, as in a policy file."""
    return policy_from_document(
        parse_policy(
            '{"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0, "subpolicies": '
            f'[{{"weight": 1.0, "stages": [[{{{entry}, "probability": 1.0, "weight": 1.0}}]]}}]}}'
        )
    )


def options_parser(description: str | None, out: str) -> argparse.ArgumentParser:
    """--out, --table, --seeds and --estimators."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(out), help="where the runs lie (default: %(default)s)")
    parser.add_argument("--table", type=Path, help="where to write the table (default: standard output)")
    parser.add_argument("--seeds", type=int, default=5, help="of the searches (default: %(default)s)")
    parser.add_argument("--estimators", nargs="+", default=["gumbel", "reinforce"])
    return parser


def provenance(jobs: int) -> str:
    """The command as it was given, and on what it ran."""
    threads = "one job of one thread" if jobs == 1 else f"{jobs} jobs of one thread"
    return (
        f"Command: `{command()}`; {platform.machine()}, {os.cpu_count()} CPU cores, {threads}; "
        f"torch {torch.__version__}."
    )


def write_table(lines: list[str], table: Path | None) -> None:
    """To the file, or to standard output."""
    text = "\n".join(lines) + "\n"
    if table is None:
        print(text)
        return
    try:
        write_text(table, text)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
