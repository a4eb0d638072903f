"""What becomes of every recipe when a transformation is planted? Writes the table of experiments/stability as Markdown.

    python -m experiments.stability.stability --out runs/stability --table table.md

Every cell is a real `augrad search experiment=RECIPE` on the planted data of the recovery experiments; a run that is
complete is not repeated. Where the classifier that was trained along is not a result of the search, classifiers are
trained afterwards, same settings and seed, with what each search left.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from hydra import compose, initialize_config_dir

from augrad.atomic import write_bytes
from augrad.cli.arms import policy_arm
from augrad.cli.configs import config_directory
from augrad.cli.parts import data_and_device, recipe_of
from augrad.comparison.statistics import mean_interval, percent
from augrad.policy_file.convert import load_policy
from augrad.train import train_classifier
from experiments.recovery.recovery import PLANTED, last_row, true_policy
from experiments.shared.runs import options_parser, provenance, search_once, write_table

PLANTS = {
    "rotation": "rotate,low:-45.0,high:45.0",
    "invert": "invert,low:0.0,high:0.0",
    "translation": "translate_x,low:-0.25,high:0.25",
    "brightness": "brightness,low:-0.5,high:-0.5",
}

CONTROLS = {"*no augmentation*": Path("none"), "*the true transformation*": None}
"""Policies beside the learned ones: no augmentation, and the planted transformation itself."""


@dataclass(frozen=True)
class Recipe:
    """What is typed, and whether the classifier that is trained along is a result of the search."""

    overrides: tuple[str, ...]
    keeps_classifier: bool = False


UNGUARDED, UNBOUNDED = "search.signal_floor=0", "search.regularizers.selection_entropy=null"
RECIPES = {
    "dada": Recipe(("experiment=dada",)),
    "dada_gumbel": Recipe(("experiment=dada_gumbel",)),
    "faster_autoaugment": Recipe(("experiment=faster_autoaugment",)),
    "ddas": Recipe(("experiment=ddas",)),
    "adversarial_autoaugment": Recipe(("experiment=adversarial_autoaugment",), keeps_classifier=True),
    "adversarial_unbounded": Recipe(("experiment=adversarial_autoaugment", UNBOUNDED), keeps_classifier=True),
    "madao": Recipe(("experiment=madao",), keeps_classifier=True),
    "madao_unguarded": Recipe(("experiment=madao", UNGUARDED), keeps_classifier=True),
    "online": Recipe(("experiment=online",), keeps_classifier=True),
    "online_unguarded": Recipe(("experiment=online", UNGUARDED), keeps_classifier=True),
}
"""The recipes; two of them without the guard that ends the policy's learning where there is no signal left, and one
without the bound on its entropy."""


class Outcome(NamedTuple):
    """How one search ended. found: the planted operation has more mass than any other. collapsed: one other operation
    has more than half of all that is applied, or nine stages in ten apply nothing. mass, other: of the planted
    operation and of the largest other one, as shares of what is applied.
    """

    found: bool
    collapsed: bool
    mass: float
    other: float
    seconds: float
    classifier: float


def outcome(directory: Path, op: str) -> Outcome:
    """Read from a complete run."""
    row = last_row(directory)
    applied = {key[5:]: value for key, value in row.items() if key.startswith("mass/")}
    total = sum(applied.values())
    mass = applied[op] / total
    other = max(value for key, value in applied.items() if key != op) / total
    metrics = load_policy(directory / "policy.json").provenance["metrics"]
    seconds = float((directory / "processor_seconds").read_text())
    classifier = metrics["search_classifier_test_accuracy"]
    return Outcome(mass > other, other > 0.5 or total < 0.1, mass, other, seconds, classifier)


def planted_override(plant: str) -> str:
    """The planted data, for a command line."""
    return f"data.planted={{_target_:augrad.data.planted.Planted,op:{PLANTS[plant]}}}"


def search(out: Path, plant: str, recipe: str, seed: int, more: list[str]) -> Path:
    """The directory of a complete run."""
    overrides = [*RECIPES[recipe].overrides, planted_override(plant), f"seed={seed}", *more]
    return search_once(out / f"{plant}-{recipe}-{seed}", overrides)


def fresh_accuracy(file: Path, plant: str, policy: Path | None, seed: int, epochs: int) -> float:
    """Test accuracy of a classifier trained afresh with a policy file, or with the true transformation (None).

    Kept in `file`, where a later call finds it.
    """
    if not file.exists():
        torch.set_num_threads(1)
        with initialize_config_dir(config_directory(), version_base="1.3"):
            config = compose("compare", [planted_override(plant), f"train.epochs={epochs}"])
        model, optimizer, settings = recipe_of(config)
        data, device = data_and_device(config)
        learned = true_policy(plant) if policy is None else policy_arm(str(policy), config)(seed)
        result = train_classifier(data, model, optimizer, learned, settings, seed, device)
        write_bytes(file, str(result.test_accuracy).encode())
    return float(file.read_text())


def row_of(plant: str, recipe: str, outcomes: list[Outcome], fresh: list[float] | None) -> str:
    """One line of the table. fresh: None where the classifier that was trained along is the result."""
    n = len(outcomes)
    accuracy = percent(mean_interval([o.classifier for o in outcomes] if fresh is None else fresh))
    return (
        f"| {plant} | `{recipe}` | {sum(o.found for o in outcomes)} of {n} | "
        f"{', '.join(f'{o.mass:.2f}' for o in outcomes)} | {', '.join(f'{o.other:.2f}' for o in outcomes)} | "
        f"{sum(o.collapsed for o in outcomes)} of {n} | {accuracy} | "
        f"{mean(o.seconds for o in outcomes):.0f} |"
    )


def parse_options() -> argparse.Namespace:
    """What the command line says."""
    parser = options_parser(__doc__, "runs/stability")
    parser.add_argument("--plants", nargs="+", choices=list(PLANTS), default=list(PLANTS))
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=50, help="of the fresh classifiers (default: %(default)s)")
    parser.add_argument("--overrides", nargs="*", default=[], help="of every search, e.g. search.steps=2000")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Run what is missing, then write the table."""
    options = parse_options()
    seeds = list(range(options.seeds))
    jobs = [(p, r, s) for p in options.plants for r in options.recipes for s in seeds]
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = dict(
            zip(
                jobs,
                pool.map(lambda job: search(options.out, job[0], job[1], job[2], options.overrides), jobs),
                strict=True,
            )
        )
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        fresh = {}
        for plant in options.plants:
            for name in (*CONTROLS, *(recipe for recipe in options.recipes if not RECIPES[recipe].keeps_classifier)):
                for seed in seeds:
                    given = CONTROLS[name] if name in CONTROLS else runs[plant, name, seed] / "policy.json"
                    file = options.out / f"{plant}-{name.strip('*')}-{seed}-{options.epochs}.accuracy"
                    job = pool.submit(fresh_accuracy, file, plant, given, seed, options.epochs)
                    fresh.setdefault((plant, name), []).append(job)
        accuracies = {cell: [job.result() for job in jobs] for cell, jobs in fresh.items()}
    lines = [
        provenance(options.jobs),
        "",
        "| planted | recipe | found | share of the planted operation | largest other share | collapsed | test accuracy "
        "| processor seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for plant in options.plants:
        lines += [
            f"| {plant} | {name} | | | | | {percent(mean_interval(accuracies[plant, name]))} | |" for name in CONTROLS
        ]
        for recipe in options.recipes:
            outcomes = [outcome(runs[plant, recipe, seed], PLANTED[plant][0]) for seed in seeds]
            lines.append(row_of(plant, recipe, outcomes, accuracies.get((plant, recipe))))
    write_table(lines, options.table)


if __name__ == "__main__":
    main()
