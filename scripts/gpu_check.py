"""Every check that needs a GPU, each part with its own time limit, and one report.

What is not timed runs side by side, then the rest, one part after the other.

    python scripts/gpu_check.py --report docs/gpu_report.md

A part that fails or takes too long leaves the others alone; the report is written anew after each of them. Without a
GPU the status is 2 and nothing is written; with --without-gpu what needs none is tried (Triton's kernels by its
interpreter), and what needs one is named as left out.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TOTAL_SECONDS = 460.0
"""For all parts together: with the interpreter's start and the unpacking, less than eight minutes."""


@dataclass(frozen=True)
class Part:
    """One part. command: what is run, in the root of the repository. seconds: its limit.

    page: what the command writes for the report, if it does; else the last line that it prints is its outcome. timed:
    whether its figures are times, so that it runs alone.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    page: Path | None = None
    needs_gpu: bool = True
    timed: bool = False


@dataclass(frozen=True)
class Outcome:
    part: Part
    status: str
    seconds: float
    output: str

    @property
    def well(self) -> bool:
        return self.status in ("passed", "left out: it needs a GPU")


def parts(python: str, work: Path) -> tuple[Part, ...]:
    """What is checked: first what runs side by side, then what is timed, the most telling first."""
    plugins = ("-p", "no:cacheprovider", "-p", "no:benchmark")  # the latter's warning beside xdist would be an error

    def tests(processes: int, marks: str, *paths: str) -> tuple[str, ...]:
        # Verbose: of a part that is stopped the report still says which tests had failed.
        options = ("-v", *plugins, "--durations=3", "-n", str(processes))
        return (python, "-m", "pytest", *options, "-m", marks, *paths)

    def script(name: str, *options: str) -> tuple[tuple[str, ...], Path]:
        page = work / f"{name}{len(options)}.md"
        return (python, f"scripts/{name}.py", "--markdown", str(page), *options), page

    def commands(*lines: str) -> tuple[str, ...]:
        return ("bash", "-e", "-c", "\n".join(line.replace("python", python, 1) for line in lines))

    searches, search_page = script("gpu_search")
    stages, stage_page = script("benchmark_gpu")
    trainings, training_page = script(
        "benchmark_training", "--stack", "32", "--runs", "3", "--workers", "8", "--steps", "60"
    )
    compiled, compiled_page = script("benchmark_gpu", "--compile", "--sizes", "0")
    on_gpu = ("tests/models/test_init.py", "tests/property/test_interface.py", "tests/property/test_samples.py")
    search = commands(
        f"python experiments/search.py search.steps=200 compare.seeds=2 train.epochs=5 hydra.run.dir={work}/search",
        f"python experiments/train.py policy.file={work}/search/policy.json train.epochs=5 hydra.run.dir={work}/train",
    )
    population = (
        *(python, "experiments/search.py", "experiment=population", "objective.pairs=15", "search.steps=3"),
        *("train.steps=100", "compare=null", f"hydra.run.dir={work}/population"),
    )
    return (
        Part("tests on a GPU", tests(5, "gpu and not slow", "tests/triton", *on_gpu), 170),
        Part("kernels against the operations' definitions", tests(6, "not gpu", "tests/triton"), 170, needs_gpu=False),
        Part("augrad search, augrad train", search, 120, needs_gpu=False),
        Part("augrad search experiment=population, 31 networks as one", population, 120, needs_gpu=False),
        Part("training with a policy, and 32 networks as one", trainings, 90, training_page, timed=True),
        Part("policies on a batch", stages, 110, stage_page, timed=True),
        Part("searches: DADA's CIFAR-10 budget, agreement with a CPU", searches, 150, search_page, timed=True),
        Part("policies on a batch, by torch.compile", compiled, 90, compiled_page, timed=True),
    )


def carried_out(part: Part, seconds: float) -> Outcome:
    """Run a part for at most `seconds`; it and all that it started are gone afterwards."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as kept:
        process = subprocess.Popen(
            part.command, cwd=ROOT, stdout=kept, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
            status = "passed" if code == 0 else f"**failed**, status {code}"
        except subprocess.TimeoutExpired:
            status = f"**stopped** after {seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kept.seek(0)
        output = kept.read().decode(errors="replace")
    return Outcome(part, status, time.monotonic() - begin, output)


def last_line(text: str) -> str:
    return next((line.strip(" =") for line in reversed(text.splitlines()) if line.strip()), "")


def machine() -> list[tuple[str, str]]:
    """Device, versions, date."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory, processors = properties.total_memory / 2**30, properties.multi_processor_count
        device = f"{properties.name}, {memory:.0f} GiB, {processors} multiprocessors"
    else:
        device = f"no GPU; {platform.machine()}"
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = "none"
    return [
        ("device", device),
        ("torch", f"{torch.__version__}, CUDA {torch.version.cuda}"),
        ("Triton", version),
        ("Python", platform.python_version()),
        ("date", datetime.date.today().isoformat()),
    ]


def report(outcomes: Sequence[Outcome]) -> str:
    """One Markdown page."""
    lines = ["# augrad on a GPU", "", "Written by `bash scripts/gpu_check.sh`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine()]
    lines += ["", "| part | outcome | seconds | its last line |", "|---|---|---|---|"]
    for outcome in outcomes:
        said = "" if outcome.part.page else last_line(outcome.output).replace("|", "/")
        lines.append(f"| {outcome.part.name} | {outcome.status} | {outcome.seconds:.0f} | {said} |")
    for outcome in outcomes:
        page = outcome.part.page
        if page is not None and page.exists():
            lines += ["", page.read_text().rstrip()]
    for outcome in outcomes:
        if not outcome.well:
            said = outcome.output.splitlines()
            end = "\n".join([*(line for line in said[:-25] if "FAILED" in line), *said[-25:]])
            lines += ["", f"## What was said last: {outcome.part.name}", "", "```", end, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Carry out every part, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="also write the outcomes, and all that was printed, here")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="for everything (default: %(default)s)")
    parser.add_argument("--without-gpu", action="store_true", help="on a machine without a GPU, what needs none")
    options = parser.parse_args()
    found = torch.cuda.is_available()
    if not found and not options.without_gpu:
        print(
            f"gpu_check: no GPU: torch {torch.__version__} finds none. Nothing was tested or measured, and no report "
            "was written.",
            file=sys.stderr,
        )
        return 2
    if found:
        os.environ.pop("TRITON_INTERPRET", None)
    else:
        os.environ["TRITON_INTERPRET"] = "1"
    deadline = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as work:
        every = parts(sys.executable, Path(work))
        outcomes: list[Outcome] = []

        def done(part: Part) -> Outcome:
            seconds = min(part.seconds, deadline - time.monotonic())
            if part.needs_gpu and not found:
                return Outcome(part, "left out: it needs a GPU", 0.0, "")
            if seconds < 5:
                return Outcome(part, "**left out**: no time was left", 0.0, "")
            print(f"gpu_check: {part.name} (at most {seconds:.0f} s)", file=sys.stderr, flush=True)
            return carried_out(part, seconds)

        def reported(one_by_one: Iterable[Outcome]) -> None:
            for outcome in one_by_one:
                said = f"{outcome.status}, {outcome.seconds:.0f} s; {last_line(outcome.output)}"
                print(f"gpu_check: {outcome.part.name}: {said}", file=sys.stderr)
                outcomes.append(outcome)
                options.report.parent.mkdir(parents=True, exist_ok=True)
                options.report.write_text(report(outcomes))

        with ThreadPoolExecutor() as side_by_side:
            reported(side_by_side.map(done, [part for part in every if not part.timed]))
        reported(map(done, [part for part in every if part.timed]))
        if options.json:
            rows = [
                {"part": o.part.name, "status": o.status, "seconds": o.seconds, "output": o.output} for o in outcomes
            ]
            options.json.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"gpu_check: the report is {options.report}", file=sys.stderr)
    return 0 if all(outcome.well for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
