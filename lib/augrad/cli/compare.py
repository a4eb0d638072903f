"""augrad compare: judge several policies under one recipe, with intervals."""

import hydra
from omegaconf import DictConfig, ListConfig

from augrad.cli.building import keys_added
from augrad.cli.comparison import COMPARISON, TRAININGS, Recorder, keys_of, recipe_digest
from augrad.cli.configs import config_directory
from augrad.cli.entry import run_entry_point
from augrad.cli.limits import too_large_refused
from augrad.cli.outcome import Attempts
from augrad.cli.parts import (
    checked_count,
    data_and_device,
    plain,
    policy_arm,
    recipe_of,
    standard_of,
    tracker_of,
)
from augrad.cli.quoting import shell_quoted
from augrad.cli.recipes import with_own_settings
from augrad.cli.run_directory import new_run, output_directory
from augrad.cli.status import require_shown
from augrad.data.seeding import checked_seed
from augrad.errors import UserError
from augrad.show.figures import comparison_figure
from augrad.show.statistics import ComparisonRow
from augrad.show.style import save_figure
from augrad.show.table import comparison_table
from augrad.terminal.console import say
from augrad.train import check_recipe, compare_policies


@hydra.main(version_base="1.3", config_path=config_directory(), config_name="compare")
def _compare(config: DictConfig) -> None:
    config = with_own_settings(config)
    with too_large_refused(config):
        _compare_as(config)


def _compare_as(config: DictConfig) -> None:
    """Train every policy on every seed, write comparison.json and its figure."""
    first, directory = checked_seed(config.seed), output_directory()
    names = list(config.policies) if isinstance(config.policies, ListConfig) else []
    if names and config.policy.get("file") is not None:
        names.append(config.policy.file)
    if not names or len(set(names)) < len(names):
        raise UserError(f"policies: expected a list of different names or files, [none,a.json], got {config.policies}")
    if strange := [name for name in names if not isinstance(name, str)]:
        raise UserError(
            f"policies: expected names or files, [none,a.json], got {strange[0]!r}; quote what is a file's name, "
            "as in 'policies=[none,\"7\"]'"
        )
    seeds = checked_count(config.seeds, "seeds", first)
    # Files are read once, before anything is trained: a mistake is told at once, and every seed sees the same policy.
    arms = {name: policy_arm(name, config) for name in names}
    model, optimizer, settings = recipe_of(config)
    data, device = data_and_device(config)
    standard = standard_of(config)
    with keys_added():
        check_recipe(data, model, optimizer, settings, device, standard)
    tracker = tracker_of(config)
    attempt, figures = Attempts(), {}
    with new_run(config, directory, COMPARISON, TRAININGS, "comparison.png"):
        tracker.start(plain(config), directory)
        record = Recorder(directory, keys_of(arms, seeds, recipe_digest(plain(config), data)), tracker)
        accuracies = compare_policies(arms, data, model, optimizer, settings, seeds, device, record, standard)
        rows = [ComparisonRow(name, values) for name, values in accuracies.items()]
        means = {f"test_accuracy/{row.name}": sum(row.accuracies) / len(row.accuracies) for row in rows}
        with attempt(COMPARISON):
            record.require_written()
        with attempt("the figure comparison"):
            save_figure(comparison_figure(rows, reference=names[-1]), directory / "comparison.png")
            figures["comparison"] = directory / "comparison.png"
        tracker.finish(figures, None, means)
    with attempt("the table"):
        say(comparison_table(rows, reference=names[-1]))
    say(f"results in {shell_quoted(str(directory))}")
    require_shown(attempt.failed)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad compare`."""
    return run_entry_point(_compare, "augrad compare", arguments)
