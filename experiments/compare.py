"""augrad compare: judge several policies under one recipe, with intervals. Also `python experiments/compare.py`."""

import json
import sys
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console

from augrad.atomic import write_text
from augrad.compare import always, compare_policies
from augrad.errors import UserError
from augrad.experiments.entry import run_entry_point
from augrad.experiments.parts import checked_seed, data_and_device, policy_arm, recipe_of
from augrad.show.figures import comparison_figure
from augrad.show.statistics import ComparisonRow
from augrad.show.style import save_figure
from augrad.show.table import comparison_table


@hydra.main(version_base="1.3", config_path="pkg://augrad.configs", config_name="compare")
def _compare(config: DictConfig) -> None:
    """Train every policy on every seed, write comparison.json and its figure."""
    first, directory = checked_seed(config), Path(HydraConfig.get().runtime.output_dir)
    names = [str(name) for name in config.policies] if isinstance(config.policies, ListConfig) else []
    if not names or len(set(names)) < len(names):
        raise UserError(f"policies: expected a list of different names or files, [none,a.json], got {config.policies}")
    if not isinstance(config.seeds, int) or config.seeds < 1:
        raise UserError(f"seeds: expected a whole number of at least 1, got {config.seeds!r}")
    # Files are read once, before anything is trained: a mistake is told at once, and every seed sees the same policy.
    fixed = {name: policy_arm(name, config, first) for name in names if name != "random"}
    arms = {name: partial(policy_arm, name, config) if name == "random" else always(fixed[name]) for name in names}
    model, optimizer, settings = recipe_of(config)
    data, device = data_and_device(config)
    console = Console(stderr=True)
    kept: dict[str, dict[str, float]] = {name: {} for name in names}

    def keep(name: str, seed: int, accuracy: float) -> None:
        kept[name][str(seed)] = accuracy
        write_text(directory / "comparison.json", json.dumps(kept, indent=2) + "\n")  # what is done is kept
        console.print(f"{name}  seed {seed}: {accuracy:.4f}", highlight=False)

    accuracies = compare_policies(
        arms,
        data,
        model,
        optimizer,
        settings,
        range(first, first + config.seeds),
        device,
        keep,
    )
    rows = [ComparisonRow(name, values) for name, values in accuracies.items()]
    save_figure(comparison_figure(rows, reference=names[-1]), directory / "comparison.png")
    Console().print(comparison_table(rows, reference=names[-1]))
    Console().print(f"results in {directory}", highlight=False, soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad compare`."""
    return run_entry_point(_compare, "augrad compare", arguments)


if __name__ == "__main__":
    sys.exit(main())
