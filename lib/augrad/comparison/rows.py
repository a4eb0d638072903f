"""What a comparison consists of: one row for each training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from augrad.errors import UserError


class Place(NamedTuple):
    """Which training it is. search_seed: of the search that the policy is from; None: of none that is known.

    split_seed: of the data's division. seed: of the training (weights, batches, draws), and of a random policy.
    """

    policy: str
    search_seed: int | None
    split_seed: int
    seed: int


@dataclass(frozen=True)
class TrainingRow:
    """One training and what became of it.

    policy, search_seed, split_seed, seed: its `Place`. accuracy: in 0..1, loss, calibration_error (see
    `augrad.comparison.calibration`): on the test split. steps, seconds: of the training. diversity: the mean loss on
    the augmented training images over the last tenth of the steps (Gontijo-Lopes et al. 2020). train_loss: on the
    training images as they are. held_out_loss: on the selection split, whose images are of the same source and nobody
    trains on; where they are trained on, too, on the test split.
    late: the share of the fall of the loss on augmented training images that came in the second half of the training.
    images: of the test split. chance: the share of its largest class.
    digest: of the policy, see `augrad.comparison.trainings.policy_digest`.
    affinities: of the training without a policy only: for each policy, by its digest, the accuracy of this classifier
    on test images that the policy augments, over its accuracy on test images as they are (the same paper).
    """

    policy: str
    search_seed: int | None
    split_seed: int
    seed: int
    accuracy: float
    loss: float
    steps: int
    seconds: float
    calibration_error: float
    diversity: float
    train_loss: float
    held_out_loss: float
    late: float
    images: int
    chance: float
    digest: str
    affinities: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Which training it is."""
        return Place(self.policy, self.search_seed, self.split_seed, self.seed)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def row_from(values: Mapping[str, Any], source: str) -> TrainingRow:
    """A row from JSON; keys that it does not have are left out. Raises UserError, which begins with `source`."""
    known = {item.name: values[item.name] for item in fields(TrainingRow) if item.name in values}
    try:
        return TrainingRow(**known)
    except TypeError as error:
        raise UserError(f"{source}: expected the row of a training, got {values!s:.200} ({error})") from None


def names_of(rows: Iterable[TrainingRow]) -> list[str]:
    """The policies, in the order of their first row."""
    return list(dict.fromkeys(row.policy for row in rows))


def of_policy(rows: Sequence[TrainingRow], name: str) -> list[TrainingRow]:
    """The rows of one policy."""
    return [row for row in rows if row.policy == name]


def affinity_of(rows: Sequence[TrainingRow], name: str) -> float | None:
    """A policy's mean affinity, from the trainings without a policy on the same splits and seeds; None without any."""
    clean = {(row.split_seed, row.seed): row.affinities for row in rows if row.affinities}
    found = [clean.get((row.split_seed, row.seed), {}).get(row.digest) for row in of_policy(rows, name)]
    told = [value for value in found if value is not None]
    return sum(told) / len(told) if told else None
