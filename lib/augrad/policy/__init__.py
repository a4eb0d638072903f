"""The policy: its parameters, its draws and their log-probabilities, and the policies that searches start from."""

from augrad.policy.draws import ScoreTerms
from augrad.policy.parameters import parameters_like
from augrad.policy.policy import Policy
from augrad.policy.slots import Slot, Slots

__all__ = ["Policy", "ScoreTerms", "Slot", "Slots", "parameters_like"]
