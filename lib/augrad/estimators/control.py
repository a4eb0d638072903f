"""Controls: baselines and control variates that some estimators train beside the policy. Checkpoints keep them."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augrad.checks import require_returned
from augrad.estimators.estimate import Estimate, Estimator, Scalar
from augrad.policy import Policy
from augrad.policy.learnable import only_learnable


@dataclass(frozen=True)
class Control:
    """A baseline or control variate, and the optimiser that trains it. It does not change an estimate's expectation."""

    module: nn.Module
    optimizer: torch.optim.Optimizer

    def step(self, loss: Float[Tensor, ""] | None) -> None:
        """One step of the optimiser on `loss`; no step where `loss` does not depend on the module."""
        if loss is None or not loss.requires_grad:
            return
        parameters = list(self.module.parameters())
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])


@runtime_checkable
class ControlledEstimator(Protocol):
    """An estimator with a control, which a call takes as an argument: an estimate is a function of its arguments."""

    def initial_control(self, policy: Policy, generator: torch.Generator) -> Control | None:
        """The control before the first step, on the policy's device; None where the settings need no control."""

    def __call__(
        self,
        scalar: Scalar,
        policy: Policy,
        batch_size: int,
        generator: torch.Generator | None,
        progress: float,
        control: Any = None,
    ) -> Estimate: ...


def initial_control(estimator: Estimator, policy: Policy, generator: torch.Generator) -> Control | None:
    """The estimator's control before the first step; None for an estimator that has none."""
    with torch.inference_mode(False):  # what is made inside of it can never be trained
        return estimator.initial_control(policy, generator) if isinstance(estimator, ControlledEstimator) else None


def estimate_with(
    control: Control | None,
    estimator: Estimator,
    scalar: Scalar,
    policy: Policy,
    batch_size: int,
    generator: torch.Generator | None,
    progress: float,
) -> Estimate:
    """The estimate of `estimator`, which is given `control` if it takes one; zero for fixed entries (`learnable`).

    Raises UserError for an estimator that returns something else.
    """
    if control is not None and isinstance(estimator, ControlledEstimator):
        found = estimator(scalar, policy, batch_size, generator, progress, control.module)
    else:
        found = estimator(scalar, policy, batch_size, generator, progress)
    require_returned(found, Estimate, "estimator", estimator)
    return replace(found, grads=only_learnable(found.grads, policy))
