"""Score function (REINFORCE, Williams 1992) with the leave-one-out baseline over the batch."""

from dataclasses import dataclass
from typing import Literal

import torch

from augrad.errors import UserError
from augrad.estimators.estimate import Estimate, Scalar, gradients_of, leave_one_out
from augrad.policy import Policy


@dataclass(frozen=True)
class Reinforce:
    """g = mean_i (s_i - baseline_i) grad log p(b_i), for selection, gates and magnitudes alike.

    Unbiased, also where the scalar jumps (ReLU switches, max-pooling, thresholds), because it never differentiates
    the scalar. Only what acted is scored. baseline: "leave_one_out", the mean of the other images' scores, or "none".
    Cost: one evaluation of the scalar.
    """

    baseline: Literal["leave_one_out", "none"] = "leave_one_out"

    def __post_init__(self) -> None:
        if self.baseline not in ("leave_one_out", "none"):
            raise UserError(f"expected baseline leave_one_out or none, got {self.baseline!r}")

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        with torch.no_grad():
            sample = policy.sample(batch_size, generator)
            scores = scalar(sample).to(torch.float64)
            advantage = leave_one_out(scores) if self.baseline == "leave_one_out" else scores
        with torch.enable_grad():
            log_probability = torch.stack(policy.score_terms(sample)).sum(0)
            surrogate = (advantage * log_probability).mean()
        return Estimate(gradients_of(surrogate, policy), scores.mean())
