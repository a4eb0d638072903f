"""Splits in which every class has its share."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from augrad.data.seeding import checked_seed, local_generator
from augrad.errors import UserError


def stratified_split(
    labels: Int64[Tensor, " N"],
    sizes: Mapping[str, int],
    rest: str,
    seed: int,
    source: str,
    class_names: Sequence[str] = (),
) -> dict[str, Int64[Tensor, " _"]]:
    """Indices of disjoint parts with exactly `sizes` images, by name, and of all the others under the name `rest`.

    Each part holds every class that occurs, at least once, and otherwise in proportion, to within one image where that
    is possible. Indices rise within a part. source: the data's name, with which an error begins. class_names: for an
    error; numbers are used where there are none.
    Raises UserError when a class has fewer images than there are parts, or a part fewer than there are classes.
    """
    seed, everyone = checked_seed(seed), labels.numpy(force=True)
    classes, counts = np.unique(everyone, return_counts=True)
    left = len(everyone) - sum(sizes.values())
    parts = f"{', '.join(sizes)} and {rest}"
    if counts.min() < len(sizes) + 1:
        rarest = int(classes[counts.argmin()])
        raise UserError(
            f"{source}: class {class_names[rarest] if class_names else rarest} has too few images to be split into "
            f"{parts}: expected at least {len(sizes) + 1}, got {counts.min()}; add images of this class or leave the "
            "class out"
        )
    for name, size in (*sizes.items(), (rest, left)):
        if size < len(classes):
            asked = ", ".join(f"{size} for {name}" for name, size in sizes.items())
            raise UserError(
                f"{source}: expected at least {len(classes)} images for {name}, one of each class, got {size} "
                f"(asked for: {asked}, the rest of {len(everyone)} for {rest}); change these sizes"
            )

    order = torch.randperm(len(everyone), generator=local_generator(seed, "split")).numpy()
    # What is still free of each class, in random order.
    free = [order[everyone[order] == label] for label in classes]
    found: dict[str, Tensor] = {}
    for position, (name, size) in enumerate(sizes.items()):
        taken = _shares(np.array([len(indices) for indices in free]), size, keep=len(sizes) - position)
        chosen = [indices[:count] for indices, count in zip(free, taken, strict=True)]
        free = [indices[count:] for indices, count in zip(free, taken, strict=True)]
        found[name] = torch.from_numpy(np.sort(np.concatenate(chosen)))
    found[rest] = torch.from_numpy(np.sort(np.concatenate(free)))
    return found


def _shares(counts: np.ndarray, size: int, keep: int) -> np.ndarray:
    """How many of each class make up `size`: in proportion to `counts`, at least one, leaving at least `keep`."""
    total = counts.sum()
    taken = np.clip(counts * size // total, 1, counts - keep)
    while (missing := size - taken.sum()) != 0:
        owed = counts * size - taken * total  # in units of 1 / total, so that comparisons are exact
        if missing > 0:
            taken[np.where(taken < counts - keep, owed, np.iinfo(np.int64).min).argmax()] += 1
        else:
            taken[np.where(taken > 1, owed, np.iinfo(np.int64).max).argmin()] -= 1
    return taken
