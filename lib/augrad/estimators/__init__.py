"""Estimators: each estimates the gradient of an expectation over the policy's draws.

The objective gives a scalar s_i(b), one number for each image as a function of what the policy drew for it. An
estimator returns an `Estimate` of the gradient of E_b mean_i s_i(b_i) with respect to the policy's parameters. It knows
nothing of training, validation or images. A new one is a file with one callable frozen dataclass that satisfies
`Estimator`, and one YAML file that names it.
"""

from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Estimate, Estimator
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.none import NoEstimator
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax

__all__ = [
    "Enumerate",
    "Estimate",
    "Estimator",
    "Gumbel",
    "Mixture",
    "NoEstimator",
    "Rebar",
    "Reinforce",
    "Relax",
]
