"""No hypergradient: for objectives of a single level."""

from dataclasses import dataclass
from typing import ClassVar

from augrad.errors import UserError
from augrad.hypergradients.hypergradient import Link, TwoLevels
from augrad.learning.classifier import Weights


@dataclass(frozen=True)
class NoHypergradient:
    """Stands where an objective does not look through the training. Raises UserError when it is asked to."""

    follows_rate: ClassVar[bool] = False

    @property
    def passes(self) -> int:
        """None."""
        return 0

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        raise UserError("NoHypergradient cannot follow the validation loss; take one_step or another method")
