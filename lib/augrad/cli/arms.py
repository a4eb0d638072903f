"""Which policies a comparison judges, from what the configuration names."""

import glob
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from augrad.cli.building import built
from augrad.cli.parts import allowed_modules, plain
from augrad.comparison.arms import OWN_NAMES, own_arm
from augrad.comparison.trainings import Arm, Entrant, Planned, always
from augrad.data.seeding import checked_seed
from augrad.data.types import Splits
from augrad.errors import AugradWarning, UserError
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy.initial import even_policy, initial_policy
from augrad.policy_file.convert import builtin_policies, load_policy
from augrad.search.provenance import Origin, origin_of_policy

INITIAL = "initial.json"
"""Beside a search's policy.json: the policy that the search started from."""


def sources_of(policies: Any, place: str) -> dict[str, list[str]]:
    """Names of policies and what each is: itself, a file, or the files of several searches.

    policies: a list of names, files and patterns of files, and of mappings from a name to files. Raises UserError for
    anything else, and for a name that comes twice.
    """
    expected = f"{place}: expected a list of different names or files, [none,a.json], or {{name: [files]}}"
    given = OmegaConf.to_container(policies, resolve=True) if isinstance(policies, ListConfig) else policies
    if not isinstance(given, list | tuple) or not given:
        raise UserError(f"{expected}, got {policies}")
    found: dict[str, list[str]] = {}
    for entry in given:
        pairs = entry.items() if isinstance(entry, Mapping) else [(entry, entry)]
        for name, files in pairs:
            files = [files] if isinstance(files, str) else files
            if not isinstance(name, str) or not isinstance(files, list) or not all(isinstance(f, str) for f in files):
                raise UserError(
                    f"{expected}, got {entry!r}; quote what is a file's name, as in 'policies=[none,\"7\"]'"
                )
            if name in OWN_NAMES and files != [name]:
                raise UserError(f"{place}: {name} is a name of its own, got a file under it; choose another name")
            if name in found or not files:
                raise UserError(f"{expected}, got {name!r} {'twice' if name in found else 'without a file'}")
            found[name] = list(dict.fromkeys(file for pattern in files for file in matching(pattern, place)))
    return found


def loaded_from(sources: Mapping[str, Sequence[str]], config: DictConfig) -> dict[str, list[tuple[str, Policy]]]:
    """The files of each name, read once."""
    return {
        name: [(file, load_policy(file, allowed_modules(config))) for file in files]
        for name, files in sources.items()
        if not (name in OWN_NAMES and list(files) == [name])
    }


def start_for(
    sources: Iterable[str], loaded: Mapping[str, Sequence[tuple[str, Policy]]], config: DictConfig
) -> Policy | None:
    """What `initial` and `random` are made of: the start of the search of the last file, else of the configured space.

    None where neither is asked for.
    """
    if not {"initial", "random"} & set(sources):
        return None
    searched = [found[0] for found in loaded.values() if found[0][0] not in builtin_policies()]
    return start_of(*searched[-1], allowed_modules(config)) if searched else _configured(config)


def entrants_of(
    sources: Iterable[str],
    loaded: Mapping[str, Sequence[tuple[str, Policy]]],
    start: Policy | None,
    config: DictConfig,
    data: Splits,
) -> list[Entrant]:
    """An entrant for each policy. loaded: those of files (see `loaded_from`). start: see `start_for`.

    none: no augmentation. initial: what the search of the last policy started from; where that is not known, a policy
    that chooses evenly among the same candidates. random: drawn anew for each seed, over the candidates, stages and
    sub-policies of `initial`. Where there is no policy to judge, both are of the configured space and policy.
    A file that a search on these data wrote is judged on the division of the data that the search had.
    """
    for file, policy in (pair for found in loaded.values() for pair in found):
        _warn_of_seen_images(file, origin_of_policy(policy), data, config)
    entrants: list[Entrant] = []
    for name in sources:
        entrants += _searched(name, loaded[name], data) if name in loaded else [Entrant(name, own_arm(name, start))]
    return entrants


def _warn_of_seen_images(file: str, origin: Origin, data: Splits, config: DictConfig) -> None:
    """Where a search divided the same data otherwise than they are judged on: a test image may be one that it saw."""
    if origin.data != data.sha256:
        return
    now, seeds = plain(config.data), config.get("split_seeds")
    places = ("root", "path", "store", "workers", "seed")
    told = [key for key in {*now, *origin.division} if key not in places and now.get(key) != origin.division.get(key)]
    told += ["split_seeds"] if seeds and list(seeds) != [origin.split_seed] else []
    if told:
        warnings.warn(
            f"{file}: its search divided the same data otherwise ({', '.join(sorted(told))}); unless the data have a "
            "test set of their own, it has seen images that it is tested on",
            AugradWarning,
            stacklevel=2,
        )


def require_judged_together(trainings: Sequence[Planned], reference: str) -> None:
    """Raises UserError unless every policy has a training on a division and seed of the one that is judged."""
    places: dict[str, set[tuple[int, int]]] = {}
    for training in trainings:
        places.setdefault(training.place.policy, set()).add((training.place.split_seed, training.place.seed))
    if apart := [name for name, found in places.items() if not found & places[reference]]:
        raise UserError(
            f"policies: {apart[0]} and {reference} are of searches on other divisions of the data, and nothing would "
            "compare them; give the divisions to judge both on, split_seeds=[0]"
        )


def _searched(name: str, loaded: Sequence[tuple[str, Policy]], data: Splits) -> list[Entrant]:
    """An entrant for each file of a name. Those that cannot be told apart by their searches' seeds are counted."""
    origins = [origin_of_policy(policy) for _, policy in loaded]
    splits = [origin.split_seed if origin.data == data.sha256 else None for origin in origins]
    seeds = [origin.seed for origin in origins]
    if len(loaded) > 1 and (None in seeds or len(set(zip(seeds, splits, strict=True))) < len(loaded)):
        seeds = list(range(len(loaded)))
    return [
        Entrant(name, always(policy), seed, split)
        for (_, policy), seed, split in zip(loaded, seeds, splits, strict=True)
    ]


def start_of(file: str, policy: Policy, allow: Sequence[str] = ()) -> Policy:
    """What the search that wrote `file` started from, if that lies beside it; else `policy` with even choices."""
    beside = expanded(file).parent / INITIAL
    return (
        load_policy(beside, allow) if expanded(file).name == "policy.json" and beside.is_file() else even_policy(policy)
    )


def split_seeds_of(given: Any, entrants: Sequence[Entrant], config: DictConfig) -> tuple[list[int], list[Entrant]]:
    """The seeds of the data's divisions that the policies are judged on, and the entrants on them.

    given: the seeds, and every policy is judged on all; None: those of the searches, each on its own. Raises UserError
    for what is no list of seeds, and where the data have no seed.
    """
    own = config.data.get("seed", 0)
    if given is None:
        found = [entrant.split_seed for entrant in entrants if entrant.split_seed is not None]
        return list(dict.fromkeys(found)) or [own], list(entrants)
    seeds = OmegaConf.to_container(given, resolve=True) if isinstance(given, ListConfig) else given
    if not isinstance(seeds, list) or not seeds:
        raise UserError(f"split_seeds: expected a list of seeds, [0,1], or null, got {given}")
    if "seed" not in config.data and seeds != [own]:
        raise UserError("split_seeds: expected null, for these data are divided without a seed (data.seed)")
    checked = [checked_seed(seed) for seed in seeds]
    if len(set(checked)) < len(checked):
        raise UserError(f"split_seeds: expected a list of different seeds, got {given}")
    return checked, [Entrant(e.name, e.arm, e.search_seed) for e in entrants]


def policy_arm(source: str | None, config: DictConfig) -> Arm:
    """What a classifier of a seed is trained with: a file, a built-in policy, or one of the configured space."""
    if source is None or source in OWN_NAMES:
        return own_arm(source or "none", None if source in (None, "none") else _configured(config))
    return always(load_policy(source, allowed_modules(config)))


def _configured(config: DictConfig) -> Policy:
    space = built(config.space, "space")
    return built(config.policy, "policy")(space=space) if "_target_" in config.policy else initial_policy(space)


def matching(pattern: str, place: str) -> list[str]:
    """The files of a pattern, in order; what is no pattern, or there as it is, stands for itself.

    Raises UserError, with `place`, for a pattern without a file.
    """
    path = expanded(pattern) if pattern else Path()
    if not pattern or not glob.has_magic(pattern) or path.exists():
        return [pattern]
    if not (found := sorted(glob.glob(str(path), recursive=True))):
        raise UserError(f"{place}: nothing matches {pattern}")
    return found
