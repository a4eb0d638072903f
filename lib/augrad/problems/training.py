"""A small classifier in training, in float64, and what really happens to its validation loss: for hypergradients.

Deterministic: the same arguments give the same networks, images and draws.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from augrad.hypergradients.hypergradient import Link, TrainingBatch, TwoLevels
from augrad.learning.classifier import Weights, gradients_of_weights, logits_with, losses_of, weights_of
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.learning.step import backward_on
from augrad.models.dropout import SeededDropout
from augrad.objectives.bilevel import Bilevel
from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.initial import initial_policy
from augrad.types import RelaxedSample

MakeOptimizer = Callable[..., torch.optim.Optimizer]

OPTIMISERS: dict[str, tuple[MakeOptimizer, float | None]] = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.3), None),
    "weight decay": (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05), None),
    "momentum and weight decay": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.02), None),
    "dampening": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, dampening=0.4), None),
    "nesterov": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.02), None),
    "maximize": (
        lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.02, nesterov=True, maximize=True),
        None,
    ),
    "clipped": (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True), 0.05),
    "clip limit not reached": (lambda p: torch.optim.SGD(p, lr=0.3), 1e3),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02), None),
    "adamw, clipped": (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), 0.05),
    "two groups, the other way round": (
        lambda p: torch.optim.SGD(
            [{"params": part, "weight_decay": decay} for part, decay in zip(halves(p), (0.05, 0.0), strict=True)],
            lr=0.3,
            momentum=0.9,
        ),
        None,
    ),
}


def halves(parameters: Any) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The last half first: an order that is not the model's."""
    every = list(parameters)
    return every[len(every) // 2 :], every[: len(every) // 2]


class Linear(nn.Module):
    """Smooth, with a layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Normed(nn.Module):
    """BatchNorm between smooth convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Dropped(nn.Module):
    """Dropout and BatchNorm: everything that a pass could leave a trace in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.Tanh(), SeededDropout(0.3), nn.Linear(6, 3)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Softmax(nn.Module):
    """Softmax regression on coarse pixels: convex in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(nn.functional.avg_pool2d(images, 2).flatten(1))


def build(kind: type[nn.Module], **arguments: Any) -> nn.Module:
    """The network in float64, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(**arguments).double()


def batch(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images 8 x 8 and labels of three classes."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 + 0.6 * torch.rand(count, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 3, (count,), generator=generator)


def validation(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[Weights], tuple[Tensor, Tensor]]:
    """weights -> mean loss, logits."""

    def validate(weights: Weights) -> tuple[Tensor, Tensor]:
        logits = logits_with(model, weights, images)
        return losses_of(logits, labels).mean(), logits

    return validate


def point_policy() -> Policy:
    """Smooth operations with point magnitudes: the pathwise derivative is exact."""
    space = make_space({"brightness": {"signed": False}, "contrast": {"signed": False}, "identity": {}})
    policy = initial_policy(space, stages=2, magnitude="point", level=0.3, learn=["ops", "gates", "magnitudes"])
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        policy.op_logits.add_(torch.randn(policy.op_logits.shape, generator=generator, dtype=torch.float64))
    return policy


LEARNED = ("op_logits", "gate_logits", "magnitude_locations")
"""What `point_policy` learns."""


def together(samples: Sequence[RelaxedSample]) -> RelaxedSample:
    """The draws of several batches as one."""
    joined = {
        item.name: torch.cat([getattr(sample, item.name) for sample in samples]) for item in fields(RelaxedSample)
    }
    return replace(samples[0], **joined)


@dataclass
class Training:
    """A classifier in training, batch after batch with a fixed relaxed draw on each; two steps lie behind it.

    kind: the network's class. optimiser: a name in `OPTIMISERS`. batches: how many there are; after the last one they
    come again, with the same draws. seed: of images, labels and draws.
    """

    kind: type[nn.Module] = Linear
    optimiser: str = "sgd"
    batches: int = 1
    policy: Policy = field(default_factory=point_policy)
    seed: int = 0

    def __post_init__(self) -> None:
        self.make, self.clip = OPTIMISERS[self.optimiser]
        self.model = build(self.kind)
        self.optimizer = self.make(self.model.parameters())
        self.data = [batch(12, 1000 * self.seed + index) for index in range(self.batches)]
        self.held_out = batch(9, 1000 * self.seed + 100)
        self.noise = [
            self.policy.draw_relaxed_noise(12, torch.Generator().manual_seed(1000 * self.seed + 40 + index))
            for index in range(self.batches)
        ]
        for _ in range(2):  # so that momentum and second moments are not empty
            backward_on(self.model, *batch(12, 1000 * self.seed + 50), autocast=False)
            self.optimizer.step()

    def samples(self) -> list[RelaxedSample]:
        """The draw on each batch, a function of the policy's present parameters."""
        return [self.policy.rsample_from(noise, 0.7) for noise in self.noise]

    @torch.no_grad()
    def augmented(self, index: int) -> Tensor:
        index = index % self.batches
        return self.policy(self.data[index][0], params=self.samples()[index])

    def validation_loss_after(self, steps: int) -> float:
        """What really happens: that many steps of the real optimiser on copies of everything."""
        model = copy.deepcopy(self.model)
        optimizer = self.make(model.parameters())
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        for index in range(steps):
            backward_on(model, self.augmented(index), self.data[index % self.batches][1], autocast=False)
            if self.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), self.clip)
            optimizer.step()
        return float(validation(model, *self.held_out)(weights_of(model))[0])

    def training_batch(self, index: int) -> TrainingBatch:
        images, labels = self.data[index % self.batches]
        augmented = self.augmented(index)

        def loss(weights: Weights) -> Tensor:
            return losses_of(logits_with(self.model, weights, augmented), labels).mean()

        return TrainingBatch(images, labels, loss)

    def levels(self) -> TwoLevels:
        """After the real backward pass of the next step, whose traces in the buffers are taken back."""
        before = copy.deepcopy(self.model.state_dict())
        backward_on(self.model, self.augmented(0), self.data[0][1], autocast=False)
        self.model.load_state_dict(before)
        return TwoLevels(
            weights_of(self.model),
            gradients_of_weights(self.model),
            self.training_batch(0),
            pure_optimizer(self.model, self.optimizer, self.clip),
            validation(self.model, *self.held_out),
            self.training_batch,
        )

    def policy_gradient(self, link: Link) -> dict[str, Tensor]:
        """What the objective makes of a hypergradient, on the draws that the training was made with."""
        samples = self.samples()
        drawn = together([samples[index % self.batches] for index in range(len(link.terms))])
        scores = Bilevel().scalar(self.model, link.terms, self.policy)(drawn).mean()
        found = torch.autograd.grad(scores, [getattr(self.policy, name) for name in LEARNED])
        return dict(zip(LEARNED, found, strict=True))


def central_difference(parameter: Tensor, index: tuple[int, ...], value: Callable[[], float], step: float) -> float:
    """d value / d parameter[index]; the parameter is put back."""
    kept = parameter.detach().clone()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[index] += sign * step
        ends.append(value())
        with torch.no_grad():
            parameter.copy_(kept)
    return (ends[0] - ends[1]) / (2 * step)


def train_to_the_optimum(model: nn.Module, images: Tensor, labels: Tensor, decay: float) -> None:
    """Newton's method on a convex loss with the penalty decay / 2 |w|^2; in place."""
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]

    def loss(vector: Tensor) -> Tensor:
        parts = [part.view_as(like) for part, like in zip(vector.split(sizes), parameters, strict=True)]
        weights = dict(zip(weights_of(model), parts, strict=True))
        return losses_of(logits_with(model, weights, images), labels).mean() + decay / 2 * vector.square().sum()

    for _ in range(8):
        at = nn.utils.parameters_to_vector(parameters).detach()
        hessian = torch.autograd.functional.hessian(loss, at)
        nn.utils.vector_to_parameters(at - torch.linalg.solve(hessian, torch.func.grad(loss)(at)), parameters)
    assert float(torch.func.grad(loss)(nn.utils.parameters_to_vector(parameters).detach()).norm()) < 1e-12
