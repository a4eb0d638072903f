"""The numbers of a policy file: at most 12 significant digits, so that they are short and the same on every machine."""

import math
from collections.abc import Iterable


def rounded(number: float) -> float:
    """`number` to 12 significant digits; the negative zero becomes zero."""
    return float(f"{number:.12g}") + 0.0


def written_sum(numbers: Iterable[float]) -> float:
    """The sum of the numbers as they are written."""
    return math.fsum(map(rounded, numbers))
