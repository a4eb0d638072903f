"""The validation loss of whole trainings, differentiated by evolution strategies."""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from augrad.checks import checked, require_count, require_number
from augrad.data.folds import folds_of, in_turn
from augrad.data.seeding import drawn_seed
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, UserError
from augrad.estimators.estimate import Estimate
from augrad.learning.classifier import Weights
from augrad.learning.step import ModelBuilder, OptimizerBuilder, build_normalized
from augrad.objectives.evolution import as_params, differences, directions, gradient, moved
from augrad.objectives.objective import Aim, Step
from augrad.objectives.slopes import Slopes, gradient_of, no_slopes
from augrad.settings import AUTO, Folds, TrainSettings, require_settings
from augrad.train.loop import Recipe
from augrad.train.many import judged_together
from augrad.train.processes import require_processes

_NOISE = 0.3
"""Of a slope's variance, beside what its direction explains: seeds, and that the loss is not linear over the width."""

_SGD: OptimizerBuilder = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001)


@checked
@dataclass(frozen=True)
class WholeTraining:
    """The policy minimises the validation loss of a classifier that is trained with it from start to end.

    J(theta) = E_seed L_validation(w(theta, seed)), w the weights at the end of a training with the policy theta. There
    is nothing to differentiate through: the gradient, of J smoothed by a normal distribution around theta, comes from
    trainings with other policies (`augrad.objectives.evolution`). A step of the search is a generation: two trainings
    for each of `pairs` directions, theta + width * delta and theta - width * delta, with the same weights to begin
    with, the same batches and the same base draws for both; and one with theta itself, whose network the search
    evaluates on the selection split: so that the policy is chosen by what a fresh training with it is worth. The last
    one has the same seed in all generations.

    folds: train and validation images together are divided anew into so many parts (`augrad.data.folds`), at least 2.
    A pair validates on one part and trains on the others, the next pair validates on the next part: all these images
    have a say, and trainings have nearly as many images as one on both splits. None: pairs train on the train split and
    validate on the validation split, as they must where the two are of different sources. "auto": three parts, or None
    where validation images have a source of their own.

    A short horizon rewards what disturbs the next step least (Wu et al. 2018); this one has none. It takes
    2 * pairs + 1 trainings a step, each of which costs what `augrad train` does.

    Of the settings of a search, those of a network that is trained along have nothing to do here: batch_size,
    validation_batch_size, schedule, final_rate, clip_norm, rounds, warmup_steps, warmup_share, normalize, signal_floor,
    cuda_graphs and the classifier's optimizer. A step is long: select_every, checkpoint_every and log_every are best 1,
    steps a few.

    train, optimizer: the trainings' recipe, as that of `augrad train`. pairs: at least 1. width: above 0, in the
    policy's unbounded parameters (of logits 0.7 is a factor of two). memory: the gradient is what explains the pairs of
    all generations, of which one counts that much of the next (see `augrad.objectives.slopes`): a generation has fewer
    pairs than a policy has parameters. None: the mean over its own pairs, without bias. processes: how many trainings
    run at a time, each on one thread in a process of its own; None: as many as there are processors, and one on a GPU.
    The result does not depend on it, nor on how many processes `torchrun` has started, which share the trainings.
    stacked: how many networks are trained as one, on a GPU by default as many as it
    takes to keep it busy, see `augrad.train.many.judged_trainings`; but for rounding nothing depends on it. A training
    that diverges leaves its pair out, and that of the policy itself ends the search with NonFiniteError.
    """

    train: TrainSettings = field(default_factory=TrainSettings)
    optimizer: OptimizerBuilder = _SGD
    pairs: int = 10
    width: float = 0.7
    memory: float | None = 0.8
    folds: Folds = AUTO
    processes: int | None = None
    stacked: int | None = None
    two_levels: ClassVar[bool] = False
    judges_policy: ClassVar[bool] = True
    own_estimate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_settings(self.train)
        require_count(self.pairs, "pairs")
        require_number(self.width, "width", above=0.0)
        if self.memory is not None:
            require_number(self.memory, "memory")
            if not 0 <= self.memory <= 1:
                raise UserError(f"memory: expected a number from 0 to 1, or None, got {self.memory}")
        if self.processes is not None:
            require_processes(self.processes)
        if self.stacked is not None:
            require_count(self.stacked, "stacked")

    def model(self, model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
        """The network of the training with the policy itself. Raises UserError for a finished module."""
        return fresh_network(model, splits, seed, device)

    def companion(self, model: nn.Module) -> None:
        """None."""

    def __call__(self, step: Step) -> Aim:
        policy = step.policy
        assert step.data is not None
        assert step.builder is not None
        recipe = Recipe(step.data, step.builder, self.optimizer, self.train, step.standard)
        delta = directions(policy, self.pairs, step.generator)
        policies = [moved(policy, sign * self.width * row) for row in delta for sign in (1, -1)]
        seeds = [
            seed_of_pair(step.seed, step.number * self.pairs + pair) for pair in range(self.pairs) for _ in range(2)
        ]
        first = step.number * self.pairs
        turns = [0, *(first + pair for pair in range(self.pairs) for _ in range(2))]
        centre, *found = judged_together(
            step.ranks,
            recipe,
            [policy, *policies],
            [step.seed, *seeds],
            in_turn(step.data, folds_of(self.folds, step.data), turns, step.seed),
            self.processes,
            step.stopping,
            self.stacked,
        )
        if not centre.state:
            raise NonFiniteError(
                f"step {step.number + 1}: the training with the policy itself has diverged; lower the learning rate of "
                "the trainings (train.optimizer.lr), or set their clip_norm"
            )
        losses = torch.tensor([judged.loss for judged in found], dtype=torch.float64).unflatten(0, (self.pairs, 2))
        ahead, behind = losses.unbind(1)
        kept: Weights = {}
        if self.memory is None:
            along = gradient(delta, ahead, behind, self.width)
        else:
            slopes = _remembered(step.memory, delta.shape[1]).and_new(delta, (ahead - behind) / (2 * self.width))
            along = gradient_of(slopes, _NOISE, self.memory)
            kept = {name: tensor.to(policy.device) for name, tensor in vars(slopes).items()}
        metrics = {
            "train_loss": centre.train_loss,
            "train_accuracy": centre.train_accuracy,
            "val_loss": centre.loss,
            "val_accuracy": centre.accuracy,
            "population_loss": float(losses[losses.isfinite()].mean()),
            "pair_difference": float(differences(ahead, behind).abs().mean()),
            "diverged": float((~losses.isfinite()).sum()),
        }
        on_device = {name: torch.tensor(value, device=policy.device) for name, value in metrics.items()}
        value = torch.tensor(centre.loss, dtype=torch.float64, device=policy.device)
        return Aim(Estimate(as_params(policy, along), value), 0, {}, on_device, memory=kept, trained=centre.state)


def fresh_network(model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
    """What a builder makes. Raises UserError for a finished module."""
    if isinstance(model, nn.Module):
        raise UserError(
            "model: whole trainings begin with fresh networks, got a finished module; give what builds one when called "
            "as model(in_channels=..., class_count=...)"
        )
    return build_normalized(model, splits, seed, device)


def seed_of_pair(seed: int, number: int) -> int:
    """Of the trainings of a pair, apart from those of other searches and of comparisons."""
    return drawn_seed(seed, "pair", number)


def _remembered(memory: Weights, free: int) -> Slopes:
    """What earlier generations left. Raises UserError for what is not of a policy with so many free parameters."""
    if not memory:
        return no_slopes(free)
    found = {name: tensor.to("cpu", torch.float64) for name, tensor in memory.items()}
    if set(found) == {"directions", "along", "age"}:
        slopes = Slopes(**found)
        if slopes.directions.shape == (len(slopes.along), free) and slopes.along.shape == slopes.age.shape:
            return slopes
    raise UserError(f"checkpoint: expected the slopes of a policy with {free} free parameters, got {list(found)}")
