"""Small problems in float64 that tests of derivatives share: those of the package, and what only tests need."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jaxtyping
import torch
from torch import Tensor, nn

from augrad.hypergradients.hypergradient import TrainingBatch, TwoLevels
from augrad.learning.classifier import Weights
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.problems.training import (
    LEARNED,
    OPTIMISERS,
    Dropped,
    Linear,
    Normed,
    Softmax,
    Training,
    batch,
    build,
    central_difference,
    train_to_the_optimum,
    validation,
)

__all__ = [
    "LEARNED",
    "OPTIMISERS",
    "Dropped",
    "Linear",
    "Normed",
    "Softmax",
    "Training",
    "batch",
    "build",
    "central_difference",
    "flat_levels",
    "shapes_unchecked",
    "symmetric",
    "train_to_the_optimum",
    "validation",
]


@contextmanager
def shapes_unchecked() -> Iterator[None]:
    """Checks of shapes off, for what is done hundreds of times alike: they take most of the time of small tensors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def flat_levels(
    weights: Tensor,
    training_loss: Callable[[Tensor], Tensor],
    validation_loss: Callable[[Tensor], Tensor],
    **optimiser: float,
) -> TwoLevels:
    """Two losses of one vector of weights w, without images; SGD with the given settings (learning rate 0.1)."""
    model = nn.Module()
    model.w = nn.Parameter(weights.clone())
    leaf = weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(training_loss(leaf), leaf)
    nothing = TrainingBatch(
        torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64), lambda weights: training_loss(weights["w"])
    )

    def validate(weights: Weights) -> tuple[Tensor, Tensor]:
        return validation_loss(weights["w"]), weights["w"][None]

    sgd = torch.optim.SGD(model.parameters(), **{"lr": 0.1, **optimiser})
    return TwoLevels(
        {"w": model.w.detach()}, {"w": gradient}, nothing, pure_optimizer(model, sgd), validate, lambda _: nothing
    )


def symmetric(size: int, seed: int, eigenvalues: Tensor) -> Tensor:
    """A matrix with those eigenvalues, in a random basis."""
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = torch.linalg.qr(noise).Q
    return basis @ torch.diag(eigenvalues.to(torch.float64)) @ basis.T
