"""augrad search: learn a policy."""

from contextlib import chdir
from pathlib import Path
from typing import cast

import hydra
from omegaconf import DictConfig, OmegaConf

from augrad.checks import check_value
from augrad.cli.building import key_added, keys_added
from augrad.cli.choosing import asked_choice, choose_in
from augrad.cli.comparison import Recorder, withdraw_comparison
from augrad.cli.configs import config_directory
from augrad.cli.costs import Costs, Trainings, too_short
from augrad.cli.distributed import begin_together, in_processes, note_run
from augrad.cli.entry import run_entry_point
from augrad.cli.judging import (
    asked_comparison,
    comparison_plan,
    kept,
    processes_of,
    recipe_on,
    say_verdict,
    write_tables,
)
from augrad.cli.limits import too_large_refused
from augrad.cli.outcome import Attempts, for_trackers, write_figures, write_search_report
from augrad.cli.parts import (
    allowed_modules,
    data_and_device,
    exported,
    plain,
    provenance,
    save_model,
    search_arguments,
    tracker_of,
)
from augrad.cli.quoting import shell_quoted
from augrad.cli.recipes import with_own_settings
from augrad.cli.run_directory import StoppedRun, nothing_left_of_mistakes, output_directory, resume_line, resumed_from
from augrad.cli.search_run import SearchRun
from augrad.cli.status import in_sweep, require_shown, say_progress
from augrad.cli.unread import require_read
from augrad.comparison.arms import LEARNED, entrants_of_search
from augrad.comparison.rows import TrainingRow
from augrad.comparison.trainings import compare_policies
from augrad.comparison.verdict import judge, nothing_learned, seeds_to_try, steps_to_try, unfinished
from augrad.data.folds import folds_of, parts_of
from augrad.data.seeding import checked_seed
from augrad.data.types import Splits
from augrad.policy import Policy
from augrad.policy.learnable import anything_learnable
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from augrad.ranks import joined, left
from augrad.runs.directory import CHECKPOINT
from augrad.search import begin_search, run_search
from augrad.search.choice import Chosen
from augrad.search.words import facts_of_end, taken_from, words_of_choice, words_of_trainings
from augrad.settings import ChoiceSettings, CompareSettings
from augrad.show.policy_table import policy_table
from augrad.show.table import comparison_table
from augrad.terminal.console import say
from augrad.train import check_recipe

_MOST_SEEDS = 50
"""How many a comparison is advised to have; where more would be needed the policies are as good as equal."""


@hydra.main(version_base="1.3", config_path=config_directory(), config_name="search")
@nothing_left_of_mistakes
def _search(config: DictConfig) -> float:
    """Learn a policy, write the run directory; returns how good it is, for sweeps.

    It is the mean loss of the fresh classifiers by which the policy was chosen. With choose=null it is the loss on the
    selection split at the look that the policy is from; infinite where there was no look after the warm-up.
    """
    require_read(config)
    config, directory = with_own_settings(config), output_directory()
    with too_large_refused(config), chdir(resumed_from(config, directory)):
        return _search_in(config, directory)


def _search_in(config: DictConfig, directory: Path) -> float:
    check_value(config.get("final_training", True), bool, "final_training")  # for those who take up this run
    asked = asked_comparison(config)
    arguments = search_arguments(config)
    data, device = data_and_device(config)
    with keys_added():
        check_recipe(recipe_on(data, config, False))  # what comes after the search is checked before it
    start = arguments["policy"]
    format_policy(document_of(exported(start, config), provenance(config, data, {})))  # so is what comes of it
    if asked is not None:
        entrants_of_search(asked.policies, start, start, config.seed, allowed_modules(config))
        processes_of(asked.processes, "compare.processes", device)
    choice = asked_choice(config, device)
    if choice is not None and (count := folds_of(choice.folds, data)) is not None:
        with key_added("choose"):
            parts_of(data, count, checked_seed(config.seed))
    if not anything_learnable(start):
        choice = None
        words = "search: nothing of this policy can be learned: its weights, probabilities and magnitudes are fixed, "
        words += "or not among policy.learn; the classifier is trained with the policy as it is"
        say(words, stderr=True)
    ranks = joined(device)
    with keys_added():
        state, parts = begin_search(data, device=device, ranks=ranks, **arguments)
    then = _trainings(config, data, asked, choice)
    costs = Costs(config, then, say_progress)
    with SearchRun(directory, config, state, parts, tracker_of(config), costs) as run:
        for words in too_short(then):
            say_progress(f"data: {words}")
        note_run(directory)
        begin_together(state, device)
        with keys_added():
            run_search(state, parts, run)
        left()
        run.end()
        if run.interrupted():
            raise StoppedRun("search", directory, state.step, run.stopped_by)
        if not ranks.leads:
            return state.best_loss
        attempt, policy, chosen = Attempts(), exported(state.best_policy(), config), None
        if not run.was_finished:  # else policy.json goes with the report and the comparison that are there
            run.write_policy()
        if choice is not None:
            with attempt("the choice"):
                chosen = choose_in(directory, config, data, run.start(start), state.best_policy(), choice)
                policy = chosen.policy
        if not run.was_finished:
            run.write_policy(document_of(policy, provenance(config, data, run.metrics())))
        record, comparison = None, None
        if parts.settings.keep_model:
            with attempt("the classifier"):
                save_model(state.model, directory / "model.pt")
        with attempt("the comparison"):
            judged = run.start(start), policy
            if asked is not None:
                record, comparison = _compare(config, directory, data, asked, *judged, held_back=run.was_finished)
            else:
                comparison = kept(config, directory, data, *judged)
        if run.was_finished and attempt.failed:
            require_shown(attempt.failed)  # what is there stays
        with run.signals_wait():
            _show(config, directory, run, data, policy, chosen, comparison, record, attempt)
    return state.best_loss if chosen is None else chosen.loss


def _trainings(
    config: DictConfig, data: Splits, asked: CompareSettings | None, choice: ChoiceSettings | None
) -> list[Trainings]:
    """What is trained after the search, as far as that is known before."""
    device, found = data.train.images.device, []
    if choice is not None:
        count = choice.seeds * (len(choice.reaches) + choice.none + len(choice.also))
        processes = processes_of(choice.processes, "choose.processes", device)
        found.append(Trainings("choice", count, recipe_on(data, config, False), processes))
    if asked is not None:
        count = asked.seeds * (len(asked.policies) + 1)
        processes = processes_of(asked.processes, "compare.processes", device)
        found.append(Trainings("comparison", count, recipe_on(data, config, asked.with_validation), processes))
    return found


def _compare(
    config: DictConfig,
    directory: Path,
    data: Splits,
    asked: CompareSettings,
    start: Policy,
    learned: Policy,
    held_back: bool,
) -> tuple[Recorder, list[TrainingRow]]:
    trainings, keys = comparison_plan(config, data, asked, start, learned)
    record = Recorder(directory, keys, LEARNED, held_back=held_back)
    recipe = recipe_on(data, config, asked.with_validation)
    say_progress(f"comparison: {words_of_trainings(len(asked.policies) + 1, asked.seeds, recipe.steps)}")
    processes = processes_of(asked.processes, "compare.processes", data.train.images.device)
    split_seed = trainings[0].place.split_seed
    return record, compare_policies(trainings, {split_seed: recipe}, processes, record.known, record)


def _show(
    config: DictConfig,
    directory: Path,
    run: SearchRun,
    data: Splits,
    policy: Policy,
    chosen: Chosen | None,
    comparison: list[TrainingRow] | None,
    record: Recorder | None,
    attempt: Attempts,
) -> None:
    """Writes what agrees with each other, comparison.json among it, as late and as closely together as can be."""
    state = run.state
    summary = run.summary() | facts_of_end(chosen, comparison)
    document = document_of(policy, provenance(config, data, summary))
    with attempt("comparison.json"):
        if comparison is None:
            withdraw_comparison(directory)
        elif record is not None:
            record.publish()
            record.require_written()
            write_tables(directory, record.rows, LEARNED)
    run.write_policy(document)
    reported = ""
    taken = taken_from(state, run.parts) + ("" if chosen is None else f" {words_of_choice(chosen)}")
    figures = write_figures(directory, policy, data, config.seed, comparison, attempt, state.best_step or None)
    further = _further(directory, comparison or [])
    with attempt("the report"):
        config_text = OmegaConf.to_yaml(plain(config))
        page = directory / "report.html"
        write_search_report(page, data, document, figures, comparison, summary, config_text, taken, further)
        reported = f"   report: {shell_quoted(str(directory / 'report.html'))}"
    run.tracker.finish(for_trackers(figures), directory / "policy.json", summary)
    if in_sweep():
        told = f"; {judge(comparison, 'learned').headline}" if comparison else ""
        objective = state.best_loss if chosen is None else chosen.loss
        say(f"search: objective {objective:.4f}{told}; results in {shell_quoted(str(directory))}")
        require_shown(attempt.failed)
        return
    with attempt("the tables"):
        say(taken)
        say(policy_table(document, limit=8))
        if comparison:
            say(comparison_table(comparison))
            say_verdict(comparison, LEARNED)
        if further:
            say(": ".join(further))
    say(f"search: {state.step} steps; results in {shell_quoted(str(directory))}")
    if run.parts.settings.keep_model:
        accuracy, model = summary["search_classifier_test_accuracy"], directory / "model.pt"
        kept = f"; {shell_quoted(str(model))}" if model.exists() else ""
        say(f"classifier trained along: test accuracy {accuracy:.4f} after the last step{kept}")
    say(f"policy: {shell_quoted(str(directory / 'policy.json'))}{reported}")
    require_shown(attempt.failed)


def _further(directory: Path, rows: list[TrainingRow]) -> tuple[str, ...]:
    """Where the comparison decides nothing yet: in words what would, and the command for it. The search is kept."""
    what, change = "", ""
    if rows and (nothing_learned(rows) or unfinished(rows, LEARNED)):
        what, change = "longer trainings", f"train.steps={steps_to_try(rows)}"
    elif rows and (count := seeds_to_try(rows, LEARNED)) is not None and count <= _MOST_SEEDS:
        what, change = "more seeds", f"compare.seeds={count}"
    if not change:
        return ()
    command = resume_line("search", directory, change)
    return f"the same search, judged by {what}", command


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad search`."""
    program = "augrad search"
    return in_processes(
        lambda given: cast(int, run_entry_point(_search, program, given, resumable=CHECKPOINT)), program, arguments
    )
