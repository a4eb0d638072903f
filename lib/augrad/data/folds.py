"""Cross-validation: which of the train and validation images train, and which validate."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from augrad.data.seeding import local_generator
from augrad.data.types import Split, Splits
from augrad.errors import UserError


def in_turn(splits: Splits, count: int | None, turns: Sequence[int], seed: int) -> list[Splits]:
    """The division of each turn, which begin again after `count` (see `fold_of`); None: the splits as they are."""
    if count is None:
        return [splits] * len(turns)
    each = {index: fold_of(splits, count, index, seed) for index in sorted({turn % count for turn in turns})}
    return [each[turn % count] for turn in turns]


def fold_of(splits: Splits, count: int, index: int, seed: int) -> Splits:
    """One of `count` divisions of the train and validation images together: part `index` validates, the others train.

    The parts are disjoint and of equal size, and hold each class in proportion, to within one image; the few images
    that do not fill them always train. seed: of the division. Raises UserError for fewer parts than 2 and for more
    than there are images.
    """
    pair = splits.train, splits.validation
    images, labels = (torch.cat([getattr(one, name) for one in pair]) for name in ("images", "labels"))
    if not 2 <= count <= len(labels):
        raise UserError(
            f"folds: expected 2 to {len(labels)} parts of the train and validation images, got {count}; null leaves "
            "the two as they are"
        )
    order = torch.randperm(len(labels), generator=local_generator(seed, "folds"))
    dealt = order[: len(order) // count * count]
    dealt = dealt[labels.cpu()[dealt].argsort(stable=True)]
    validates = torch.zeros(len(labels), dtype=torch.bool)
    validates[dealt[index % count :: count]] = True
    train, validation = (
        Split(images[rows], labels[rows])
        for rows in (mask.nonzero()[:, 0].to(labels.device) for mask in (~validates, validates))
    )
    return replace(splits, train=train, validation=validation)
