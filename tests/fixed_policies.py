"""Policies of one operation at one magnitude, to be held against what other libraries make of them."""

import numpy as np
from torch import Tensor

import augrad
from augrad import Policy


def fixed(name: str, value: float, interpolation: str = "bilinear", fill: float = 0.0) -> Policy:
    """The operation on every image with this magnitude, which has the sign that it says."""
    op = augrad.ops.get(name)
    options = {"low": value, "high": value, "signed": False} if op.has_magnitude else None
    return Policy.over(
        {name: options},
        probability=1.0,
        magnitude="point",
        interpolation=interpolation,  # type: ignore[arg-type]
        fill=fill,
    )


def strengths(name: str, step: float = 0.0) -> list[float]:
    """Magnitudes over the operation's range, with both signs where it has them; multiples of `step`, if that is not
    0, and whole bits. 0 without a magnitude."""
    op = augrad.ops.get(name)
    if op.low is None or op.high is None:
        return [0.0]
    values = [op.low + share * (op.high - op.low) for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    step = 1.0 if op.unit == "bits" else step
    values = [round(value / step) * step for value in values] if step else values
    return values + [-value for value in values[1:] if op.signed]


def as_array(image: Tensor) -> np.ndarray:
    """[C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
