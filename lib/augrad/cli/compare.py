"""augrad compare: judge several policies under one recipe, with intervals."""

from contextlib import chdir
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from augrad.cli import signals
from augrad.cli.arms import (
    entrants_of,
    loaded_from,
    matching,
    require_judged_together,
    sources_of,
    split_seeds_of,
    start_for,
)
from augrad.cli.building import keys_added
from augrad.cli.comparison import COMPARISON, TABLES, TRAININGS, Recorder, keys_of
from augrad.cli.configs import config_directory
from augrad.cli.entry import run_entry_point
from augrad.cli.judging import digest_on, processes_of, recipe_on, say_verdict, trained_on, write_tables
from augrad.cli.limits import too_large_refused
from augrad.cli.outcome import Attempts, for_trackers, write_comparison_figures, write_comparison_report
from augrad.cli.parts import data_and_device, plain, say_data, tracker_of
from augrad.cli.quoting import shell_quoted
from augrad.cli.recipes import require_final_training, with_own_settings
from augrad.cli.run_directory import (
    new_run,
    nothing_left_of_mistakes,
    output_directory,
    resume_line,
    resumed_from,
    resumed_run,
)
from augrad.cli.status import require_shown, say_progress
from augrad.cli.unread import require_read
from augrad.comparison.arms import training_seeds
from augrad.comparison.summary import lines_of
from augrad.comparison.trainings import Planned, compare_policies, planned
from augrad.data.seeding import checked_seed
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.paths import expanded
from augrad.runs.trackers import Tracker
from augrad.search.words import words_of_trainings
from augrad.show.table import comparison_table
from augrad.terminal.console import say
from augrad.train import Recipe, check_recipe

_REPORT, _FIGURES = "report.html", ("comparison.png", "comparison_narrow.png")


@hydra.main(version_base="1.3", config_path=config_directory(), config_name="compare")
@nothing_left_of_mistakes
def _compare(config: DictConfig) -> None:
    require_read(config)
    config = with_own_settings(config)
    directory = output_directory()
    with too_large_refused(config), chdir(resumed_from(config, directory)):
        _compare_in(config, directory)


def _compare_in(config: DictConfig, directory: Path) -> None:
    """Train with every policy on every split and seed, write what they say."""
    require_final_training(config)
    sources = sources_of(config.policies, "policies")
    if (file := config.policy.get("file")) is not None:
        sources = {name: files for name, files in sources.items() if name != file} | sources_of([file], "policy.file")
    reference = list(sources)[-1]
    seeds = _seeds(config)
    with_validation, with_selection = trained_on(config)
    others = _directories(config)
    # Files are read once, before anything else: a mistake is told at once, and every seed sees the same policy.
    loaded = loaded_from(sources, config)
    start = start_for(sources, loaded, config)
    data, device = data_and_device(config)
    split_seeds, entrants = split_seeds_of(
        config.split_seeds, entrants_of(sources, loaded, start, config, data), config
    )
    recipes: dict[int, Recipe] = {}
    digests: dict[int, str] = {}
    for split_seed in split_seeds:
        on = data if split_seed == config.data.get("seed", 0) else data_and_device(config, split_seed)[0]
        recipes[split_seed] = recipe = recipe_on(on, config, with_validation, with_selection)
        digests[split_seed] = digest_on(on, config, with_validation, split_seed, with_selection)
        with keys_added():
            check_recipe(recipe)
    trainings = planned(entrants, split_seeds, seeds)
    require_judged_together(trainings, reference)
    tracker, processes = tracker_of(config), processes_of(config.processes, "processes", device)
    keys, taken_up = keys_of(trainings, digests), config.resume is not None
    run = (
        resumed_run(config, directory, lambda: None, (directory / TRAININGS).exists)
        if taken_up
        else new_run(config, directory, TRAININGS, COMPARISON, *_FIGURES, _REPORT, *TABLES)
    )
    with run:
        recipe = next(iter(recipes.values()))
        say_data(data, {"train.batch_size": (recipe.settings.batch_size, len(recipe.splits.train))})
        tracker.start(plain(config), directory)
        record = Recorder(directory, keys, reference, tracker, held_back=False, others=others)
        say_progress(f"comparison: {words_of_trainings(len(entrants), len(trainings) // len(entrants), recipe.steps)}")
        _train(trainings, recipes, processes, record, directory)
        _show(config, directory, data, record, reference, tracker)


def _train(
    trainings: list[Planned], recipes: dict[int, Recipe], processes: int, record: Recorder, directory: Path
) -> None:
    try:
        with keys_added():
            compare_policies(trainings, recipes, processes, record.known, record)
    except KeyboardInterrupt as error:
        go_on = resume_line("compare", directory)
        words = f"stopped after {len(record.rows)} of {len(trainings)} trainings; go on with: {go_on}"
        raise signals.Interrupted(words, signals.number_of(error)) from error


def _show(
    config: DictConfig, directory: Path, data: Splits, record: Recorder, reference: str, tracker: Tracker
) -> None:
    rows, attempt = record.rows, Attempts()
    with attempt(COMPARISON):
        record.publish()
        record.require_written()
    figures = write_comparison_figures(directory, rows, attempt, reference)
    with attempt("the tables"):
        write_tables(directory, rows, reference)
    with attempt("the report"):
        text = OmegaConf.to_yaml(plain(config))
        write_comparison_report(directory / _REPORT, data, figures, rows, reference, text)
    accuracies = {f"test_accuracy/{line.name}": line.accuracy.mean for line in lines_of(rows, reference)}
    tracker.finish(for_trackers(figures), None, accuracies)
    with attempt("the table"):
        say(comparison_table(rows, reference))
        say_verdict(rows, reference)
    say(f"results in {shell_quoted(str(directory))}")
    say(f"report: {shell_quoted(str(directory / _REPORT))}")
    require_shown(attempt.failed)


def _seeds(config: DictConfig) -> list[int]:
    """Of the trainings: so many, or those of a list."""
    if not isinstance(config.seeds, ListConfig):
        return list(training_seeds(config.seed, config.seeds, "seeds"))
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise UserError(f"seeds: expected a number of seeds, or a list of different ones, got {config.seeds}")
    return [checked_seed(seed) for seed in config.seeds]


def _directories(config: DictConfig) -> list[Path]:
    """`reuse`: other comparisons, whose trainings are not done again."""
    given = config.get("reuse") or []
    if not isinstance(given, ListConfig | list) or not all(isinstance(place, str) for place in given):
        raise UserError(f"reuse: expected a list of directories of other comparisons, got {given}")
    found: list[Path] = []
    for place in given:
        every = [expanded(match) for match in matching(place, "reuse")]
        # What else a pattern meets, as the multirun.yaml of a sweep, is none; what is named alone has to be one.
        found += every if len(every) == 1 else [path for path in every if (path / TRAININGS).is_file()]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad compare`."""
    return run_entry_point(_compare, "augrad compare", arguments, resumable=TRAININGS)
