"""Facts of a run or a policy: names and values in words."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from augrad.show.progress import duration
from augrad.show.words import number

NOTHING = "–"
"""For null."""


def facts_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of each fact, one after another; those within a mapping have its name before their own."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from facts_of(value, f"{prefix}{key} ")
        else:
            yield words_of_key(f"{prefix}{key}"), words_of_value(str(key), value)


def words_of_key(key: str) -> str:
    """A key as words: "val_loss" as "validation loss"."""
    words = key.replace("_", " ").split(" ")
    long = {"train": "training", "val": "validation"}
    return " ".join([*(long.get(word, word) for word in words[:-1]), words[-1]])


def words_of_value(key: str, value: Any) -> str:
    """A value as its key says: accuracies as percentages, seconds as times, true as "yes"."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NOTHING}[value]
    if isinstance(value, int | float) and math.isfinite(value):
        if "accuracy" in key and 0 <= value <= 1:
            return number(100 * value, 1) + "%"
        if key.endswith("seconds"):
            return duration(value) if value >= 10 else f"{value:.2g} s"
        return str(value) if isinstance(value, int) else f"{value:.4g}".replace("-", "\u2212")
    if isinstance(value, list | tuple):
        return ", ".join(words_of_value(key, item) for item in value)
    return str(value)
