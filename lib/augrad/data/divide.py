"""Four splits from a training set and, where there are, a validation and a test set."""

from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from jaxtyping import Int64
from torch import Tensor

from augrad.data.stratify import stratified_split
from augrad.errors import UserError


def require_fractions(fractions: Mapping[str, float]) -> None:
    """Raises UserError for what is no number in (0, 1)."""
    for name, fraction in fractions.items():
        if isinstance(fraction, bool) or not isinstance(fraction, Real) or not 0 < fraction < 1:
            raise UserError(f"{name}_fraction: expected a number between 0 and 1, got {fraction!r}; choose, say, 0.2")


def divided(
    labels: Mapping[str, Int64[Tensor, " _"] | None],
    fractions: Mapping[str, float],
    seed: int,
    source: str,
    class_names: Sequence[str] = (),
) -> dict[str, tuple[str, Int64[Tensor, " _"]]]:
    """train, validation, selection and test, each as indices into one of the given sets (train, val, test; None: none).

    labels: of each set. fractions: of validation, selection and test. What is not given is split off train, stratified
    by class: a fraction of the train images, and at least one image of each class. A given val is divided into
    validation and selection in the ratio of their two fractions. A given test is used whole.
    source: the data's name, with which an error begins. class_names: for an error.
    Raises UserError for fractions too large together, and for a class with too few images to be in every split.
    """
    train, val, test = (labels[name] for name in ("train", "val", "test"))
    assert train is not None
    left = dict(fractions)
    parts: dict[str, tuple[str, Tensor]] = {}
    if test is not None:
        parts["test"] = ("test", torch.arange(len(test)))
        del left["test"]
    if val is not None:
        ratio = left.pop("selection") / (fractions["selection"] + left.pop("validation"))
        found = _fractions(val, {"selection": ratio}, "validation", seed, f"{source}: val", class_names)
        parts |= {name: ("val", indices) for name, indices in found.items()}
    if sum(left.values()) >= 1:
        asked = ", ".join(f"{name}_fraction={fraction}" for name, fraction in left.items())
        raise UserError(f"{source}: expected fractions that leave images for train, got {asked}; choose smaller ones")
    found = _fractions(train, left, "train", seed, f"{source}: train", class_names)
    return parts | {name: ("train", indices) for name, indices in found.items()}


def _fractions(
    labels: Int64[Tensor, " _"],
    fractions: Mapping[str, float],
    rest: str,
    seed: int,
    source: str,
    class_names: Sequence[str],
) -> dict[str, Tensor]:
    if not fractions:
        return {rest: torch.arange(len(labels))}
    at_least = len(labels.unique())
    sizes = {name: max(at_least, round(fraction * len(labels))) for name, fraction in fractions.items()}
    return stratified_split(labels, sizes, rest, seed, source, class_names)
