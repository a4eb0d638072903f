"""Regularisers: terms that are added to what the policy minimises. They depend on the policy's parameters alone.

They go with every objective. A new one is a file with one callable frozen dataclass that satisfies `Regularizer`; the
configuration names it in `search.regularizers`.
"""

from augrad.regularizers.identity_prior import IdentityPrior
from augrad.regularizers.regularizer import Regularizer
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.regularizers.strength_reward import StrengthReward

__all__ = [
    "IdentityPrior",
    "Regularizer",
    "SelectionEntropy",
    "StrengthReward",
]
