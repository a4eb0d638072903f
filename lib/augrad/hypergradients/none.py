"""No hypergradient: for objectives that do not look through the training."""

from dataclasses import dataclass
from typing import ClassVar

from augrad.errors import UserError
from augrad.hypergradients.hypergradient import Link, TwoLevels
from augrad.learning.classifier import Weights


@dataclass(frozen=True)
class NoHypergradient:
    """For objectives that do not follow a loss through the classifier's training. A call raises UserError."""

    follows_rate: ClassVar[bool] = False

    @property
    def passes(self) -> int:
        """None."""
        return 0

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        raise UserError("NoHypergradient cannot follow the validation loss; take one_step or another method")
