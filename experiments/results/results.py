"""Is a learned policy worth it on ordinary data? Searches, judges them, and writes the table of docs/results.md.

    python -m experiments.results.results --root DIR --studies fashion_mnist_500 --page docs/results.md

DIR holds the published data set (`data.root`). What is done is not done again, neither a search nor a training. The
rows of each study are kept beside this file, as JSON, and the page is written from those.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from augrad.atomic import write_text
from augrad.comparison.differences import difference
from augrad.comparison.rows import TrainingRow, row_from
from augrad.comparison.statistics import change, points, signed
from augrad.comparison.summary import markdown_of
from augrad.policy_file.convert import load_policy
from experiments.results.studies import STUDIES, Study
from experiments.shared.images import write_images
from experiments.shared.pages import BEGIN, END, markdown
from experiments.shared.runs import compare_once, search_once

_HERE = Path(__file__).parent
_TOLD = "chosen", "policy_from_step"
_CONTROLS = "randaugment", "trivialaugment_wide"
_HEAD = ["method", *(f"minus {c}: {what}" for c in _CONTROLS for what in ("points", "loss")), "left"]
_INTRODUCTION = """# Results on ordinary data

Does a learned policy make a classifier better on data that nobody tuned for? Each study searches with several methods
on several divisions of a data set, and judges what they found against the strongest controls: the very policy that the
search started from (`initial`), random policies over the same space, RandAugment and TrivialAugment as torchvision has
them, and no augmentation. All classifiers train on the train and the validation split, both of which a search has seen;
test images decide nothing. How the numbers come about is in [Judge policies](guides/compare.md).
"""


def judged(name: str, study: Study, options: argparse.Namespace) -> dict[str, Any]:
    """The searches of a study and its comparison: what was done, and the rows."""
    out = options.out.resolve() / name
    jobs = [(method, seed) for method in study.methods for seed in range(options.seeds)]

    def searched(job: tuple[str, int]) -> Path:
        method, seed = job
        own = study.methods[method]
        alone = ["choose.processes=1"]  # the searches run beside each other
        if "experiment=population" in own:
            alone.append("objective.processes=1")
        given = [*study.common, *data_of(study, seed, out, options.root)]
        return search_once(out / f"{method}-{seed}", [*given, *own, *alone, f"seed={seed}", f"data.seed={seed}"])

    with ThreadPoolExecutor(options.jobs) as pool:
        runs = dict(zip(jobs, pool.map(searched, jobs), strict=True))
    if study.images is None:
        found = _compared(study, out / "compared", "*", data_of(study, 0, out, options.root), options)
    else:
        found = {"rows": []}
        for seed in range(options.seeds):
            given = [*data_of(study, seed, out, options.root), f"data.seed={seed}"]
            one = _compared(study, out / f"compared-{seed}", str(seed), given, options)
            found["rows"] += one["rows"]
    return {
        "study": name,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, each search and training on one thread",
        "torch": torch.__version__,
        "searches": [
            {
                "method": method,
                "seed": seed,
                "processor_seconds": float((run / "processor_seconds").read_text()),
                **{name: load_policy(run / "policy.json").provenance["metrics"][name] for name in _TOLD},
            }
            for (method, seed), run in runs.items()
        ],
        **found,
    }


def data_of(study: Study, seed: int, out: Path, root: Path | None) -> list[str]:
    """Overrides that say where the data of a division are; images of a study's own are written to a file of `out`."""
    if study.images is None:
        return [f"data.root={root}"] if root else []
    file = out / f"images-{seed}.npz"
    if not file.exists():
        if root is None:
            raise SystemExit("--root: expected the npz file that the study makes its images from, got none")
        write_images(file, study.images(seed, root))
    return [f"data.path={file}"]


def _compared(
    study: Study, directory: Path, which: str, data: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """The comparison of the controls and of what the searches `which` of each method have learned."""
    controls = "none,initial,random,randaugment,trivialaugment_wide"
    out = directory.parent
    learned = ",".join(f"{{{method}:['{out}/{method}-{which}/policy.json']}}" for method in study.methods)
    return compare_once(
        directory,
        [*study.common, *data, *study.judged, f"policies=[{controls},{learned}]"],
        [f"seeds={options.trainings}", f"processes={options.jobs}"],
    )


def section(name: str, study: Study) -> list[str]:
    """A study on the page; nothing where it has not been run."""
    path = _HERE / f"{name}.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    rows = [row_from(values, str(path)) for values in found["rows"]]
    took = {
        method: [one["processor_seconds"] for one in found["searches"] if one["method"] == method]
        for method in study.methods
    }
    took = {method: values for method, values in took.items() if values}  # some may have been added since
    last = list(took)[-1]
    seconds = "; ".join(f"{method} {sum(values) / len(values):.0f}" for method, values in took.items())
    count = len(next(iter(took.values())))
    trainings = len({row.seed for row in rows})
    methods = {method: _against_controls(rows, method, found["searches"]) for method in took}
    return [
        f"## {name}",
        "",
        study.words,
        f"{count} searches by each method, on as many divisions; {trainings} trainings with each policy on each. "
        f"Processor seconds of a search: {seconds}. {found['machine']}; torch {found['torch']}.",
        "",
        "<!-- not run: needs the published data, and takes hours -->",
        "```bash",
        f"python -m experiments.results.results --root DIR --studies {name} --seeds {count} --trainings {trainings} \\",
        "    --page docs/results.md",
        "```",
        "",
        *markdown_of(rows, last).splitlines(),
        *markdown("Each method against two controls, and what its choice left, by division", _HEAD, methods),
        "",
    ]


def _against_controls(rows: Sequence[TrainingRow], method: str, searches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Differences in points and in loss, the latter by division, too; and the policies that were left."""
    cells: list[str] = []
    for control in _CONTROLS:
        accuracy, loss = (difference(rows, method, control, metric) for metric in ("accuracy", "loss"))
        assert accuracy is not None
        assert loss is not None
        each = ", ".join(signed(value, 3) for value in loss.values)
        cells += [points(accuracy.interval), f"{change(loss.interval)}: {each}"]
    left = [f"{one['chosen']}, of step {one['policy_from_step']}" for one in searches if one["method"] == method]
    return [*cells, "; ".join(left)]


def parser_of(description: str | None, studies: Mapping[str, Study], out: str) -> argparse.ArgumentParser:
    """What the scripts that judge searches take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, help="the data that a study needs: a folder of published data, or an npz file"
    )
    parser.add_argument("--out", type=Path, default=Path(out), help="where the runs lie (default: %(default)s)")
    parser.add_argument("--studies", nargs="*", choices=list(studies), default=list(studies))
    parser.add_argument("--seeds", type=int, default=3, help="searches by each method (default: %(default)s)")
    parser.add_argument("--trainings", type=int, default=5, help="with each policy (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="the page; its text around the marks is kept")
    return parser


def carry_out(
    options: argparse.Namespace,
    studies: Mapping[str, Study],
    directory: Path,
    introduction: str,
    section: Callable[[str, Study], list[str]],
) -> None:
    """Searches, judges, and writes: the rows of each study into `directory`, and the page.

    options: those of `parser_of`. introduction: of a page that is not there yet. section: a study on the page.
    """
    for name in options.studies:
        write_text(directory / f"{name}.json", json.dumps(judged(name, studies[name], options), indent=1) + "\n")
    if options.page:
        page: Path = options.page
        lines = [line for name, study in studies.items() for line in section(name, study)]
        text = page.read_text(encoding="utf-8") if page.exists() else f"{introduction}\n{BEGIN}{END}\n"
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        write_text(page, f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}")


if __name__ == "__main__":
    carry_out(parser_of(__doc__, STUDIES, "runs/results").parse_args(), STUDIES, _HERE, _INTRODUCTION, section)
