"""Is the learned range of a rotation the one that minimises the validation loss? Prints a Markdown table.

    python -m experiments.recovery.rotation_range --out runs/rotation_range --table table.md

Trains classifiers under uniform rotations of up to each angle of a grid, fits a parabola through the lowest mean
validation losses, and compares its minimum with what `augrad search experiment=rotation_range` learns. An estimator may
bring settings of its own, as in `gumbel,magnitude=pathwise`; `--overrides` go to every training and every search:

    python -m experiments.recovery.rotation_range --overrides model.activation=relu model.pool=max \
        --estimators relax reinforce
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from augrad.cli.configs import config_directory
from augrad.cli.parts import data_and_device, recipe_of
from augrad.data.types import Splits
from augrad.learning.step import evaluate
from augrad.policy import Policy
from augrad.policy_file import UniformUpTo, read_policy
from augrad.train import train_classifier
from experiments.shared.runs import one_operation, options_parser, provenance, search_once, write_table

GRID = (15.0, 25.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 70.0, 85.0)


def rotation_up_to(angle: float) -> Policy:
    """Uniform rotation of both signs, always applied."""
    return one_operation(
        f'"op": "rotate", "unit": "degree", "signed": true, "magnitude": {{"low": 0.0, "high": {angle}}}'
    )


def directory_of(out: Path, *words: str) -> Path:
    """A folder of that name, without characters that Hydra would read as its own."""
    return out / re.sub(r"[^\w.-]", "_", "-".join(words))


def grid_losses(out: Path, seeds: range, overrides: list[str]) -> np.ndarray:
    """Validation loss [angle, seed] of classifiers trained under each angle of the grid; kept in `out`."""
    kept = directory_of(out, "grid", *overrides, str(len(seeds))) / "losses.npy"
    if kept.exists():
        return np.load(kept)
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("compare", ["experiment=rotation_range", *overrides])
    model, optimizer, settings = recipe_of(config)
    data: Splits
    data, device = data_and_device(config)
    losses = np.empty((len(GRID), len(seeds)))
    for row, angle in enumerate(GRID):
        for column, seed in enumerate(seeds):
            result = train_classifier(data, model, optimizer, rotation_up_to(angle), settings, seed, device)
            losses[row, column] = float(evaluate(result.model, data.validation).loss)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, losses)
    return losses


def learned_angles(out: Path, estimator: str, seed: int, overrides: list[str]) -> tuple[float, ...]:
    """The median of the learned range, in degrees: of the policy that the search exports, and at the last step.

    The two differ where the selection split prefers an earlier policy.
    """
    name, *settings = estimator.split(",")
    own = [f"estimator={name}", *(f"estimator.{setting}" for setting in settings)]
    directory = search_once(
        directory_of(out, estimator, *overrides, str(seed)),
        ["experiment=rotation_range", f"seed={seed}", *own, *overrides],
    )
    magnitude = read_policy(directory / "policy.json").subpolicies[0].stages[0][0].magnitude
    assert isinstance(magnitude, UniformUpTo)
    last = json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])
    width = magnitude.high - magnitude.low
    # Of a uniform magnitude the log has half the range, as a share of the range's limit.
    return tuple(
        magnitude.low + width * share
        for share in (1 / (1 + math.exp(-magnitude.location)), 2 * last["strength/rotate"])
    )


def grid_minimum(losses: np.ndarray) -> tuple[float, list[str]]:
    """The angle of the lowest loss, and the grid's table."""
    mean = losses.mean(1)
    best = int(mean.argmin())
    near = slice(max(best - 2, 0), best + 3)
    curve = np.polynomial.Polynomial.fit(GRID[near], mean[near], 2).convert().coef
    minimum = float(np.clip(-curve[1] / (2 * curve[2]), GRID[near][0], GRID[near][-1])) if curve[2] > 0 else GRID[best]
    return minimum, [
        "| rotation, uniform up to | validation loss, mean of seeds | range over seeds |",
        "|---|---|---|",
        *(
            f"| {angle:.0f}° | {value.mean():.4f} | {value.min():.4f} to {value.max():.4f} |"
            for angle, value in zip(GRID, losses, strict=True)
        ),
        "",
        f"Minimum of a parabola through the five angles around the lowest: **{minimum:.1f}°**.",
        "",
    ]


def main() -> None:
    """Grid, searches, table."""
    parser = options_parser(__doc__, "runs/rotation_range")
    parser.add_argument("--grid-seeds", type=int, default=3, help="of every angle of the grid")
    parser.add_argument("--overrides", nargs="*", default=[], help="of the configuration, e.g. model.activation=relu")
    parser.add_argument("--minimum", type=float, help="the best angle, where it is known: there is no grid then")
    options = parser.parse_args()
    torch.set_num_threads(1)
    minimum, lines = options.minimum, [provenance(1), ""]
    if minimum is None:
        minimum, table = grid_minimum(grid_losses(options.out, range(options.grid_seeds), options.overrides))
        lines += table
    lines += [
        "| estimator | learned angle, by seed | mean | within 20% of the minimum | at the last step, mean |",
        "|---|---|---|---|---|",
    ]
    for estimator in options.estimators:
        both = [learned_angles(options.out, estimator, seed, options.overrides) for seed in range(options.seeds)]
        angles, last = zip(*both, strict=True)
        within = sum(abs(angle - minimum) <= 0.2 * minimum for angle in angles)
        words = ", ".join(f"{angle:.1f}°" for angle in angles)
        lines.append(
            f"| {estimator} | {words} | {np.mean(angles):.1f}° | {within} of {len(angles)} | {np.mean(last):.1f}° |"
        )
    write_table(lines, options.table)


if __name__ == "__main__":
    main()
