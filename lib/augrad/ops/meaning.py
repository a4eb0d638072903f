"""What is looked at before it is computed with: which magnitudes mean something, whether images are finite."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from augrad.errors import UserError

LARGEST = 1e6
"""No number of a policy is larger."""
_ROUNDING = 1e-6
"""A magnitude that is drawn from a range may lie so far beyond its end."""


def may_look(tensor: Tensor) -> bool:
    """Whether values can be read without waiting for a device: on the CPU, unless a function is traced."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def known_finite(images: Tensor) -> bool | None:
    """Whether no pixel is NaN or infinite; None where that cannot be looked at."""
    return bool(images.detach().sum().isfinite()) if may_look(images) else None


@dataclass(frozen=True)
class Meaning:
    """Finite magnitudes from `least` to `most`, signs included, in the operation's unit."""

    least: float = -sys.float_info.max
    most: float = sys.float_info.max

    def __str__(self) -> str:
        bounded = [end for end in (self.least, self.most) if abs(end) < sys.float_info.max]
        if len(bounded) == 2:
            return f"a magnitude from {self.least:g} to {self.most:g}"
        return f"a finite magnitude of at least {self.least:g}" if bounded else "a finite magnitude"

    def within(self, limit: float, both_signs: bool) -> tuple[float, float]:
        """The least and the most magnitude that mean something, none of them beyond `limit`; with `both_signs` those
        whose opposites do, too."""
        least, most = max(self.least, -limit), min(self.most, limit)
        reach = min(-least, most)
        return (-reach, reach) if both_signs else (least, most)

    def holds(self, magnitude: float) -> bool:
        """Whether `magnitude` means something; NaN does not."""
        return self.least - _ROUNDING <= magnitude <= self.most + _ROUNDING

    def check(self, magnitude: Tensor, name: str, eight_bits: bool) -> bool:
        """Whether `magnitude`, of any shape, holds NaN, or may hold numbers that are not finite, not having been read.

        Raises UserError for magnitudes that mean nothing, and for NaN where pixels have 8 bits, if they can be read.
        """
        if not may_look(magnitude):
            return True
        low, high = (float(end) for end in torch.aminmax(magnitude.detach()))
        if self.holds(low) and self.holds(high):
            return False
        self.require(magnitude.detach().numpy(), name, eight_bits)
        return True

    def require(self, magnitude: np.ndarray, name: str, eight_bits: bool) -> None:
        """Raise UserError for magnitudes that mean nothing, and for NaN where pixels have 8 bits."""
        magnitude = magnitude.astype(np.float64)
        missing = np.isnan(magnitude)
        within = (magnitude >= self.least - _ROUNDING) & (magnitude <= self.most + _ROUNDING)
        if not (missing | within).all():
            found = magnitude[~(missing | within)].flat[0]
            raise UserError(f"{name}: expected {self}, got {found:g}; keep magnitudes inside of what has a meaning")
        if eight_bits and missing.any():
            raise UserError(
                f"{name}: expected {self}, got NaN, which 8 bits cannot hold; give floating point images to see where "
                "NaN goes, or find out where it comes from"
            )
