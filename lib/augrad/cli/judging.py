"""What a comparison and the end of a search have in common: the recipe of each split, and the trainings."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from augrad.atomic import write_text
from augrad.checks import check_value
from augrad.cli.arms import sources_of
from augrad.cli.building import require_keys
from augrad.cli.comparison import TABLES, is_kept, keys_of, read_comparison, recipe_digest
from augrad.cli.parts import allowed_modules, checked_settings, plain, recipe_of, standard_of
from augrad.cli.status import in_sweep
from augrad.comparison.arms import LEARNED, entrants_of_search, training_seeds
from augrad.comparison.rows import Place, TrainingRow, names_of
from augrad.comparison.summary import csv_of, markdown_of
from augrad.comparison.trainings import Planned, planned, training_splits
from augrad.comparison.verdict import judge
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.settings import CONTROLS, CompareSettings, PositiveInt
from augrad.terminal.console import say
from augrad.train import Recipe
from augrad.train.processes import processes_for, require_processes


def asked_comparison(config: DictConfig) -> CompareSettings | None:
    """The comparison at the end of a search; compare=3 is compare.seeds=3, and null is none.

    Raises UserError for anything else.
    """
    if config.compare is None:
        return None
    group = config.compare if isinstance(config.compare, DictConfig) else DictConfig({"seeds": config.compare})
    require_keys(group, ("policies", "seeds", "with_validation", "processes"), "compare")
    sources = sources_of(group.get("policies", list(CONTROLS)), "compare.policies")
    if strange := [name for name, files in sources.items() if files != [name] or name == LEARNED]:
        raise UserError(
            f"compare.policies: expected names and single files, the learned policy is judged against them, got "
            f"{strange[0]}; augrad compare takes several files of one name"
        )
    asked = checked_settings(CompareSettings, DictConfig({**group, "policies": list(sources)}), "compare")
    training_seeds(config.seed, asked.seeds, "compare.seeds")
    return asked


def comparison_plan(
    config: DictConfig, data: Splits, asked: CompareSettings, start: Policy, learned: Policy
) -> tuple[list[Planned], dict[Place, str]]:
    """The trainings of the comparison at the end of a search, and what identifies them."""
    split_seed = config.data.get("seed", 0)
    entrants = entrants_of_search(asked.policies, start, learned, config.seed, allowed_modules(config))
    seeds = training_seeds(config.seed, asked.seeds, "compare.seeds")
    trainings = planned(entrants, [split_seed], seeds)
    return trainings, keys_of(trainings, {split_seed: digest_on(data, config, asked.with_validation)})


def kept(config: DictConfig, directory: Path, data: Splits, start: Policy, learned: Policy) -> list[TrainingRow] | None:
    """The comparison that the run has already, if it is whole, and of these policies and this recipe; None else."""
    shown = read_comparison(directory)
    names = tuple(name for name in names_of(shown) if name != LEARNED)
    seeds = len({row.seed for row in shown})
    with contextlib.suppress(UserError):  # a policy that it was judged against is gone: it is not of these policies
        for with_validation in (True, False) if names else ():
            asked = CompareSettings(names, seeds, with_validation)
            if is_kept(directory, comparison_plan(config, data, asked, start, learned)[1]):
                return shown
    return None


def recipe_on(data: Splits, config: DictConfig, with_validation: bool, with_selection: bool = False) -> Recipe:
    """How classifiers are trained on these data."""
    model, optimizer, settings = recipe_of(config)
    splits = training_splits(data, with_validation, with_selection)
    return Recipe(splits, model, optimizer, settings, standard_of(config))


def trained_on(config: DictConfig) -> tuple[bool, bool]:
    """Whether `train` and `compare` train on the validation and on the selection split, too."""
    names = ("with_validation", "with_selection")
    with_validation, with_selection = (check_value(config[name], bool, name) for name in names)
    return with_validation, with_selection


def digest_on(
    data: Splits,
    config: DictConfig,
    with_validation: bool,
    split_seed: int | None = None,
    with_selection: bool = False,
) -> str:
    """What identifies that recipe."""
    told: dict[str, Any] = plain(config)
    if split_seed is not None and "seed" in told["data"]:
        told["data"]["seed"] = split_seed
    return recipe_digest(told, data, with_validation, with_selection)


def processes_of(given: Any, place: str, device: torch.device) -> int:
    """How many trainings run at a time. None: one for each processor; one in a sweep, whose jobs share them."""
    if given is not None:
        if check_value(given, PositiveInt, place) > 1 and device.type != "cpu":
            raise UserError(f"{place}: expected 1 on a GPU, which trainings share badly, got {given}; leave it out")
        require_processes(given, place)
        return given
    return 1 if in_sweep() else processes_for(device)


def say_verdict(rows: Sequence[TrainingRow], reference: str) -> None:
    """What the comparison says, in words."""
    verdict = judge(rows, reference)
    for text in (verdict.headline, *(f"  {reason}" for reason in verdict.reasons)):
        say(text)


def write_tables(directory: Path, rows: Sequence[TrainingRow], reference: str) -> None:
    """The comparison as Markdown, and its trainings as CSV."""
    for name, text in zip(TABLES, (markdown_of(rows, reference), csv_of(rows)), strict=True):
        write_text(directory / name, text)
