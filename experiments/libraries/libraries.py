"""Does a learned policy train as well through other libraries? Searches, trains, and writes experiments/libraries.

    python -m experiments.libraries.libraries --page experiments/libraries/README.md

Each study is one search, and trainings of the same classifier that differ in nothing but in what applies the policy
that it left: augrad's own engine, or what the policy becomes in a library. What is done is not done again, neither a
search nor a training. The policy and the rows of each study are kept beside this file, as JSON, and the page is written
from those; with --studies alone, nothing is run before.
"""

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir

from augrad.atomic import write_text
from augrad.cli.configs import config_directory
from augrad.cli.judging import recipe_on
from augrad.cli.parts import data_and_device
from augrad.comparison.calibration import calibration_error
from augrad.comparison.differences import Difference, difference, interval_of
from augrad.comparison.rows import TrainingRow, of_policy, row_from
from augrad.comparison.statistics import change, percent
from augrad.comparison.trainings import policy_digest
from augrad.data.pixels import to_float
from augrad.interop.losses import by_kind
from augrad.learning.step import evaluate, logits_over, measured
from augrad.policy import Policy
from augrad.policy_file.convert import load_policy
from augrad.train.loop import require_finite, trained
from augrad.train.processes import results_of
from experiments.libraries.ways import NONE, OWN, WAYS, Applied
from experiments.shared.pages import BEGIN, END, markdown
from experiments.shared.runs import search_once

_HERE = Path(__file__).parent
_PACKAGES = "torch", "torchvision", "kornia", "albumentations", "timm"
_WORDS = {
    NONE: "no augmentation",
    OWN: "augrad's engine on the batch",
    **{name: way.words for name, way in WAYS.items()},
}


@dataclass(frozen=True)
class Study:
    """words: what the data are, for the page. data: overrides of the search and of the trainings."""

    words: str
    data: tuple[str, ...]


_OWN_DRAWS, _OWN_MEAN = (OWN, f"{OWN}, other draws"), f"{OWN}, mean"
_FEWEST = 5
"""Seeds of a study that is on the page."""
_SEARCH = ("search.batch_size=128",)
_RECIPE = "train.steps=300", "train.batch_size=64"
STUDIES: Mapping[str, Study] = {
    "digits_200": Study(
        "200 training digits; validation and test digits are of the same kind.", ("data.train_size=200",)
    ),
    "turned_200": Study(
        "200 upright training digits; those of validation and test are turned by up to 45 degrees "
        "(`experiment=recover_rotation`).",
        ("experiment=recover_rotation", "data.train_size=200"),
    ),
}


def kept_policy(name: str, out: Path) -> Path:
    """The policy beside this file; searched for where it is not there."""
    kept = _HERE / f"{name}_policy.json"
    if not kept.exists():
        run = search_once(out / name, [*STUDIES[name].data, *_SEARCH, "choose.processes=1"])
        shutil.copy(run / "policy.json", kept)
    return kept


def applied(policy: Policy, way: str) -> Policy | None:
    """What a training takes in the place of a policy: it calls it on each batch, and asks nothing else of it."""
    if way == OWN:
        return policy
    return None if way == NONE else cast(Policy, Applied(WAYS[way].made(policy)[0]))


def milliseconds_of(policy: Policy, way: str, batch: int = 64, times: int = 20) -> float:
    """Processor time for a batch of grey images of 16 x 16 pixels, the mean of some."""
    given, generator = applied(policy, way), torch.Generator().manual_seed(0)
    if given is None:
        return 0.0
    with torch.no_grad():
        images = to_float(torch.randint(256, (batch, 1, 16, 16), dtype=torch.uint8, generator=generator))
        given(images, generator=generator)  # compiled code is loaded
        started = time.process_time()
        for _ in range(times):
            given(images, generator=generator)
    return 1000 * (time.process_time() - started) / times


def row_of(overrides: Sequence[str], policy: Path, way: str, seed: int) -> dict[str, Any]:
    """Trains a classifier as `augrad train` does, with the policy applied in one of the ways; its row, for JSON.

    seed: of the weights and the batches, which are the same in every way, and of the draws.
    """
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("train", list(overrides))
    recipe = recipe_on(data_and_device(config)[0], config, with_validation=False)
    learned, started = load_policy(policy), time.perf_counter()
    fit = trained(recipe, applied(learned, way), seed)
    seconds = time.perf_counter() - started
    logits = logits_over(fit.model, recipe.splits.test)
    test = measured(logits, recipe.splits.test.labels)
    require_finite(test)
    return TrainingRow(
        *(way, None, config.data.seed, seed),
        accuracy=float(test.accuracy),
        loss=float(test.loss),
        steps=recipe.steps,
        seconds=round(seconds, 3),
        calibration_error=calibration_error(logits, recipe.splits.test.labels),
        diversity=fit.loss,
        train_loss=float(evaluate(fit.model, recipe.splits.train).loss),
        held_out_loss=float(evaluate(fit.model, recipe.splits.selection).loss),
        late=fit.late,
        images=len(recipe.splits.test),
        chance=float(recipe.splits.test.labels.bincount().max() / len(recipe.splits.test)),
        digest=policy_digest(None if way == NONE else learned),
    ).as_dict()


def carry_out(name: str, options: argparse.Namespace) -> None:
    """Does the trainings of a study that are missing, and keeps each as it comes."""
    policy, path, overrides = kept_policy(name, options.out), _HERE / f"{name}.json", [*STUDIES[name].data, *_RECIPE]
    what = {"study": name, "overrides": overrides, "policy": policy_digest(load_policy(policy))}
    before = json.loads(path.read_text()) if path.exists() else {}
    known = before["rows"] if what.items() <= before.items() else []
    rows = {(row["policy"], row["seed"]): row for row in known}
    missing = [(way, seed) for seed in range(options.seeds) for way in _WORDS if (way, seed) not in rows]
    if not missing and "milliseconds" in before:
        return
    tasks = [(overrides, policy, way, seed) for way, seed in missing]
    milliseconds = before.get("milliseconds") or {
        way: next(results_of(milliseconds_of, [(load_policy(policy), way)], 1)) for way in _WORDS
    }
    content = {
        **what,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, each training on one thread",
        "versions": {package: version(package) for package in _PACKAGES},
        "milliseconds": milliseconds,
    }
    write_text(path, json.dumps({**content, "rows": list(rows.values())}, indent=1) + "\n")
    for place, row in zip(missing, results_of(row_of, tasks, options.jobs), strict=True):
        rows[place] = row
        write_text(path, json.dumps({**content, "rows": list(rows.values())}, indent=1) + "\n")
        print(f"{name}: {place[0]}, seed {place[1]}: {row['accuracy']:.4f}, {row['loss']:.4f}", flush=True)


def section(name: str) -> list[str]:
    """A study on the page, of the seeds that have been done in every way; nothing where they are too few."""
    path = _HERE / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
    every = [row_from(values, str(path)) for values in found["rows"]]
    seeds = set.intersection(*({row.seed for row in of_policy(every, way)} for way in _WORDS))
    rows = [row for row in every if row.seed in seeds]
    rows += own_mean(rows)
    if len(seeds) < _FEWEST:
        return []
    policy = load_policy(_HERE / f"{name}_policy.json")
    versions = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    losses = {way: list(by_kind(WAYS[way].made(policy)[1])) for way in ("Kornia", "Albumentations", "timm")}
    head = ["way", "accuracy", f"minus {_OWN_MEAN}: points", "loss", f"minus {_OWN_MEAN}", "0 in both", "ms a batch"]
    return [
        f"## {name}",
        "",
        f"{STUDIES[name].words} One search, seed 0: `augrad search "
        f"{' '.join((*STUDIES[name].data, *_SEARCH))}`; its policy is "
        f"{name}_policy.json. {len(seeds)} trainings in each way, as of `augrad train "
        f"{' '.join(found['overrides'])}`, on seeds that all ways share; {rows[0].images:,} test images. "
        f"{found['machine']}; {versions}.",
        "",
        "<!-- not run: takes an hour -->",
        "```bash",
        f"python -m experiments.libraries.libraries --studies {name} --seeds {len(seeds)} \\",
        "    --page experiments/libraries/README.md",
        "```",
        *markdown(
            f"On test images: means and 95% t intervals over {len(seeds)} seeds; differences are paired by seed",
            head,
            {way: [*_cells(rows, way), f"{found['milliseconds'][way]:.1f}"] for way in _WORDS},
        ),
        "",
        *(_told(rows, way) for way in _WORDS if way not in (NONE, *_OWN_DRAWS)),
        *markdown(
            "What the conversions of this policy lose, by kind, and at how many places",
            ["library", "losses"],
            {way: ["; ".join(f"{len(places)} × {what}" for what, places in one)] for way, one in losses.items()},
        ),
        "",
    ]


def own_mean(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """The means of the rows of augrad's own engine, one for each seed: they differ in draws alone.

    What is compared with them does not have the luck of one set of draws in each of its differences.
    """
    first, second = ({row.seed: row for row in of_policy(rows, way)} for way in _OWN_DRAWS)
    return [
        replace(
            row,
            policy=_OWN_MEAN,
            accuracy=mean((row.accuracy, second[seed].accuracy)),
            loss=mean((row.loss, second[seed].loss)),
        )
        for seed, row in first.items()
    ]


def _differences(rows: Sequence[TrainingRow], way: str) -> Mapping[str, tuple[Difference, str]]:
    """To augrad's own engine, by metric, each with its words; none of that itself."""
    if way in _OWN_DRAWS:
        return {}
    accuracy, loss = (difference(rows, way, _OWN_MEAN, metric) for metric in ("accuracy", "loss"))
    if accuracy is None or loss is None:
        return {}
    return {
        "accuracy": (accuracy, change(accuracy.interval, 100.0, 2)),
        "loss": (loss, change(loss.interval, decimals=4)),
    }


def _cells(rows: Sequence[TrainingRow], way: str) -> list[str]:
    accuracy, loss = percent(interval_of(rows, way, "accuracy"), with_n=False), interval_of(rows, way, "loss").mean
    found = _differences(rows, way)
    if not found:
        return [accuracy, "", f"{loss:.4f}", "", ""]
    without = [metric for metric, (one, _) in found.items() if one.clear]
    held = f"**not in {' and '.join(without)}**" if without else "yes"
    return [accuracy, found["accuracy"][1], f"{loss:.4f}", found["loss"][1], held]


def _told(rows: Sequence[TrainingRow], way: str) -> str:
    """What the intervals of a way say, in words."""
    said = []
    for metric, (one, words) in _differences(rows, way).items():
        assert one.interval.low is not None
        assert one.interval.high is not None
        factor, unit = (100, " points") if metric == "accuracy" else (1, "")
        wide = f"{factor * (one.interval.high - one.interval.low):.2g}{unit} wide"
        better = "better" if one.clear > 0 else "worse"
        said.append(
            f"**{better}** in {metric}, {words}" if one.clear else f"within noise in {metric} (interval {wide})"
        )
    return f"- {way}: {_WORDS[way]}; {', '.join(said)}."


def parse_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/libraries"), help="of searches (default: %(default)s)")
    parser.add_argument("--studies", nargs="*", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seeds", type=int, default=10, help="trainings in each way (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="the page; its text around the marks is kept")
    options = parser.parse_args()
    options.out = options.out.resolve()
    return options


def main() -> None:
    """Run what is missing, then write the page."""
    options = parse_options()
    for name in options.studies:
        carry_out(name, options)
    if options.page:
        page: Path = options.page
        text = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}{END}\n"
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        lines = [line for name in STUDIES for line in section(name)]
        write_text(page, f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}")


if __name__ == "__main__":
    main()
