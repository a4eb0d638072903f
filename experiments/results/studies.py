"""What is judged on what: the studies of experiments/results."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """Searches by several methods on one data set, each on a division of its own, and all of them judged together.

    words: what the data are, for the page. common: overrides of the searches and of the comparison. judged: more
    of them. methods: those of each method's search; the last one is judged against the others.
    """

    words: str
    common: tuple[str, ...]
    judged: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]


FROM_RANDAUGMENT = ("space=randaugment", "policy.stages=2", "policy.probability=0.95", "policy.level=0.3")
FROM_THE_DEFAULT = ("space=gray", "policy.stages=1", "policy.probability=0.75", "policy.level=0.5")
_METHODS = {
    "one_step": (),
    "one_step_from_randaugment": FROM_RANDAUGMENT,
    "population_from_the_default": (
        "experiment=population",
        *FROM_THE_DEFAULT,
    ),
    "population": ("experiment=population",),
}
"""The last one is what is advised."""


def _fashion_mnist(train: int, validation: int, epochs: int, judged: int) -> Study:
    return Study(
        f"FashionMNIST: searches on {train:,} training and {validation:,} validation images ({epochs} epochs of a "
        f"whole training); the classifiers judged train on both, {judged} epochs, and are tested on the 10,000 test "
        "images. small_conv, batches of 100.",
        (
            "data=fashion_mnist",
            f"data.reduced={train + validation}",
            f"data.validation_fraction={validation / (train + validation):.4f}",
            f"train.epochs={epochs}",
            "train.batch_size=100",
        ),
        (f"train.epochs={judged}",),
        _METHODS,
    )


STUDIES: Mapping[str, Study] = {
    "fashion_mnist_500": _fashion_mnist(500, 1000, 100, 60),
}
