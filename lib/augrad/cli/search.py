"""augrad search: learn a policy."""

import os
from collections.abc import Mapping
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from augrad.cli.building import keys_added
from augrad.cli.comparison import Recorder, kept_comparison, keys_of, recipe_digest, withdraw_comparison
from augrad.cli.configs import config_directory
from augrad.cli.entry import run_entry_point
from augrad.cli.limits import too_large_refused
from augrad.cli.outcome import Attempts, write_figures, write_search_report
from augrad.cli.parts import (
    checked_count,
    data_and_device,
    exported,
    plain,
    provenance,
    recipe_of,
    save_model,
    search_arguments,
    standard_of,
    tracker_of,
)
from augrad.cli.quoting import shell_quoted
from augrad.cli.recipes import with_own_settings
from augrad.cli.run_directory import output_directory, started_in
from augrad.cli.search_run import Interrupted, SearchRun
from augrad.cli.status import require_shown
from augrad.data.seeding import checked_seed
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy.initial import random_policy
from augrad.policy.learnable import anything_learnable
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from augrad.search import begin_search, run_search
from augrad.show.statistics import ComparisonRow
from augrad.show.table import comparison_table, policy_table
from augrad.terminal.console import say
from augrad.train import Arm, always, check_recipe, compare_policies


@hydra.main(version_base="1.3", config_path=config_directory(), config_name="search")
def _search(config: DictConfig) -> float:
    """Learn a policy, write the run directory; returns the loss on the selection split of that policy, for sweeps.

    It is the lowest one that was seen, with select=last that of the last look; infinite where there was no look after
    the warm-up.
    """
    config, directory = with_own_settings(config), output_directory()
    with too_large_refused(config), chdir(resumed_from(config, directory)):
        return _search_in(config, directory)


def resumed_from(config: DictConfig, directory: Path) -> Path:
    """The working directory for the run's relative paths. Raises UserError unless `resume` is null or `directory`."""
    if config.resume is None:
        return Path.cwd()
    given = Path(HydraConfig.get().runtime.cwd) / expanded(str(config.resume))
    if os.path.realpath(given) != os.path.realpath(directory):
        raise UserError(
            f"resume={config.resume}: a run goes on in its own directory, got hydra.run.dir={directory}; leave "
            "that out (or copy the run and resume the copy), and give resume=DIR on the command line"
        )
    return started_in(directory)


def _search_in(config: DictConfig, directory: Path) -> float:
    seeds = compared_seeds(config, checked_seed(config.seed))
    recipe, arguments = recipe_of(config), search_arguments(config)
    data, device = data_and_device(config)
    with keys_added():
        check_recipe(data, *recipe, device, arguments["standard"])  # what comes after the search is checked before it
    start = arguments["policy"]
    format_policy(document_of(exported(start, config), provenance(config, data, {})))  # so is what comes of it
    if not anything_learnable(start):
        words = "search: nothing of this policy can be learned: its weights, probabilities and magnitudes are fixed, "
        words += "or not among policy.learn; the classifier is trained with the policy as it is"
        say(words, stderr=True)
    with keys_added():
        state, parts = begin_search(data, device=device, **arguments)
    with SearchRun(directory, config, state, parts, tracker_of(config)) as run:
        with keys_added():
            run_search(state, parts, run)
        run.end()
        if run.interrupted():
            raise Interrupted(directory, state.step, run.stopped_by)
        policy = exported(state.best_policy(), config)
        if not run.was_finished:  # else policy.json goes with the report and the comparison that are there
            run.write_policy()
        attempt, record, comparison = Attempts(), None, None
        if parts.settings.keep_model:
            with attempt("the classifier"):
                save_model(state.model, directory / "model.pt")
        arms = {"none": always(None), "random": partial(random_policy, run.start(start)), "learned": always(policy)}
        with attempt("the comparison"):
            if seeds:
                keys = keys_of(arms, seeds, recipe_digest(plain(config), data))
                record = Recorder(directory, keys, held_back=run.was_finished)
                comparison = _compare(config, data, arms, seeds, record)
            else:
                comparison = kept_comparison(directory, arms, recipe_digest(plain(config), data))
        if run.was_finished and attempt.failed:
            require_shown(attempt.failed)  # what is there stays
        with run.signals_wait():
            _show(config, directory, run, data, policy, comparison, record, attempt)
    return state.best_loss


def compared_seeds(config: DictConfig, seed: int) -> range:
    """The seeds of the comparison at the end, apart from the search's own; none without: compare=3 is compare.seeds=3.

    Raises UserError unless compare is null or has a number of seeds.
    """
    if config.compare is None:
        return range(0)
    count = config.compare.seeds if isinstance(config.compare, DictConfig) else config.compare
    first = 1000 + seed * 100
    return range(first, first + len(checked_count(count, "compare.seeds")))


def _compare(
    config: DictConfig, data: Splits, arms: Mapping[str, Arm], seeds: range, record: Recorder
) -> list[ComparisonRow]:
    model, optimizer, settings = recipe_of(config)
    words = f"comparison: 3 policies x {len(seeds)} seeds x {settings.epochs} epochs"
    say(words, stderr=True)
    device, standard = data.train.images.device, standard_of(config)
    accuracies = compare_policies(arms, data, model, optimizer, settings, seeds, device, record, standard, record.known)
    return [ComparisonRow(name, values) for name, values in accuracies.items()]


def _show(
    config: DictConfig,
    directory: Path,
    run: SearchRun,
    data: Splits,
    policy: Policy,
    comparison: list[ComparisonRow] | None,
    record: Recorder | None,
    attempt: Attempts,
) -> None:
    """Writes what agrees with each other, comparison.json among it, as late and as closely together as can be."""
    state = run.state
    summary: dict[str, Any] = run.summary()
    for row in comparison or ():
        summary[f"test_accuracy/{row.name}"] = sum(row.accuracies) / len(row.accuracies)
    document = document_of(policy, provenance(config, data, summary))
    with attempt("comparison.json"):
        if comparison is None:
            withdraw_comparison(directory)
        elif record is not None:
            record.publish()
            record.require_written()
    run.write_policy(document)
    reported = ""
    figures = write_figures(directory, policy, data.train, config.seed, comparison, attempt)
    with attempt("the report"):
        config_text = OmegaConf.to_yaml(plain(config))
        write_search_report(directory / "report.html", document, figures, comparison, summary, config_text)
        reported = f"   report: {shell_quoted(str(directory / 'report.html'))}"
    run.tracker.finish(figures, directory / "policy.json", summary)
    with attempt("the tables"):
        say(policy_table(document))
        if comparison:
            say(comparison_table(comparison))
    say(f"search: {state.step} steps; results in {shell_quoted(str(directory))}")
    if run.parts.settings.keep_model:
        accuracy, model = summary["search_classifier_test_accuracy"], directory / "model.pt"
        kept = f"; {shell_quoted(str(model))}" if model.exists() else ""
        say(f"classifier trained along: test accuracy {accuracy:.4f} after the last step{kept}")
    say(f"policy: {shell_quoted(str(directory / 'policy.json'))}{reported}")
    require_shown(attempt.failed)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad search`."""
    return cast(int, run_entry_point(_search, "augrad search", arguments, resumable=True))
