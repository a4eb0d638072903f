"""Objectives: each turns a batch into one scalar per image, as a function of what the policy drew for that image."""

from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import Aim, Objective, Step

__all__ = [
    "Adversarial",
    "Aim",
    "Bilevel",
    "DensityMatching",
    "Objective",
    "Step",
]
