"""A comparison as it goes: every training that is done is printed, kept and tracked, and never done twice."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from augrad.atomic import write_text
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.runs.trackers import Tracker
from augrad.search.resume import choices_of
from augrad.show.statistics import ComparisonRow
from augrad.terminal.console import say
from augrad.train import Arm

COMPARISON, TRAININGS = "comparison.json", "trainings.json"

Place = tuple[str, int]
"""A policy's name and a seed."""


def recipe_digest(config: Mapping[str, Any], data: Splits) -> str:
    """Of what decides a training beside its policy and its seed: the data, the network and how it is trained."""
    parts = {key: config.get(key) for key in ("data", "model", "standard", "train")}
    return _digest(data.sha256, json.dumps(parts, sort_keys=True, default=str))


def keys_of(arms: Mapping[str, Arm], seeds: Iterable[int], recipe: str) -> dict[Place, str]:
    """What identifies each training of a comparison: a digest of the recipe, of the policy, and of the seed."""
    return {
        (name, seed): _digest(recipe, _policy_digest(arm(seed)), str(seed))
        for seed in seeds
        for name, arm in arms.items()
    }


class Recorder:
    """What `compare_policies` calls after each training.

    trainings.json holds every training that was ever done in the directory, with its key (see `keys_of`); `known` are
    the accuracies of those that belong to the present comparison. comparison.json holds a comparison by policy and
    seed, as far as it has come. Where a finished run has one already (`held_back`), it stays until `publish`.

    Files that cannot be written (a full disk) do not end the comparison: they are tried again after the next training,
    and `require_written` says at the end whether all of it is there.
    """

    def __init__(
        self, directory: Path, keys: Mapping[Place, str], tracker: Tracker | None = None, held_back: bool = False
    ) -> None:
        self._directory, self._keys, self._tracker = directory, keys, tracker
        self._rows = _read_trainings(directory)
        found = {row["key"]: float(row["accuracy"]) for row in self._rows}
        self.known = {place: found[key] for place, key in keys.items() if key in found}
        self._kept: dict[str, dict[str, float]] = {name: {} for name, _ in keys}
        for (name, seed), accuracy in self.known.items():
            self._kept[name][str(seed)] = accuracy
        self._held_back = held_back or bool(set(read_comparison(directory).items()) - set(self.known.items()))
        self._refusal: UserError | None = None

    def __call__(self, name: str, seed: int, accuracy: float) -> None:
        self._kept[name][str(seed)] = accuracy
        before = (name, seed) in self.known
        say(f"  {name:8} seed {seed}: {accuracy:.3f}{' (done before)' if before else ''}", stderr=True)
        if not before:
            key = self._keys[name, seed]
            self._rows.append({"policy": name, "seed": seed, "accuracy": accuracy, "key": key})
        self._write(comparison=not self._held_back)
        if self._tracker is not None:
            count = sum(len(seeds) for seeds in self._kept.values())
            self._tracker.log({"policy": name, "seed": seed, "test_accuracy": accuracy}, count)

    def publish(self) -> None:
        """The comparison is whole: comparison.json takes the place of the one that is there."""
        self._held_back = False
        self._write(comparison=True)

    def require_written(self) -> None:
        """Raises UserError unless the files have everything."""
        if self._refusal is not None:
            raise self._refusal

    def _write(self, comparison: bool) -> None:
        texts = {TRAININGS: _lines(self._rows)}
        if comparison:
            texts[COMPARISON] = json.dumps(self._kept, indent=2) + "\n"
        self._refusal = None
        for name, text in texts.items():
            try:
                write_text(self._directory / name, text)
            except UserError as error:
                self._refusal = error


def read_comparison(directory: Path) -> dict[Place, float]:
    """What comparison.json holds; nothing, where there is none that can be read."""
    try:
        content = json.loads((directory / COMPARISON).read_bytes())
        return {(name, int(seed)): float(value) for name, seeds in content.items() for seed, value in seeds.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def kept_comparison(directory: Path, arms: Mapping[str, Arm], recipe: str) -> list[ComparisonRow] | None:
    """The comparison in comparison.json, if it is whole, and of these policies and this recipe; None otherwise."""
    shown = read_comparison(directory)
    seeds = sorted({seed for _, seed in shown})
    keys = keys_of(arms, seeds, recipe)
    if not shown or set(shown) != set(keys):
        return None
    found = {row["key"]: row["accuracy"] for row in _read_trainings(directory)}
    if any(found.get(key) != shown[place] for place, key in keys.items()):
        return None
    return [ComparisonRow(name, tuple(shown[name, seed] for seed in seeds)) for name in arms]


def withdraw_comparison(directory: Path) -> None:
    """Takes comparison.json and its figure away; what it holds stays in trainings.json."""
    if read_comparison(directory):
        write_text(directory / TRAININGS, _lines(_read_trainings(directory)))
    for path in (directory / COMPARISON, directory / "figures" / "comparison.png"):
        if path.is_file():
            path.unlink()


def _read_trainings(directory: Path) -> list[dict[str, Any]]:
    """The rows of trainings.json, and others of comparison.json, from an older version: nobody knows their recipe."""
    path = directory / TRAININGS
    try:
        rows = json.loads(path.read_bytes()) if path.is_file() else []
        places = {(row["policy"], row["seed"], float(row["accuracy"])) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected the trainings of a comparison, got {error}; put back what was there"
        ) from None
    older = [(*place, value) for place, value in read_comparison(directory).items() if (*place, value) not in places]
    return rows + [{"policy": name, "seed": seed, "accuracy": value, "key": None} for name, seed, value in older]


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


def _policy_digest(policy: Policy | None) -> str:
    if policy is None:
        return "none"
    numbers = policy.params.map(lambda tensor: tensor.detach().to("cpu", torch.float64)).tensors()
    return _digest(repr(choices_of(policy)), *(repr(tensor.tolist()) for tensor in numbers))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()
