"""Objectives: what a search minimises.

An objective turns a batch into one number for each image, as a function of what the policy drew for that image. The
policy minimises the expectation of their mean; the objective also says what the classifier minimises. Two objectives,
`WholeTraining` and `PersistentTraining`, take trainings for a step instead, and estimate their gradient themselves. A
new one is a file with one callable frozen dataclass that satisfies `Objective`, and one YAML file that names it.
"""

from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import Aim, Objective, Step
from augrad.objectives.persistent_training import PersistentTraining
from augrad.objectives.whole_training import WholeTraining

__all__ = [
    "Adversarial",
    "Aim",
    "Bilevel",
    "DensityMatching",
    "Objective",
    "PersistentTraining",
    "Step",
    "WholeTraining",
]
