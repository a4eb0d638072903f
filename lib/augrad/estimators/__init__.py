"""Estimators: each differentiates the expectation of a per-image scalar with respect to the policy.

An estimator is called with the scalar, the policy and a generator, and returns an `Estimate`; it never hears of two
levels. A new one is a file with one callable frozen dataclass, and one YAML file that names it.
"""

from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Estimate, Estimator
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax

__all__ = [
    "Enumerate",
    "Estimate",
    "Estimator",
    "Gumbel",
    "Mixture",
    "Rebar",
    "Reinforce",
    "Relax",
]
