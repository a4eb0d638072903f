"""The choice at the end of a search: every training is printed and kept, and never done twice."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from augrad.atomic import write_text
from augrad.cli.judging import digest_on, processes_of, recipe_on
from augrad.cli.parts import allowed_modules, checked_settings, exported
from augrad.cli.status import say_progress
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.policy_file.convert import load_policy
from augrad.search.choice import LEARNED, Chosen, Trial, candidates, choose, further
from augrad.settings import ChoiceSettings

CHOICE = "choice.json"


def asked_choice(config: DictConfig, device: torch.device) -> ChoiceSettings | None:
    """What `choose` of a search's configuration asks for; null is nothing. Raises UserError for anything else."""
    if config.choose is None:
        return None
    asked = checked_settings(ChoiceSettings, config.choose, "choose")
    _others(asked, config)
    processes_of(asked.processes, "choose.processes", device)
    return asked


def choose_in(
    directory: Path, config: DictConfig, data: Splits, start: Policy, learned: Policy, asked: ChoiceSettings
) -> Chosen:
    """The choice among what `export` makes of the candidates. choice.json has every training as soon as it is done."""
    tried = {name: exported(policy, config) for name, policy in candidates(start, learned, asked).items()}
    tried = _others(asked, config) | tried
    recipe, identity = recipe_on(data, config, False), digest_on(data, config, False)
    asked = replace(asked, processes=processes_of(asked.processes, "choose.processes", recipe.device))
    kept = _read(directory / CHOICE)
    before = {one.key for one in kept}
    total, count = asked.seeds * len(tried), itertools.count(1)
    then = ((name, exported(policy, config)) for name, policy in further(start, learned, asked))
    say_progress(f"choice: {len(tried)} policies x {asked.seeds} seeds x {recipe.steps} steps")

    def keep(trial: Trial) -> None:
        words = f"{100 * trial.accuracy:.1f}%, loss {trial.loss:.3f} on held-out images"
        words = words if math.isfinite(trial.loss) else "diverged"
        again = " (done before)" if trial.key in before else ""
        number = next(count)
        progress = f"[{number}/{total}]" if number <= total else "[further, as the furthest was the best]"
        say_progress(f"  {trial.name:{max(map(len, tried))}}: {words}{again}  {progress}")
        if not again:
            kept.append(trial)
            write_text(directory / CHOICE, _text(kept))

    return choose(recipe, tried, config.seed, asked, tuple(kept), keep, identity, then)


def words_of(chosen: Chosen) -> str:
    """What was chosen, and among what, in a sentence or two."""
    means = {name: loss for name, (loss, _) in chosen.means.items()}
    told = ", ".join(
        f"{name} {loss:.3f}" if math.isfinite(loss) else f"{name} diverged" for name, loss in means.items()
    )
    count = len(chosen.trials) // len(means)
    of = "validation and selection" if chosen.folds is None else "a fold and selection"
    how = (
        f"the loss of fresh classifiers on {chosen.images} images of {of} "
        f"({count} training{'s' if count > 1 else ''} with each): {told}"
    )
    if not chosen.decided:
        return (
            f"It is left as it is, because trainings so short do not tell which policy is the best in the end: {how}. "
            "Give them more steps (train.steps or train.epochs), or leave the choice out (choose=null)."
        )
    what = {
        "none": "No augmentation is left",
        "initial": "The start is left",
        LEARNED: "It is left as it is",
    }.get(chosen.name)
    if what is None and chosen.name.endswith(LEARNED):
        what = f"What is left is {chosen.name}: that much further from the start in the same direction"
    elif what is None:
        what = f"What is left is {chosen.name}, a policy from elsewhere: what was learned is not better than it"
    return f"{what}, by {how}."


def _others(asked: ChoiceSettings, config: DictConfig) -> dict[str, Policy]:
    """The policies of `also`. Raises UserError for one that is not there, and for the name of another candidate."""
    taken = [name for name in asked.also if name in ("none", "initial") or name.endswith(LEARNED)]
    if taken or len(set(asked.also)) < len(asked.also):
        raise UserError(
            f"choose.also: expected different files and names of built-in policies, got {', '.join(asked.also)}; "
            "none, initial and learned are tried anyway"
        )
    return {name: load_policy(name, allowed_modules(config)) for name in asked.also}


def _text(trials: Sequence[Trial]) -> str:
    rows = [{name: None if value == math.inf else value for name, value in asdict(one).items()} for one in trials]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f"[\n{lines}\n]\n"


def _read(path: Path) -> list[Trial]:
    """The trainings that are there, by whatever recipe."""
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_bytes())
        told: list[dict[str, Any]] = [{n: math.inf if v is None else v for n, v in row.items()} for row in rows]
        return [Trial(**row) for row in told]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected the trainings of a choice, got {error}; put back what was there") from None
