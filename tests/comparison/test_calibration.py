"""The calibration error by its definition."""

import numpy as np
import pytest
import torch

from augrad.comparison.calibration import BINS, calibration_error


def test_by_the_definition():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(500, 4, generator=generator)
    labels = torch.randint(4, (500,), generator=generator)
    confidence, choice = logits.double().softmax(-1).max(-1)
    hits = (choice == labels).double()
    expected = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence > low) & (confidence <= low + 1 / BINS)
        if inside.any():
            expected += float(inside.double().mean() * (confidence[inside].mean() - hits[inside].mean()).abs())
    assert calibration_error(logits, labels) == pytest.approx(expected)


def test_certain_and_right_and_certain_and_wrong():
    logits = torch.tensor([[100.0, 0.0]] * 4)
    assert calibration_error(logits, torch.zeros(4, dtype=torch.int64)) == pytest.approx(0.0)
    assert calibration_error(logits, torch.ones(4, dtype=torch.int64)) == pytest.approx(1.0)


def test_as_confident_as_accurate():
    logits = torch.log(torch.tensor([[0.75, 0.25]] * 4))
    assert calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)
