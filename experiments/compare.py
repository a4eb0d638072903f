"""augrad compare: judge several policies under one recipe, with intervals. Also `python experiments/compare.py`."""

import json
import sys
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from augrad.atomic import write_text
from augrad.compare import compare_policies
from augrad.errors import UserError
from augrad.experiments.entry import run_entry_point
from augrad.experiments.parts import checked_seed, data_and_device, policy_arm, recipe_of
from augrad.show.figures import comparison_figure
from augrad.show.statistics import ComparisonRow
from augrad.show.style import save_figure
from augrad.show.table import comparison_table


@hydra.main(version_base="1.3", config_path="pkg://augrad.configs", config_name="compare")
def _compare(config: DictConfig) -> float:
    """Train every policy on every seed, write comparison.json and its figure; returns the lowest mean test error."""
    first, directory = checked_seed(config), Path(HydraConfig.get().runtime.output_dir)
    names = [str(name) for name in config.policies]
    if not names or len(set(names)) < len(names):
        raise UserError(f"policies: expected different names or files, got {names}")
    if not isinstance(config.seeds, int) or config.seeds < 1:
        raise UserError(f"seeds: expected a whole number of at least 1, got {config.seeds!r}")
    arms = {name: partial(policy_arm, name, config) for name in names}
    for arm in arms.values():
        arm(first)  # a wrong file is told before anything is trained
    model, optimizer, settings = recipe_of(config)
    data, device = data_and_device(config)
    console = Console(stderr=True)
    accuracies = compare_policies(
        arms,
        data,
        model,
        optimizer,
        settings,
        range(first, first + config.seeds),
        device,
        lambda name, seed, accuracy: console.print(f"{name}  seed {seed}: {accuracy:.4f}", highlight=False),
    )
    rows = [ComparisonRow(name, values) for name, values in accuracies.items()]
    write_text(directory / "comparison.json", json.dumps(accuracies, indent=2) + "\n")
    save_figure(comparison_figure(rows, reference=names[-1]), directory / "comparison.png")
    Console().print(comparison_table(rows, reference=names[-1]))
    Console().print(f"results in {directory}", highlight=False, soft_wrap=True)
    return 1 - max(sum(values) / len(values) for values in accuracies.values())


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad compare`."""
    return run_entry_point(_compare, "augrad compare", arguments)


if __name__ == "__main__":
    sys.exit(main())
