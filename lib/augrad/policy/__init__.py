"""The policy: its parameters, its draws and their log-probabilities, and the policies that searches start from."""

from augrad.policy.policy import Policy, ScoreTerms
from augrad.policy.slots import Slot, Slots, parameters_like

__all__ = ["Policy", "ScoreTerms", "Slot", "Slots", "parameters_like"]
