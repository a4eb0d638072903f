"""Pictures that are the same: which of them stay, and in which split."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


class Alike(NamedTuple):
    """What becomes of pictures of which some are the same. They are numbered through all sets.

    first: of each the first copy in its set, which may be itself. left_out: the kind and the picture that it is the
    same as, by the number of the picture that is left out.
    """

    first: list[int]
    left_out: dict[int, tuple[str, int]]


def sorted_out(groups: Iterable[Sequence[int]], sets: Sequence[str], labels: Int64[Tensor, " N"]) -> Alike:
    """Left out are pictures that an earlier set has too, and all copies of one that is there in several classes.

    groups: the numbers, rising, of pictures that are the same. sets: the set of each.
    """
    first, out = list(range(len(sets))), dict[int, tuple[str, int]]()
    classes = labels.tolist()
    for group in groups:
        several = len({classes[index] for index in group}) > 1
        for index in group:
            other = next((i for i in group if several and classes[i] != classes[index]), group[0])
            if several:
                out[index] = "pictures in several classes", other
            elif sets[index] != sets[other]:
                out[index] = "pictures that another split has too", other
            else:
                first[index] = other
    return Alike(first, out)


def groups_of(values: Sequence[Key] | Mapping[int, Key], indices: Iterable[int]) -> list[list[int]]:
    """The indices whose values are equal, where there are several."""
    found = dict[Key, list[int]]()
    for index in indices:
        found.setdefault(values[index], []).append(index)
    return [group for group in found.values() if len(group) > 1]


def with_copies(first: Int64[Tensor, " N"], chosen: Int64[Tensor, " _"]) -> Int64[Tensor, " _"]:
    """The chosen pictures together with the copies of each, as rising numbers."""
    return torch.isin(first, chosen).nonzero().flatten()
