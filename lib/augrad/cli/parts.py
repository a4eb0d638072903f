"""From a composed configuration to the parts of a run. Configuration reaches code as named arguments only."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from augrad.atomic import write_bytes
from augrad.checks import annotations_of, check_value
from augrad.cli.building import built, require_group, require_keys
from augrad.cli.distributed import own_device
from augrad.cli.status import say_progress
from augrad.data.seeding import checked_seed
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.summary import lines_about
from augrad.data.types import Splits
from augrad.devices import find_device
from augrad.errors import UserError
from augrad.learning.step import ModelBuilder, OptimizerBuilder
from augrad.policy import Policy
from augrad.policy.heaviest import heaviest
from augrad.policy_file.convert import load_policy
from augrad.regularizers.regularizer import Regularizer
from augrad.runs.trackers import Guest, Tracker
from augrad.search.provenance import search_provenance
from augrad.settings import (
    AUTO,
    BatchSize,
    ChoiceSettings,
    CompareSettings,
    SearchSettings,
    TrainSettings,
    batch_size_of,
)
from augrad.show.about import counted

Settings = TypeVar("Settings", TrainSettings, SearchSettings, ChoiceSettings, CompareSettings)


def plain(config: Any) -> dict[str, Any]:
    """A configuration as plain dictionaries and lists, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def settings_of(group: DictConfig, *parts: str) -> dict[str, Any]:
    """The plain values of a group, without its sub-configurations `parts`."""
    return {key: value for key, value in plain(group).items() if key not in parts}


def checked_settings(kind: type[Settings], group: Any, place: str, *parts: str) -> Settings:
    """Those values, of the group at `place`, as settings. Raises UserError, with the key, for one that is none."""
    values = settings_of(require_group(group, place), *parts)
    try:
        return kind(**values)
    except UserError as error:
        raise UserError("\n".join(f"{place}.{line}" for line in str(error).splitlines())) from None


def search_arguments(config: DictConfig) -> dict[str, Any]:
    """The arguments of `augrad.search.begin_search` that the configuration decides: all but the data and the device."""
    seed = checked_seed(config.seed)
    search = require_group(config.search, "search")
    return {
        "model": built(config.model, "model"),
        "policy": starting_policy(config, seed),
        "objective": built(config.objective, "objective"),
        "estimator": built(config.estimator, "estimator"),
        "hypergradient": built(config.hypergradient, "hypergradient"),
        "regularizers": regularizers_of(config),
        "optimizer": built(search.optimizer, "search.optimizer"),
        "policy_optimizer": built(search.policy_optimizer, "search.policy_optimizer"),
        "standard": standard_of(config),
        "settings": checked_settings(SearchSettings, search, "search", "optimizer", "policy_optimizer", "regularizers"),
        "seed": seed,
    }


def recipe_of(config: DictConfig) -> tuple[ModelBuilder, OptimizerBuilder, TrainSettings]:
    """The network, the optimiser and the settings of plain training."""
    return (
        built(config.model, "model"),
        built(require_group(config.train, "train").optimizer, "train.optimizer"),
        checked_settings(TrainSettings, config.train, "train", "optimizer"),
    )


def regularizers_of(config: DictConfig) -> tuple[Regularizer, ...]:
    """The terms of `search.regularizers`, without those that are null. Raises UserError for what is none."""
    given = config.search.get("regularizers") or {}
    if not isinstance(given, DictConfig | dict):
        raise UserError(f"search.regularizers: expected terms by name, got {given!r}")
    terms = {name: built(term, f"search.regularizers.{name}") for name, term in given.items() if term is not None}
    for name, term in terms.items():
        if not isinstance(term, Regularizer):
            raise UserError(f"search.regularizers.{name}: expected a term with a _target_, got {given[name]!r}")
    return tuple(terms.values())


def standard_of(config: DictConfig) -> StandardAugmentation:
    """What training images undergo after the policy. Raises UserError unless it is such an augmentation, or null."""
    given = config.get("standard")
    found = built(given, "standard") if isinstance(given, DictConfig) else NO_STANDARD if given is None else given
    if not isinstance(found, StandardAugmentation):
        raise UserError(f"standard: expected crop_padding, flip, cutout and smallest_area, or null, got {given!r}")
    return found


def tracker_of(config: DictConfig) -> Tracker:
    """The tracker, which cannot stop the run. Raises UserError for what is none."""
    found = built(config.tracker, "tracker")
    if not isinstance(found, Tracker):
        raise UserError(f"tracker: expected one with start, log and finish, or tracker=none, got {config.tracker!r}")
    return Guest(found)


def data_and_device(config: DictConfig, split_seed: int | None = None) -> tuple[Splits, torch.device]:
    """The splits, resident on the device that was asked for. split_seed: of the division; None: as configured."""
    device = find_device(own_device(config.device))  # before the data are read: the cheaper question first
    group = config.data
    if split_seed is not None and group.get("seed", split_seed) != split_seed:
        group = OmegaConf.merge(group, {"seed": split_seed})
    data = built(group, "data")
    if not isinstance(data, Splits):
        raise UserError(f"data: expected a part that gives the four splits (augrad.data.types.Splits), got {data!r}")
    return data.to(device), device


def say_data(data: Splits, batches: Mapping[str, tuple[BatchSize, int]]) -> None:
    """What was read, what of it may spoil the run, and where batches are smaller than usual, on standard error.

    batches: by key what was asked for, and of how many training images.
    """
    for words in lines_about(data):
        say_progress(f"data: {words}")
    for key, (asked, images) in batches.items():
        size = batch_size_of(asked, images)
        if asked == AUTO and size != batch_size_of(AUTO, 10**9):
            number = counted(images // size, "batch", "batches")
            say_progress(f"data: {key}={size}, so that {images} training images are {number}")


def allowed_modules(config: DictConfig) -> list[str]:
    """`policy.allow`: the modules of which policy files may name operations. Raises UserError unless it is a list."""
    allow = config.policy.get("allow") or []
    allow = [allow] if isinstance(allow, str) else allow
    if not isinstance(allow, ListConfig | list) or not all(isinstance(module, str) for module in allow):
        raise UserError(f"policy.allow: expected a list of modules, as in [mypackage.ops], got {allow}")
    return list(allow)


def starting_policy(config: DictConfig, seed: int) -> Policy:
    """The policy at the start of a search: over the space, or the one in `policy.file`."""
    if config.policy.get("file") is not None:
        return load_policy(config.policy.file, allowed_modules(config))
    if "_target_" not in config.policy:
        raise UserError("policy: expected policy.file=FILE beside policy=file, got none")
    build = built(config.policy, "policy")
    return cast(Policy, build(space=built(config.space, "space"), seed=seed))


def exported(policy: Policy, config: DictConfig) -> Policy:
    """What of a learned policy goes into its file: all of it, or as `export` says."""
    if config.get("export") is None:
        return policy
    given = require_group(config.export, "export")
    require_keys(given, ("subpolicies", "uniform"), "export")
    types = annotations_of(heaviest)
    count = check_value(given.get("subpolicies"), types["count"], "export.subpolicies")
    return heaviest(policy, count, check_value(given.get("uniform", False), types["uniform"], "export.uniform"))


def save_model(model: torch.nn.Module, path: Path) -> None:
    """The network's state, for `torch.load`."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    write_bytes(path, buffer.getvalue())


def provenance(config: DictConfig, data: Splits, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a policy file says of its origin."""
    return search_provenance(config.seed, plain(config), data, metrics)
