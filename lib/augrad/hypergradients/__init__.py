"""Hypergradient methods: each differentiates the validation loss through the classifier's training.

A method returns terms. Each has weights w and a vector u of their shape, and with w and u held fixed the derivative of
the validation loss with respect to the policy is the derivative of

    sum over the terms of  E_b mean_i s_i(b_i),      s_i(b) = <u, grad_w l_i(w; T(x_i; b))>,

where b_i is what the policy draws for image x_i, T(x_i; b) the augmented image, and l_i the classifier's loss on it.
`OneStep` and the implicit methods (`T1T2`, `Neumann`, `ConjugateGradients`) have one term; `Unrolled` has one for each
step. A new method is a file with one callable frozen dataclass that satisfies `Hypergradient`, and one YAML file that
names it.
"""

from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient, Link, Term, TwoLevels
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled

__all__ = [
    "T1T2",
    "ConjugateGradients",
    "Hypergradient",
    "Link",
    "Neumann",
    "NoHypergradient",
    "OneStep",
    "Term",
    "TwoLevels",
    "Unrolled",
]
