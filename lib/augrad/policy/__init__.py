"""The policy: what it draws from, how it draws, where it starts."""

from augrad.policy.policy import Policy, ScoreTerms
from augrad.policy.slots import Slot, Slots, parameters_like

__all__ = ["Policy", "ScoreTerms", "Slot", "Slots", "parameters_like"]
