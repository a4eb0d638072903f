"""Cross-validation: which of the train and validation images train, and which validate."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from augrad.data.alike import groups_of
from augrad.data.seeding import local_generator
from augrad.data.types import Split, Splits, joined
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.settings import AUTO, Folds

_PARTS = 3
"""Of "auto": two thirds of the images train. More parts would decide by fewer images each."""


def folds_of(asked: Folds, splits: Splits) -> int | None:
    """Into how many parts train and validation images are divided; None: not at all.

    asked: a number, None, or "auto": three, and not at all where validation images have a source of their own
    (`Splits.own_validation`): mixing them with the others would hide how they differ.
    """
    if asked == AUTO:
        return None if splits.own_validation else _PARTS
    return asked


def in_turn(splits: Splits, count: int | None, turns: Sequence[int], seed: int) -> list[Splits]:
    """The division of each turn, which begin again after `count` (see `fold_of`); None: the splits as they are."""
    if count is None:
        return [splits] * len(turns)
    part = parts_of(splits, count, seed)
    each = {index: _validated_by(splits, part == index) for index in sorted({turn % count for turn in turns})}
    return [each[turn % count] for turn in turns]


@made_on_cpu
def fold_of(splits: Splits, count: int, index: int, seed: int) -> Splits:
    """One of `count` divisions of the train and validation images together: part `index` validates, the others train.

    See `parts_of`, of which it has the arguments.
    """
    return _validated_by(splits, parts_of(splits, count, seed) == index % count)


@made_on_cpu
def parts_of(splits: Splits, count: int, seed: int) -> Int64[Tensor, " N"]:
    """The part of each of the train and then the validation images, 0 .. count - 1, and -1 for one that always trains.

    The parts are disjoint and of equal size, and hold each class in proportion, to within one image; the few images
    that do not fill them always train. Images that are the same, pixel for pixel, count as one, and stay together.
    seed: of the division. Raises UserError for fewer parts than 2 and for more than there are images.
    """
    both = joined([splits.train, splits.validation])
    first, labels = _first_copies(both), both.labels
    different = (first == torch.arange(len(first))).nonzero()[:, 0]
    if not 2 <= count <= len(different):
        raise UserError(
            f"folds: expected 2 to {len(different)} parts of the train and validation images, got {count}; null leaves "
            "the two as they are"
        )
    order = different[torch.randperm(len(different), generator=local_generator(seed, "folds"))]
    dealt = order[: len(order) // count * count]
    dealt = dealt[labels.cpu()[dealt].argsort(stable=True)]
    part = torch.full((len(labels),), -1)
    part[dealt] = torch.arange(len(dealt)) % count
    return part[first]


def _validated_by(splits: Splits, validates: Bool[Tensor, " N"]) -> Splits:
    both = joined([splits.train, splits.validation])
    train, validation = (both.chosen(mask.nonzero()[:, 0].to(both.labels.device)) for mask in (~validates, validates))
    return replace(splits, train=train, validation=validation)


def _first_copies(split: Split) -> Int64[Tensor, " N"]:
    """Of each image the first one with the same pixels, which may be itself."""
    first = torch.arange(len(split))
    for group in groups_of(split.digests(), range(len(split))):
        first[group] = group[0]
    return first
