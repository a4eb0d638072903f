"""Score function (REINFORCE, Williams 1992, section 4), with a leave-one-out or a moving-average baseline."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.control import Control
from augrad.estimators.estimate import Estimate, Scalar, advantage_of, estimation, gradients_of, hard_draw
from augrad.policy import Policy

Baseline = Literal["leave_one_out", "moving_average", "none"]


class MovingAverage(nn.Module):
    """A running mean of the scores, which starts at 0."""

    mean: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def loss(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Half the squared error of the mean.

        A step of gradient descent on it with learning rate 1 - decay is mean <- decay * mean + (1 - decay) * value.
        """
        return 0.5 * (value - self.mean) ** 2


@checked
@dataclass(frozen=True)
class Reinforce:
    """g = mean_i (s_i - baseline_i) grad log p(b_i), for sub-policies, operations, gates and magnitudes alike.

    It is unbiased, also for a scalar that jumps (ReLU units that switch, max-pooling, thresholds), because the scalar
    is not differentiated. log p has terms only for what acted on the image. Cost: one evaluation of the scalar.
    baseline: "leave_one_out", the mean of the other images' scores; "moving_average", the mean of the earlier steps'
    scores, with weights that fall by the factor `decay` from step to step (it starts at 0, and takes some
    1 / (1 - decay) steps to reach the scores); "none", 0. The estimate is unbiased with each of them, because none
    depends on the image's own draw.
    Raises UserError for another baseline, or a decay outside [0, 1).
    """

    baseline: Baseline = "leave_one_out"
    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise UserError(f"decay: expected at least 0 and below 1, got {self.decay}")

    def initial_control(self, policy: Policy, generator: torch.Generator) -> Control | None:
        """The moving average where it is the baseline; None otherwise."""
        if self.baseline != "moving_average":
            return None
        average = MovingAverage().to(policy.device)
        return Control(average, torch.optim.SGD(average.parameters(), lr=1 - self.decay))

    @estimation
    def __call__(
        self,
        scalar: Scalar,
        policy: Policy,
        batch_size: int,
        generator: torch.Generator | None,
        progress: float,
        control: MovingAverage | None = None,
    ) -> Estimate:
        """control: the moving average; None: the baseline is 0."""
        with torch.no_grad():
            sample = hard_draw(scalar, policy, batch_size, generator)
            scores = scalar(sample)
            advantage = advantage_of(scalar, scores) if self.baseline == "leave_one_out" else scores
            if control is not None:
                advantage = advantage - control.mean
        log_probability = torch.stack(policy.score_terms(sample)).sum(0)
        surrogate = (advantage * log_probability).mean()
        loss = None if control is None else control.loss(scores.mean())
        return Estimate(gradients_of(surrogate, policy), scores.mean(), loss)
