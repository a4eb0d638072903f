"""No estimator: for objectives that estimate their gradient themselves."""

from dataclasses import dataclass

import torch

from augrad.errors import UserError
from augrad.estimators.estimate import Estimate, Scalar
from augrad.policy import Policy


@dataclass(frozen=True)
class NoEstimator:
    """For objectives that estimate the gradient themselves. A call raises UserError."""

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        raise UserError("NoEstimator cannot differentiate an objective; take gumbel or another estimator")
