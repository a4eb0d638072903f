"""A comparison as it goes: every training that is done is printed, kept and tracked, and never done twice."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from augrad.atomic import write_text
from augrad.cli.status import say_progress
from augrad.comparison.differences import differences
from augrad.comparison.rows import Place, TrainingRow, row_from
from augrad.comparison.summary import words_of_training
from augrad.comparison.trainings import Planned, digest, policy_digest
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.runs.trackers import Tracker
from augrad.settings import TrainSettings
from augrad.show.progress import Pace

COMPARISON, TRAININGS = "comparison.json", "trainings.json"
TABLES = ("comparison.md", "comparison.csv")
_ADDED = ("label_smoothing", "ema", "channels_last", "compile", "accumulation_steps")
"""Settings of trainings that comparisons of earlier versions did not have."""


_LATER = {item.name: item.default for item in fields(TrainSettings) if item.name in _ADDED}
"""The values with which they are off: trainings from before they were there are those with these values."""


def recipe_digest(config: Mapping[str, Any], data: Splits, with_validation: bool, with_selection: bool = False) -> str:
    """Of what decides a training beside its policy and its seed: the data, the network and how it is trained."""
    parts = {key: config.get(key) for key in ("data", "model", "standard", "train")}
    parts["train"] = {key: value for key, value in config["train"].items() if (key, value) not in _LATER.items()}
    # Where images are kept makes no difference, and earlier versions had one fit.
    if parts["data"] is not None:
        told = parts["data"].items()
        parts["data"] = {key: value for key, value in told if key != "store" and (key, value) != ("fit", "crop")}
    more = ["selection"] if with_selection else []
    return digest(data.sha256, json.dumps(parts, sort_keys=True, default=str), str(with_validation), *more)


def keys_of(trainings: Iterable[Planned], recipes: Mapping[int, str]) -> dict[Place, str]:
    """What identifies each training of a comparison: a digest of the recipe, of the policy, and of the seed.

    recipes: the digest of each split seed's.
    """
    return {
        one.place: digest(recipes[one.place.split_seed], policy_digest(one.policy), str(one.place.seed))
        for one in trainings
    }


class Recorder:
    """What `compare_policies` calls after each training.

    trainings.json holds every training that was ever done in the directory, with its key (see `keys_of`); `known` are
    the rows that belong to the present comparison, from it and from the `others`' (directories). comparison.json holds
    the comparison, as far as it has come. Where a finished run has one already (`held_back`), it stays until `publish`.

    Files that cannot be written (a full disk) do not end the comparison: they are tried again after the next training,
    and `require_written` says at the end whether all of it is there.
    """

    def __init__(
        self,
        directory: Path,
        keys: Mapping[Place, str],
        reference: str,
        tracker: Tracker | None = None,
        held_back: bool = False,
        others: Sequence[Path] = (),
    ) -> None:
        self._directory, self._keys, self._reference, self._tracker = directory, keys, reference, tracker
        self._trainings = _read_trainings(directory)
        every = [*self._trainings, *(row for other in others for row in _read_trainings(other, needed=True))]
        found = _by_key(every)
        self.known = {
            place: row_from({**found[key], **place._asdict()}, TRAININGS) for place, key in keys.items() if key in found
        }
        self._rows = {place: self.known[place] for place in keys if place in self.known}
        for place in self.known:
            self._keep(self.known[place])
        self._done, self._pace = 0, Pace(len(keys))
        self._width = max((len(place.policy) for place in keys), default=0)
        before = {row.place: row for row in read_comparison(directory)}
        self._held_back = held_back or any(self._rows.get(place) != row for place, row in before.items())
        self._held_back = self._held_back or (not before and (directory / COMPARISON).is_file())
        self._refusal: UserError | None = None

    def __call__(self, row: TrainingRow) -> None:
        place, before = row.place, row.place in self.known
        self._done += 1
        self._rows[place] = row
        words = words_of_training(row, self._width)
        say_progress(f"  {words}{' (done before)' if before else ''}  {self._pace.words(self._done, not before)}")
        self._keep(row)
        self._write(comparison=not self._held_back)
        if self._tracker is not None:
            shown = {**place._asdict(), "test_accuracy": row.accuracy, "test_loss": row.loss}
            self._tracker.log({name: value for name, value in shown.items() if value is not None}, len(self._rows))

    def _keep(self, row: TrainingRow) -> None:
        key = self._keys[row.place]
        if key not in _by_key(self._trainings):
            self._trainings.append({**row.as_dict(), "key": key})

    @property
    def rows(self) -> list[TrainingRow]:
        """Of the present comparison, as far as it has come, in its order."""
        return [self._rows[place] for place in self._keys if place in self._rows]

    def publish(self) -> None:
        """The comparison is whole: comparison.json takes the place of the one that is there."""
        self._held_back = False
        self._write(comparison=True)

    def require_written(self) -> None:
        """Raises UserError unless the files have everything."""
        if self._refusal is not None:
            raise self._refusal

    def _write(self, comparison: bool) -> None:
        texts = {TRAININGS: _lines(self._trainings)}
        if comparison:
            texts[COMPARISON] = comparison_text(self.rows, self._reference)
        self._refusal = None
        for name, text in texts.items():
            try:
                write_text(self._directory / name, text)
            except UserError as error:
                self._refusal = error


def comparison_text(rows: Sequence[TrainingRow], reference: str) -> str:
    """comparison.json: every training, and `reference` against every other policy."""
    told = [one.as_dict() for one in differences(rows, reference)]
    parts = {"rows": [row.as_dict() for row in rows], "differences": told}
    return "{\n" + ",\n".join(f'"{name}": {_lines(values).strip()}' for name, values in parts.items()) + "\n}\n"


def read_comparison(directory: Path) -> list[TrainingRow]:
    """The rows of comparison.json; none, where there is none that can be read, or one of an older form."""
    try:
        content = json.loads((directory / COMPARISON).read_bytes())
        return [row_from(values, COMPARISON) for values in content["rows"]]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def is_kept(directory: Path, keys: Mapping[Place, str]) -> bool:
    """Whether comparison.json is whole, and of the trainings with these keys."""
    shown = {row.place: row for row in read_comparison(directory)}
    if not shown or set(shown) != set(keys):
        return False
    found = _by_key(_read_trainings(directory))
    return all(
        key in found and row_from({**found[key], **place._asdict()}, TRAININGS) == shown[place]
        for place, key in keys.items()
    )


def withdraw_comparison(directory: Path) -> None:
    """Takes comparison.json, its tables and its figure away; what it holds stays in trainings.json."""
    if (directory / COMPARISON).is_file():
        write_text(directory / TRAININGS, _lines(_read_trainings(directory)))
    for name in (COMPARISON, *TABLES, "figures/comparison.png"):
        if (directory / name).is_file():
            (directory / name).unlink()


def _read_trainings(directory: Path, needed: bool = False) -> list[dict[str, Any]]:
    """The rows of trainings.json, and others of comparison.json, from an older version: nobody knows their recipe."""
    path = directory / TRAININGS
    if needed and not path.is_file():
        raise UserError(f"{path}: no such file; expected the directory of another comparison")
    try:
        rows = json.loads(path.read_bytes()) if path.is_file() else []
        there = {(row["policy"], row["seed"], float(row["accuracy"])) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected the trainings of a comparison, got {error}; put back what was there"
        ) from None
    return rows + [
        row for row in _shown(directory) if (row.get("policy"), row.get("seed"), row.get("accuracy")) not in there
    ]


def _by_key(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The trainings whose recipe is known, and of which all is known that there is to know today."""
    needed = {item.name for item in fields(TrainingRow) if item.default_factory is MISSING}
    return {row["key"]: row for row in rows if row.get("key") and needed <= set(row)}


def _shown(directory: Path) -> list[dict[str, Any]]:
    """What comparison.json holds, in this form or the older one: an accuracy by policy and seed."""
    try:
        content = json.loads((directory / COMPARISON).read_bytes())
        if "rows" in content:
            return [{**row, "key": None} for row in content["rows"]]
        return [
            {"policy": name, "seed": int(seed), "accuracy": float(value), "key": None}
            for name, seeds in content.items()
            for seed, value in seeds.items()
        ]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
