"""Does the search find a planted transformation? Runs the recovery experiments and writes their table as Markdown.

    python scripts/recovery.py --out runs/recovery --table experiments/recovery.md

Every cell is a real `augrad search`; a run that is complete is not repeated. For each experiment, estimator and seed
it searches with the experiment's number of steps and with twice as many, then trains fresh classifiers, same recipe
and seed, without augmentation, with the true transformation and with the learned policy.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_module

from augrad.compare import always, compare_policies
from augrad.experiments.parts import data_and_device, recipe_of
from augrad.policy import Policy
from augrad.policy_file import parse_policy
from augrad.policy_file.convert import load_policy, policy_from_document
from augrad.show.statistics import mean_interval, percent

PLANTED = {
    "rotation": ("rotate", '"unit": "degree", "magnitude": {"low": 0.0, "high": 45.0}, "signed": true,'),
    "invert": ("invert", ""),
    "translation": ("translate_x", '"unit": "fraction", "magnitude": {"low": 0.0, "high": 0.25}, "signed": true,'),
    "brightness": ("brightness", '"unit": "strength", "magnitude": {"value": -0.5}, "signed": false,'),
}


def true_policy(experiment: str) -> Policy:
    """The planted transformation itself, as a policy."""
    op, rest = PLANTED[experiment]
    entry = f'{{"op": "{op}", {rest} "probability": 1.0, "weight": 1.0}}'
    return policy_from_document(
        parse_policy(
            '{"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0,'
            f'"subpolicies": [{{"weight": 1.0, "stages": [[{entry}]]}}]}}'
        )
    )


def search(out: Path, experiment: str, estimator: str, seed: int, steps: int) -> Path:
    """The directory of a complete run."""
    directory = out / f"{experiment}-{estimator}-{seed}-{steps}"
    if not (directory / "report.html").exists():
        command = [
            sys.executable, "-m", "augrad.experiments.cli", "search", f"experiment=recover_{experiment}",
            f"estimator={estimator}", f"seed={seed}", f"search.steps={steps}", "compare=null",
            f"hydra.run.dir={directory}",
        ]  # fmt: skip
        if (directory / "checkpoint.pt").exists():
            command = [*command[:4], f"resume={directory}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(directory.name, flush=True)
    return directory


def last_row(directory: Path) -> dict[str, float]:
    """The metrics of the last step."""
    return json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])


def found(directory: Path, op: str) -> tuple[bool, float, float]:
    """Whether `op` has more mass than any other operation at the last step; its mass; the largest other mass."""
    masses = {key[5:]: value for key, value in last_row(directory).items() if key.startswith("mass/")}
    other = max(value for key, value in masses.items() if key != op)
    return masses[op] > other, masses[op], other


def accuracies(experiment: str, directories: dict[str, list[Path]], seeds: list[int]) -> dict[str, tuple[float, ...]]:
    """Test accuracy by policy, trained afresh: none, the true transformation, what each estimator learned on a seed."""
    with initialize_config_module("augrad.configs", version_base="1.3"):
        config = compose("compare", [f"experiment=recover_{experiment}", "train.epochs=60"])
    model, optimizer, settings = recipe_of(config)
    data, device = data_and_device(config)
    arms = {"none": always(None), "true": always(true_policy(experiment))}
    for estimator, runs in directories.items():
        arms[estimator] = partial(lambda runs, seed: load_policy(runs[seeds.index(seed)] / "policy.json"), runs)
    return compare_policies(arms, data, model, optimizer, settings, seeds, device)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/recovery"))
    parser.add_argument("--table", type=Path, help="where to write the table (default: standard output)")
    parser.add_argument("--experiments", nargs="+", choices=list(PLANTED), default=list(PLANTED))
    parser.add_argument("--estimators", nargs="+", default=["gumbel", "reinforce"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--once", action="store_true", help="leave out the runs with twice the steps")
    parser.add_argument("--searches-only", action="store_true", help="leave out the fresh classifiers")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = list(range(options.seeds))
    lengths = [options.steps] if options.once else [options.steps, 2 * options.steps]
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
        f"Command: `python scripts/recovery.py --steps {options.steps} --seeds {options.seeds}`; "
        f"{platform.machine()}, {options.jobs} jobs of one thread; torch {torch.__version__}.",
        "",
        "| planted | estimator | steps | found, of seeds | mass of the planted operation | largest other mass | "
        "search classifier, test accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    final: list[str] = []
    for experiment in options.experiments:
        op = PLANTED[experiment][0]
        for estimator in options.estimators:
            for steps in lengths:
                directories = [runs[experiment, estimator, seed, steps] for seed in seeds]
                results = [found(directory, op) for directory in directories]
                test = [
                    load_policy(d / "policy.json").provenance["metrics"]["search_classifier_test_accuracy"]
                    for d in directories
                ]
                own, other = ([f"{result[index]:.2f}" for result in results] for index in (1, 2))
                lines.append(
                    f"| {experiment} | {estimator} | {steps} | {sum(r[0] for r in results)} of {len(seeds)} | "
                    f"{', '.join(own)} | {', '.join(other)} | {percent(mean_interval(test))} |"
                )
        if options.searches_only:
            continue
        trained = accuracies(
            experiment,
            {e: [runs[experiment, e, seed, lengths[-1]] for seed in seeds] for e in options.estimators},
            seeds,
        )
        final += [
            f"| {experiment} | {name} | {percent(mean_interval(values))} | {min(values):.3f} |"
            for name, values in trained.items()
        ]
    if final:
        lines += [
            "",
            "A fresh classifier, 60 epochs, same recipe and seeds, last epoch (mean, 95% t interval over seeds):",
            "",
            "| planted | trained with | test accuracy | worst seed |",
            "|---|---|---|---|",
            *final,
        ]
    text = "\n".join(lines) + "\n"
    if options.table is None:
        print(text)
    else:
        options.table.write_text(text)


if __name__ == "__main__":
    main()
