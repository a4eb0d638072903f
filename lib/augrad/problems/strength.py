"""How strong should one operation be? A classifier in training on real digits, and the truth by brute force. float64.

The operation is always applied, with a magnitude drawn around a learned location m. What a policy is after is J(m), the
expected validation loss after one step of the optimiser on images that it drew. An estimator follows
d/dm E <u, grad_w l> with u held fixed; over the draws of the step its expectation has the mean of u. Both derivatives
are here, made of values alone: nothing is differentiated through the operation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augrad.data.batches import EpochBatches
from augrad.data.digits import load_digits
from augrad.data.pixels import to_float
from augrad.data.planted import Planted
from augrad.data.types import LoadedSplit
from augrad.estimators.estimate import Scalar
from augrad.hypergradients.hypergradient import Term, TrainingBatch, TwoLevels
from augrad.hypergradients.one_step import OneStep
from augrad.learning.classifier import Weights, gradients_of_weights, logits_with, losses_of, weights_of
from augrad.learning.pure_optimizer import PureOptimizer, pure_optimizer
from augrad.learning.step import backward_on, build_normalized
from augrad.models.normalized import Normalized
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.scores import directional_scores
from augrad.ops import get
from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.distributions import CERTAIN
from augrad.policy.initial import Magnitude, initial_policy

Batch = tuple[Tensor, Tensor]
"""Images [B, C, H, W] and labels [B]."""

NETWORKS: dict[str, dict[str, Any]] = {
    "ReLU, max pooling": {"activation": "relu", "pool": "max"},
    "SiLU, average pooling": {"activation": "silu", "pool": "average"},
    "ReLU, average pooling": {"activation": "relu", "pool": "average"},
    "SiLU, max pooling": {"activation": "silu", "pool": "max"},
}
"""Arguments of `augrad.models.small_conv.SmallConvNet`."""


@dataclass(frozen=True)
class Operation:
    """high: the magnitude of full strength, in the operation's unit. planted: what validation images have undergone."""

    high: float
    planted: Planted


OPERATIONS = {
    "rotate": Operation(90.0, Planted("rotate", -45.0, 45.0)),
    "translate_x": Operation(0.45, Planted("translate_x", -0.25, 0.25)),
    "brightness": Operation(0.9, Planted("brightness", -0.5, 0.5)),
}


@dataclass(frozen=True)
class Strength:
    """The next step of a classifier in training: see `strength_problem`.

    operation: a name in `OPERATIONS`. train: all training images. batch: of the step, before a policy draws. held_out:
    of the validation loss. weights, optimizer: before the step.
    """

    operation: str
    model: Normalized
    train: Batch
    batch: Batch
    held_out: Batch
    weights: Weights
    optimizer: PureOptimizer

    @property
    def high(self) -> float:
        """The magnitude of full strength."""
        return OPERATIONS[self.operation].high

    def policy(self, location: float, scale: float = 1.0, magnitude: Magnitude = "logit_normal") -> Policy:
        """The operation alone, always applied, either sign, around high * sigmoid(location)."""
        return strength_policy(self.operation, location, scale, magnitude)

    def loss(self, weights: Weights, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss, logits."""
        logits = logits_with(self.model, weights, batch[0])
        return losses_of(logits, batch[1]).mean(), logits

    def gradients(self, images: Tensor) -> Weights:
        """Of the training loss, with these images in place of the batch's."""
        backward_on(self.model, images, self.batch[1], autocast=False)
        return {name: gradient.clone() for name, gradient in gradients_of_weights(self.model).items()}

    def drawn(self, policy: Policy, generator: torch.Generator) -> Weights:
        """`gradients` on a draw of the policy."""
        return self.gradients(policy(self.batch[0], generator=generator).detach())

    def u(self, gradients: Weights) -> Weights:
        """What `one_step` makes of the step with these gradients."""
        batch = self._unaugmented()
        levels = TwoLevels(
            self.weights,
            gradients,
            batch,
            self.optimizer,
            lambda weights: self.loss(weights, self.held_out),
            lambda ahead: batch,
        )
        return OneStep()(levels, {}).terms[0].u

    def mean_u(self, policy: Policy, count: int, generator: torch.Generator) -> Weights:
        """The mean of u over `count` draws of the step."""
        found = [self.u(self.drawn(policy, generator)) for _ in range(count)]
        return {name: torch.stack([u[name] for u in found]).mean(0) for name in self.weights}

    def scalar(self, u: Weights, policy: Policy) -> Scalar:
        """What an estimator differentiates: sample -> <u, grad_w l_i> [B]."""
        return Bilevel().scalar(self.model, (Term(self.weights, u, self._unaugmented()),), policy)

    def scores(self, u: Weights, batch: Batch, magnitude: Tensor) -> Tensor:
        """The same [B] at signed magnitudes [B], for any images; differentiable in the magnitudes."""
        return directional_scores(self.model, self.weights, u, get(self.operation).apply(batch[0], magnitude), batch[1])

    @torch.no_grad()
    def loss_after(self, gradients: Weights) -> Tensor:
        """Validation loss after the optimiser's step."""
        stepped, _ = self.optimizer.step(self.weights, self.optimizer.state, gradients)
        return self.loss(stepped, self.held_out)[0]

    def _unaugmented(self) -> TrainingBatch:
        return TrainingBatch(*self.batch, lambda weights: self.loss(weights, self.batch)[0])

    # --- by brute force -----------------------------------------------------------------------------------------------

    def table(self, count: int) -> Tensor:
        """[count, weights]: `gradients` with every image at the middle of one of `count` equal parts of the range, mean
        of both signs. With it every expectation over a magnitude is a sum: see `derivative_at_fixed_u`."""
        return torch.stack(
            [
                torch.stack([flat(self.gradients(self._applied(sign * magnitude))) for sign in (1, -1)]).mean(0)
                for magnitude in self._middles(count)
            ]
        )

    def slopes(self, u: Weights, count: int) -> Tensor:
        """[count]: d <u, grad_w l> / d magnitude as autograd has it, mean over the batch and both signs, at the same
        magnitudes. With it the expectation of a pathwise estimate is a sum: see `expected_pathwise`."""
        found = []
        for magnitude in self._middles(count):
            leaf = magnitude.clone().requires_grad_()
            total = sum(self.scores(u, self.batch, sign * leaf).mean() for sign in (1, -1))
            (slope,) = torch.autograd.grad(total, leaf)  # type: ignore[arg-type]
            found.append(slope.sum() / 2)
        return torch.stack(found)

    def differences(
        self, u: Weights, location: float, scale: float, step: float, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """[count] each: central differences over the location, both ends with the same base draws.

        Of the validation loss after the step, whose mean is the derivative of J; and of <u, grad_w l>, whose mean is
        the derivative at fixed u.
        """
        ends = [self.policy(location + sign * step, scale) for sign in (1, -1)]
        whole, fixed, along = [], [], flat(u)
        for _ in range(count):
            noise = ends[0].draw_noise(len(self.batch[1]), generator)
            ahead, behind = (
                self.gradients(policy(self.batch[0], params=policy.sample_from(noise)).detach()) for policy in ends
            )
            whole.append(self.loss_after(ahead) - self.loss_after(behind))
            fixed.append((flat(ahead) - flat(behind)) @ along)
        return torch.stack(whole) / (2 * step), torch.stack(fixed) / (2 * step)

    def _middles(self, count: int) -> list[Tensor]:
        middles = (torch.arange(count, dtype=torch.float64) + 0.5) * self.high / count
        return [middle.expand(len(self.batch[1])) for middle in middles]

    def _applied(self, magnitude: Tensor) -> Tensor:
        return get(self.operation).apply(self.batch[0], magnitude)


def flat(weights: Weights) -> Tensor:
    """All entries one after another."""
    return torch.cat([part.flatten() for part in weights.values()])


def part_masses(location: float, scale: float, count: int) -> Tensor:
    """[count]: probability of each of as many equal parts of the range, for a logit-normal magnitude."""
    edges = torch.logit(torch.arange(count + 1, dtype=torch.float64) / count)
    return torch.special.ndtr((edges - location) / scale).diff()


def derivative_at_fixed_u(table: Tensor, u: Weights, location: float, scale: float, step: float = 1e-4) -> float:
    """d/dm E <u, grad_w l> by a central difference of sums over `Strength.table`."""
    ahead, behind = (part_masses(location + sign * step, scale, len(table)) for sign in (1, -1))
    return float((ahead - behind) @ (table @ flat(u)) / (2 * step))


def expected_pathwise(slopes: Tensor, high: float, location: float, scale: float) -> float:
    """What a pathwise estimate of d/dm has for its expectation: the slope times d magnitude / d location, summed.

    slopes: of `Strength.slopes`; high: `Strength.high`."""
    level = (torch.arange(len(slopes), dtype=torch.float64) + 0.5) / len(slopes)
    moved = high * level * (1 - level)  # d magnitude / d location: that of the sigmoid
    return float((part_masses(location, scale, len(slopes)) * slopes * moved).sum())


def strength_policy(operation: str, location: float, scale: float, magnitude: Magnitude) -> Policy:
    """The operation alone, always applied; its location is learned."""
    space = make_space({operation: {"low": 0.0, "high": OPERATIONS[operation].high}})
    level = 1 / (1 + math.exp(-location))
    policy = initial_policy(space, magnitude=magnitude, level=level, scale=scale, learn=["magnitudes"])
    with torch.no_grad():
        policy.gate_logits.fill_(CERTAIN)
    return policy


def strength_problem(
    operation: str = "rotate",
    network: str = "ReLU, max pooling",
    steps: int = 200,
    batch_size: int = 128,
    validation_size: int = 256,
    width: int = 16,
    seed: int = 0,
) -> Strength:
    """A classifier after `steps` steps of SGD, as in a search, on upright digits augmented around half strength.

    operation, network: names in `OPERATIONS` and `NETWORKS`; width: of the network. The validation images have
    undergone the operation. Deterministic: the same arguments give the same problem.
    """
    data = load_digits(planted=OPERATIONS[operation].planted, seed=seed)
    builder: Callable[..., SmallConvNet] = lambda **sizes: SmallConvNet(**sizes, width=width, **NETWORKS[network])  # noqa: E731
    model = build_normalized(builder, data, seed, torch.device("cpu")).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001)
    policy, generator = strength_policy(operation, 0.0, 1.0, "logit_normal"), torch.Generator().manual_seed(seed)
    batches = EpochBatches(len(data.train), batch_size, seed)
    for step in range(steps):
        images, labels = _double(batches.batch(data.train, step))
        with torch.no_grad():
            images = policy(images, generator=generator)
        backward_on(model, images, labels, autocast=False)
        optimizer.step()
    return Strength(
        operation,
        model,
        _double(data.train[torch.arange(len(data.train))]),
        _double(data.train[batches.indices(steps)]),
        _double(data.validation[torch.arange(validation_size)]),
        weights_of(model),
        pure_optimizer(model, optimizer),
    )


def _double(split: LoadedSplit) -> Batch:
    return to_float(split.images).double(), split.labels
