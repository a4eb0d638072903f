"""Comparing policies: the same classifier is trained with each of them, in the same way and on the same seeds."""

from collections.abc import Callable, Mapping, Sequence

import torch

from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.learning.step import ModelBuilder, OptimizerBuilder
from augrad.policy.policy import Policy
from augrad.settings import TrainSettings
from augrad.train.loop import train_classifier

Arm = Callable[[int], Policy | None]
"""seed -> the policy to train with (None: no augmentation)."""


def always(policy: Policy | None) -> Arm:
    """The same policy for every seed."""
    return lambda seed: policy


def compare_policies(
    arms: Mapping[str, Arm],
    splits: Splits,
    model: ModelBuilder,
    optimizer: OptimizerBuilder,
    settings: TrainSettings,
    seeds: Sequence[int],
    device: torch.device,
    done: Callable[[str, int, float], None] | None = None,
    standard: StandardAugmentation = NO_STANDARD,
    known: Mapping[tuple[str, int], float] | None = None,
) -> dict[str, tuple[float, ...]]:
    """Test accuracy after the last epoch of every arm for every seed, in the order of `seeds`.

    done: called with (name, seed, accuracy) after each training. standard: what training images undergo after the
    policy, with the same draws for every arm. known: accuracies of trainings that were done before, by name and seed:
    they are taken as they are, and `done` is called for them, too.
    """
    accuracies: dict[str, list[float]] = {name: [] for name in arms}
    for seed in seeds:
        for name, arm in arms.items():
            accuracy = (known or {}).get((name, seed))
            if accuracy is None:
                policy = arm(seed)
                result = train_classifier(splits, model, optimizer, policy, settings, seed, device, standard=standard)
                accuracy = result.test_accuracy
            accuracies[name].append(accuracy)
            if done is not None:
                done(name, seed, accuracy)
    return {name: tuple(values) for name, values in accuracies.items()}
