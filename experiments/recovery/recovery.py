"""Does the search find a planted transformation? Runs the recovery experiments and writes their table as Markdown.

    python -m experiments.recovery.recovery --out runs/recovery --table experiments/recovery/README.md

Every cell is a real `augrad search`; a run that is complete is not repeated. For each experiment, estimator and seed
it searches with the experiment's number of steps and with twice as many, then trains fresh classifiers, same recipe
and seed, without augmentation, with the true transformation and with the learned policy; and, without augmentation,
on all images that the search has seen.
"""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from augrad.cli.configs import config_directory
from augrad.cli.judging import recipe_on
from augrad.cli.parts import data_and_device
from augrad.comparison.rows import names_of, of_policy
from augrad.comparison.statistics import mean_interval, percent
from augrad.comparison.trainings import Entrant, always, compare_policies, planned, training_splits
from augrad.policy import Policy
from augrad.policy_file.convert import load_policy
from augrad.train import Recipe
from experiments.shared.runs import one_operation, options_parser, provenance, search_once, write_table

PLANTED = {
    "rotation": ("rotate", '"unit": "degree", "magnitude": {"low": 0.0, "high": 45.0}, "signed": true'),
    "invert": ("invert", ""),
    "translation": ("translate_x", '"unit": "fraction", "magnitude": {"low": 0.0, "high": 0.25}, "signed": true'),
    "brightness": ("brightness", '"unit": "strength", "magnitude": {"value": -0.5}, "signed": false'),
}

EVERYTHING = "none, on train, validation and selection"


def true_policy(experiment: str) -> Policy:
    """The planted transformation itself, as a policy."""
    op, rest = PLANTED[experiment]
    return one_operation(f'"op": "{op}"' + (f", {rest}" if rest else ""))


def search(out: Path, experiment: str, estimator: str, seed: int, steps: int) -> Path:
    """The directory of a complete run."""
    return search_once(
        out / f"{experiment}-{estimator}-{seed}-{steps}",
        [f"experiment=recover_{experiment}", f"estimator={estimator}", f"seed={seed}", f"search.steps={steps}"],
    )


def last_row(directory: Path) -> dict[str, float]:
    """The metrics of the last step."""
    return json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])


def found(directory: Path, op: str) -> tuple[bool, float, float]:
    """Whether `op` has more mass than any other operation at the last step; its mass; the largest other mass."""
    masses = {key[5:]: value for key, value in last_row(directory).items() if key.startswith("mass/")}
    other = max(value for key, value in masses.items() if key != op)
    return masses[op] > other, masses[op], other


def accuracies(
    experiment: str, directories: dict[str, list[Path]], seeds: list[int], epochs: int
) -> dict[str, tuple[float, ...]]:
    """Test accuracy by policy, trained afresh: none, the true transformation, what each estimator learned on a seed.

    And that of the honest baseline: without augmentation, on all images that a search has seen, the planted ones too.
    """
    torch.set_num_threads(1)
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("compare", [f"experiment=recover_{experiment}", f"train.epochs={epochs}"])
    recipe = recipe_on(data_and_device(config)[0], config, with_validation=False)
    arms = {"none": always(None), "true": always(true_policy(experiment))}
    for estimator, runs in directories.items():
        arms[estimator] = partial(lambda runs, seed: load_policy(runs[seeds.index(seed)] / "policy.json"), runs)
    plan = planned([Entrant(name, arm) for name, arm in arms.items()], [0], seeds)
    rows = compare_policies(plan, {0: recipe})
    rows += compare_policies(planned([Entrant(EVERYTHING, always(None))], [0], seeds), {0: on_everything(recipe)})
    return {name: tuple(row.accuracy for row in of_policy(rows, name)) for name in names_of(rows)}


def on_everything(recipe: Recipe) -> Recipe:
    """The recipe on all images that a search has seen: train, validation and selection."""
    splits = training_splits(recipe.splits, with_validation=True)
    return replace(recipe, splits=training_splits(replace(splits, validation=splits.selection), with_validation=True))


def parse_options() -> argparse.Namespace:
    """What the command line says."""
    parser = options_parser(__doc__, "runs/recovery")
    parser.add_argument("--experiments", nargs="+", choices=list(PLANTED), default=list(PLANTED))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=120, help="of the fresh classifiers (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Run what is missing, then write the table."""
    options = parse_options()
    torch.set_num_threads(1)
    seeds = list(range(options.seeds))
    lengths = [options.steps, 2 * options.steps]
    jobs = [
        (experiment, estimator, seed, steps)
        for experiment in options.experiments
        for steps in lengths
        for seed in seeds
        for estimator in options.estimators
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = dict(zip(jobs, pool.map(lambda job: search(options.out, *job), jobs), strict=True))
    lines = [
        provenance(options.jobs),
        "",
        "| planted | estimator | steps | found, of seeds | mass of the planted operation | largest other mass "
        "| search classifier, test accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    final = [
        "",
        f"Fresh classifiers with the policies of {options.steps} steps: {options.epochs} epochs, same recipe and "
        "seeds, last epoch (mean, 95% t interval over seeds):",
        "",
        "| planted | trained with | test accuracy | worst seed |",
        "|---|---|---|---|",
    ]
    exported = {
        experiment: {e: [runs[experiment, e, seed, options.steps] for seed in seeds] for e in options.estimators}
        for experiment in options.experiments
    }
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        fresh = {
            experiment: pool.submit(accuracies, experiment, directories, seeds, options.epochs)
            for experiment, directories in exported.items()
        }
    for experiment in options.experiments:
        for estimator in options.estimators:
            for steps in lengths:
                directories = [runs[experiment, estimator, seed, steps] for seed in seeds]
                results = [found(directory, PLANTED[experiment][0]) for directory in directories]
                test = [
                    load_policy(d / "policy.json").provenance["metrics"]["search_classifier_test_accuracy"]
                    for d in directories
                ]
                own, other = ([f"{result[index]:.2f}" for result in results] for index in (1, 2))
                lines.append(
                    f"| {experiment} | {estimator} | {steps} | {sum(r[0] for r in results)} of {len(seeds)} | "
                    f"{', '.join(own)} | {', '.join(other)} | {percent(mean_interval(test))} |"
                )
        final += [
            f"| {experiment} | {name} | {percent(mean_interval(values))} | {min(values):.3f} |"
            for name, values in fresh[experiment].result().items()
        ]
    write_table([*lines, *final], options.table)


if __name__ == "__main__":
    main()
