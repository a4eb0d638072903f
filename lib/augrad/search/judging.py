"""The end of `augrad.learn`: fresh classifiers decide what is left, and judge it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

from augrad.checks import plain
from augrad.comparison.arms import LEARNED, entrants_of_search, training_seeds
from augrad.comparison.rows import TrainingRow
from augrad.comparison.summary import words_of_training
from augrad.comparison.trainings import compare_policies, planned, training_splits
from augrad.data.folds import folds_of, parts_of
from augrad.errors import NonFiniteError, UserError
from augrad.learning.step import OptimizerBuilder
from augrad.policy import Policy
from augrad.policy.learnable import anything_learnable
from augrad.search.choice import Trial, candidates, choose, further, others
from augrad.search.result import Comparison, SearchResult
from augrad.search.state import SearchParts
from augrad.search.words import facts_of_end, words_of_choice, words_of_trainings, words_of_trial
from augrad.settings import ChoiceSettings, CompareSettings, TrainSettings, require_settings
from augrad.terminal.console import say
from augrad.train import Recipe, check_recipe
from augrad.train.processes import processes_for, require_processes


@dataclass(frozen=True)
class Judging:
    """What is asked for. choose, compare: None is nothing. train, optimizer: how classifiers are trained for both."""

    choose: ChoiceSettings | None
    compare: CompareSettings | None
    train: TrainSettings
    optimizer: OptimizerBuilder

    def recipe(self, parts: SearchParts, with_validation: bool) -> Recipe:
        """How classifiers are trained, on the data of the search."""
        assert parts.model is not None
        splits = training_splits(parts.data, with_validation)
        return Recipe(splits, parts.model, self.optimizer, self.train, parts.standard)


def judging_of(choose: object, compare: object, train: object, optimizer: OptimizerBuilder) -> Judging:
    """What `choose`, `compare` and `train` of `augrad.learn` ask for. Raises UserError for what they cannot be."""
    if choose is not None and not isinstance(choose, ChoiceSettings):
        raise UserError(
            f"choose: expected an augrad.ChoiceSettings, as in ChoiceSettings(seeds=3), got {choose!r:.200}"
        )
    if compare is not None and not isinstance(compare, CompareSettings):
        if not isinstance(plain(compare), int) or isinstance(plain(compare), bool):
            raise UserError(
                f"compare: expected a number of trainings with each policy, or an augrad.CompareSettings, as in "
                f"CompareSettings(seeds=3), got {compare!r:.200}"
            )
        try:
            compare = CompareSettings(seeds=plain(compare))
        except UserError as error:
            raise UserError(f"compare: {error}") from None
    if train is None:
        train = TrainSettings()
    elif choose is None and compare is None:
        raise UserError("train: is how classifiers are trained for choose and compare, got neither; add compare=3")
    require_settings(train)
    assert isinstance(train, TrainSettings)
    return Judging(choose, compare, train, optimizer)


def require_judgeable(asked: Judging, parts: SearchParts, start: Policy) -> None:
    """Raises UserError, before the search begins, for what would be refused at its end."""
    if asked.choose is not None or asked.compare is not None:
        check_recipe(asked.recipe(parts, with_validation=False))
    if asked.choose is not None:
        others(asked.choose)
        if (count := folds_of(asked.choose.folds, parts.data)) is not None:
            parts_of(parts.data, count, parts.seed)
    if asked.compare is not None:
        names = asked.compare.policies
        if len(set(names)) < len(names) or LEARNED in names:
            raise UserError(
                f"compare: policies: expected different names, the learned policy is judged against them, got "
                f"{', '.join(names)}"
            )
        entrants_of_search(names, start, start, parts.seed)
        training_seeds(parts.seed, asked.compare.seeds, "compare: seeds")
    for what in (asked.choose, asked.compare):
        if what is not None and what.processes is not None:
            require_processes(what.processes)


def judged(result: SearchResult, parts: SearchParts, asked: Judging, shown: bool) -> SearchResult:
    """The result with what fresh classifiers say of it, as far as that is asked for, and until Ctrl-C.

    shown: whether a line is said for each training. Raises NonFiniteError, whose `result` is what is known until then,
    when trainings diverge.
    """

    def say_line(words: str) -> None:
        if shown:
            say(words, stderr=True)

    try:
        if asked.choose is not None and anything_learnable(result.initial):
            result = _chosen(result, parts, asked, asked.choose, say_line)
        if asked.compare is not None:
            result = _compared(result, parts, asked, asked.compare, say_line)
    except NonFiniteError as error:
        error.result = result
        raise
    except KeyboardInterrupt:
        say_line("stopped; what was learned is returned")
    rows = None if result.comparison is None else result.comparison.rows
    metrics = {**result.summary, **facts_of_end(result.chosen, rows)}
    result.policy.provenance = {**result.policy.provenance, "metrics": metrics}
    return result


def _chosen(
    result: SearchResult, parts: SearchParts, asked: Judging, choice: ChoiceSettings, say_line: Callable[[str], None]
) -> SearchResult:
    recipe = asked.recipe(parts, with_validation=False)
    choice = replace(choice, processes=_processes(choice.processes, recipe))
    tried = others(choice) | candidates(result.initial, result.policy, choice)
    say_line(f"choice: {words_of_trainings(len(tried), choice.seeds, recipe.steps)}")
    width = max(map(len, tried))

    def done(trial: Trial) -> None:
        say_line(f"  {words_of_trial(trial, width)}")

    then = further(result.initial, result.policy, choice)
    found = choose(recipe, tried, parts.seed, choice, done=done, then=then)
    policy = deepcopy(found.policy).to(parts.device)
    policy.provenance = result.policy.provenance
    return replace(result, policy=policy, chosen=found, taken=f"{result.taken} {words_of_choice(found)}")


def _compared(
    result: SearchResult, parts: SearchParts, asked: Judging, compare: CompareSettings, say_line: Callable[[str], None]
) -> SearchResult:
    recipe = asked.recipe(parts, compare.with_validation)
    seeds, split_seed = training_seeds(parts.seed, compare.seeds, "compare: seeds"), 0
    entrants = entrants_of_search(compare.policies, result.initial, result.policy, parts.seed)
    trainings = planned(entrants, [split_seed], seeds)
    say_line(f"comparison: {words_of_trainings(len(entrants), compare.seeds, recipe.steps)}")
    width = max(len(entrant.name) for entrant in entrants)

    def done(row: TrainingRow) -> None:
        say_line(f"  {words_of_training(row, width)}")

    processes = _processes(compare.processes, recipe)
    rows = compare_policies(trainings, {split_seed: recipe}, processes, done=done)
    return replace(result, comparison=Comparison(tuple(rows)))


def _processes(asked: int | None, recipe: Recipe) -> int:
    return processes_for(recipe.device) if asked is None else asked
