"""The trials: what is searched on, what is measured, and what passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from augrad.data.digits import load_digits
from augrad.data.npz import read_archive
from augrad.data.seeding import local_generator
from augrad.data.stratify import stratified_split
from augrad.data.types import Split, Splits
from experiments.recovery.recovery import PLANTED
from experiments.shared.images import Images
from experiments.shared.starts import FROM_WIDE
from experiments.stability.stability import PLANTS, planted_override
from experiments.trials.measures import (
    NONE,
    START,
    Measure,
    closes_the_gap,
    finds,
    leaves_alone,
    not_below_the_start,
    settles,
)


@dataclass(frozen=True)
class Trial:
    """A question that a search must not decide by chance.

    words: what the data and the search are, for the page. measures: what is measured, with its bar. overrides: of the
    search and of the comparison. search, recipe: more of each alone. against: what the learned policy is compared
    with, names of policies or of planted transformations; none: there is no comparison. images: of a seed, written to a
    file that `data=arrays` reads; its second argument is what `--mnist` names, which the trial is left out without
    where `needs_mnist`.
    """

    name: str
    words: str
    measures: tuple[Measure, ...]
    overrides: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    images: Callable[[int, Path | None], Images] | None = None
    needs_mnist: bool = False


def wrong_labels(seed: int, _: Path | None) -> Images:
    """Digits of which every fifth training image has another class than its own."""
    digits = load_digits(seed=seed)
    generator, labels = local_generator(seed, "wrong labels"), digits.train.labels.clone()
    wrong = torch.randperm(len(labels), generator=generator)[: len(labels) // 5]
    labels[wrong] += torch.randint(1, digits.class_count, (len(wrong),), generator=generator)
    return archived(digits, train=Split(digits.train.images, labels % digits.class_count))


def imbalanced(seed: int, _: Path | None) -> Images:
    """Digits with a tenth of the training and validation images of five classes, drawn by the seed."""
    digits = load_digits(seed=seed)
    rare = torch.randperm(digits.class_count, generator=local_generator(seed, "rare classes"))[:5]
    images = archived(digits)
    return {name: split if name == "test" else thinned(split, rare.tolist()) for name, split in images.items()}


def pairs_of_digits(seed: int, _: Path | None) -> Images:
    """Two digits side by side, a hundred classes: 5 training images of each, 5 of val, 10 of test."""
    digits = load_digits(seed=seed)
    counts = {"train": 5, "val": 5, "test": 10}
    return {
        name: paired(split, counts[name], local_generator(seed, f"pairs {name}"))
        for name, split in archived(digits).items()
    }


def few_of_mnist(seed: int, mnist: Path | None) -> Images:
    """300 training images, 1,000 of val, at most 2,000 others for test."""
    assert mnist is not None
    every = read_archive(mnist).train
    sizes = {"train": 300, "val": 1000}
    rest = len(every) - sum(sizes.values())
    if rest > 2000:
        sizes["test"] = 2000
    parts = stratified_split(every.labels, sizes, "rest" if "test" in sizes else "test", seed, str(mnist))
    return {name: every[parts[name]] for name in ("train", "val", "test")}


def archived(digits: Splits, train: Split | None = None) -> dict[str, Split]:
    """The parts of a file; val is validation and selection, which `data=arrays` divides again."""
    held_out = digits.validation, digits.selection
    val = Split(*(torch.cat(both) for both in zip(*((s.images, s.labels) for s in held_out), strict=True)))
    return {"train": train or digits.train, "val": val, "test": digits.test}


def thinned(split: Split, rare: Sequence[int]) -> Split:
    """With the first tenth of the images of these classes, rounded up."""
    kept = []
    for label in split.labels.unique().tolist():
        own = (split.labels == label).nonzero().flatten()
        kept.append(own[: -(-len(own) // 10)] if label in rare else own)
    return split[torch.cat(kept).sort().values]


def paired(split: Split, count: int, generator: torch.Generator) -> Split:
    """So many images [C, H, 2 W] of each pair of classes, both halves drawn from `split`."""
    classes = split.labels.unique().tolist()
    images, labels = [], []
    for first in classes:
        for second in classes:
            halves = []
            for label in (first, second):
                own = (split.labels == label).nonzero().flatten()
                halves.append(split.images[own[torch.randint(len(own), (count,), generator=generator)]])
            images.append(torch.cat(halves, dim=3))
            labels.append(torch.full((count,), len(classes) * first + second))
    return Split(torch.cat(images), torch.cat(labels))


_HARMFUL = {
    "rotate": "{low:90.0,high:180.0}",
    "shear_x": "{low:1.0,high:2.0}",
    "shear_y": "{low:1.0,high:2.0}",
    "translate_y": "{low:0.3,high:0.45}",
    "horizontal_flip": "{}",
    "vertical_flip": "{}",
    "invert": "{}",
    "solarize": "{low:0.5,high:0.0}",
    "gaussian_noise": "{low:0.5,high:1.0}",
    "gaussian_blur": "{low:3.0,high:5.0}",
}


def _plant(name: str) -> Trial:
    return Trial(
        f"plant_{name}",
        f"Digits; validation, selection and test images have undergone the {name} of [recovery](../recovery/README.md) "
        f"(`experiment=recover_{name}`).",
        (finds(PLANTED[name][0]),),
        (f"experiment=recover_{name}",),
    )


def _gap(source: str, plant: str) -> Trial:
    of_digits = source == "digits"
    data = (
        "300 training images of the digits of scikit-learn"
        if of_digits
        else "300 training images of handwritten digits of another source, 28 × 28 pixels (`--mnist`, `data=arrays`)"
    )
    return Trial(
        f"gap_{source}_{plant}",
        f"{data}; validation, selection and test images have undergone the {plant} of recovery. Classifiers are "
        "trained on the training images alone, for 250 steps.",
        (closes_the_gap(plant, 0.9),),
        (planted_override(plant), *(("data.train_size=300",) if of_digits else ())),
        search=FROM_WIDE,
        recipe=("train.steps=250", "with_validation=false"),
        against=(NONE, plant),
        images=None if of_digits else few_of_mnist,
        needs_mnist=not of_digits,
    )


TRIALS = (
    Trial(
        "harmful",
        "Upright digits, and ten operations beside identity each of which does harm alone: rotations of 90 to 180 "
        "degrees, both flips, inversion, solarisation, shears by 1 to 2, vertical shifts of 30 to 45%, noise of 0.5 to "
        "1, blurs of 3 to 5 pixels. A classifier trained for 250 steps with one of them, applied to three images of "
        "four, ends at a test loss of 0.11 to 0.39, without at 0.045 (means of 2 seeds).",
        (leaves_alone(0.9),),
        (
            "space=rotation",
            f"++space.ops={{identity:{{}},{','.join(f'{op}:{limits}' for op, limits in _HARMFUL.items())}}}",
        ),
    ),
    Trial(
        "two_plants",
        "Digits; validation, selection and test images are turned by up to 45 degrees and then have half the "
        "brightness. Two stages, over the operations of the plants.",
        (finds("rotate", "brightness"),),
        (
            *(*FROM_WIDE, "policy.stages=2"),
            "data.planted=["
            + ",".join(planted_override(plant).partition("=")[2] for plant in ("rotation", "brightness"))
            + "]",
        ),
    ),
    Trial(
        "wrong_labels",
        "Digits, every fifth training label wrong; those of validation, selection and test are right.",
        (settles(0.05), not_below_the_start()),
        against=(START,),
        images=wrong_labels,
    ),
    Trial(
        "imbalanced",
        "Digits, five classes with a tenth of the images of the others in train, validation and selection; test even.",
        (not_below_the_start(),),
        against=(START,),
        images=imbalanced,
    ),
    Trial(
        "hundred_classes",
        "Two digits side by side, 16 × 32 pixels, a class for each pair: 100 classes, 5 training images of each.",
        (not_below_the_start(),),
        against=(START,),
        images=pairs_of_digits,
    ),
    Trial(
        "few_images",
        "200 training digits.",
        (not_below_the_start(),),
        ("data.train_size=200",),
        against=(START,),
    ),
    Trial(
        "high_rate",
        "Digits, with a learning rate of 0.5 in the search and in training.",
        (not_below_the_start(),),
        ("train.optimizer.lr=0.5",),
        search=("search.optimizer.lr=0.5",),
        against=(START,),
    ),
    Trial(
        "wide_resnet",
        "Digits, a Wide ResNet with BatchNorm (`model=wrn_16_2`): 80 steps, 10 epochs of the training images; "
        "trainings of 10 epochs.",
        (not_below_the_start(),),
        ("model=wrn_16_2", "train.epochs=10"),
        search=("search.steps=80", "search.warmup_steps=20", "search.select_every=20"),
        against=(START,),
    ),
    *(_plant(name) for name in PLANTED),
    *(_gap("digits", plant) for plant in PLANTS),
    *(_gap("mnist", plant) for plant in PLANTS),
)
