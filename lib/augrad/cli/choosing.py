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
from augrad.search.choice import Chosen, Trial, candidates, choose, further, others
from augrad.search.words import words_of_trainings, words_of_trial
from augrad.settings import ChoiceSettings
from augrad.show.progress import Pace

CHOICE = "choice.json"


def asked_choice(config: DictConfig, device: torch.device) -> ChoiceSettings | None:
    """What `choose` of a search's configuration asks for; null is nothing. Raises UserError for anything else."""
    if config.choose is None:
        return None
    asked = checked_settings(ChoiceSettings, config.choose, "choose")
    others(asked, allowed_modules(config))
    processes_of(asked.processes, "choose.processes", device)
    return asked


def choose_in(
    directory: Path, config: DictConfig, data: Splits, start: Policy, learned: Policy, asked: ChoiceSettings
) -> Chosen:
    """The choice among what `export` makes of the candidates. choice.json has every training as soon as it is done."""
    tried = {name: exported(policy, config) for name, policy in candidates(start, learned, asked).items()}
    tried = others(asked, allowed_modules(config)) | tried
    recipe, identity = recipe_on(data, config, False), digest_on(data, config, False)
    asked = replace(asked, processes=processes_of(asked.processes, "choose.processes", recipe.device))
    kept = _read(directory / CHOICE)
    before = {one.key for one in kept}
    total, count = asked.seeds * len(tried), itertools.count(1)
    pace = Pace(total)
    then = ((name, exported(policy, config)) for name, policy in further(start, learned, asked))
    say_progress(f"choice: {words_of_trainings(len(tried), asked.seeds, recipe.steps)}")

    def keep(trial: Trial) -> None:
        again = " (done before)" if trial.key in before else ""
        number = next(count)
        progress = pace.words(number, not again) if number <= total else "[further, as the furthest was the best]"
        say_progress(f"  {words_of_trial(trial, max(map(len, tried)))}{again}  {progress}")
        if not again:
            kept.append(trial)
            write_text(directory / CHOICE, _text(kept))

    return choose(recipe, tried, config.seed, asked, tuple(kept), keep, identity, then)


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
