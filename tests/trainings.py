"""Rows of a comparison, made up: what tests of words, tables and figures need."""

from collections.abc import Mapping, Sequence
from typing import Any

from augrad.comparison.rows import TrainingRow


def training(policy: str, accuracy: float, seed: int = 0, **named: Any) -> TrainingRow:
    """A training that has converged, of 10,000 test images in ten classes; its loss is 1 minus the accuracy."""
    given = {
        "search_seed": None,
        "split_seed": 0,
        "loss": 1 - accuracy,
        "steps": 100,
        "seconds": 1.0,
        "calibration_error": 0.02,
        "diversity": 0.5,
        "train_loss": 0.1,
        "held_out_loss": 1.0,
        "late": 0.05,
        "images": 10_000,
        "chance": 0.1,
        "digest": policy,
    }
    return TrainingRow(policy=policy, accuracy=accuracy, seed=seed, **{**given, **named})


def trainings(accuracies: Mapping[str, Sequence[float]], **named: Any) -> list[TrainingRow]:
    """A row for each accuracy, the seeds counted from 0."""
    return [
        training(name, accuracy, seed, **named)
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
