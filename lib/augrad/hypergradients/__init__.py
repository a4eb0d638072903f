"""Hypergradient methods: each follows the validation loss through the classifier's training.

Every method returns vectors u at points w of the training. With them, the derivative of the validation loss is the
policy gradient of

    sum over the terms of  E_b mean_i s_i(b_i),      s_i(b) = <u, grad_w l_i(w; T(x_i; b))>,      w and u held fixed.

One term for `one_step` and for the implicit methods (`t1t2`, `neumann`, `cg`), T for `unrolled`. A new method is a file
with one callable frozen dataclass that satisfies `Hypergradient`, and one YAML file that names it.
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
