"""The validation loss along a training, differentiated by evolution strategies that go on from piece to piece."""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augrad.checks import checked, require_count, require_number
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import Estimate
from augrad.learning.classifier import Weights
from augrad.learning.step import ModelBuilder, OptimizerBuilder, evaluate
from augrad.objectives.evolution import as_params, differences, directions, moved, persistent
from augrad.objectives.objective import Aim, Step
from augrad.objectives.whole_training import fresh_network, seed_of_pair
from augrad.settings import TrainSettings, require_settings
from augrad.train.loop import Recipe
from augrad.train.stacked import Stack, can_be_stacked

_SGD: OptimizerBuilder = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001)


@checked
@dataclass(frozen=True)
class PersistentTraining:
    """The policy minimises the mean validation loss of a classifier over the pieces of its training.

    J(theta) = 1 / T sum_t E_seed L_validation(w_t(theta, seed)), w_t the weights after the t-th of T = `pieces` equal
    parts of a training with the policy theta. Persistent evolution strategies (Vicol et al. 2021, algorithm 2): a step
    of the search is one piece of 2 * `pairs` + 1 trainings, which stay for the next step. Each pair trains it with
    theta + width * delta and theta - width * delta, directions that are new in each piece, and what the difference of
    its losses owes to earlier pieces is attributed to their directions (`augrad.objectives.evolution.persistent`). So
    the policy takes T steps in the time of one of `WholeTraining`, and the estimate has no bias of a short horizon, but
    more variance, the more the farther a training has come. After the last piece all begin anew, with other seeds.

    J is not what `WholeTraining` minimises, which is the last piece's loss alone: this one also favours policies with
    which a classifier learns fast. With pieces=1 both are the same.

    The networks are trained as one (see `augrad.train.stacked`), one more of them with theta itself, which is what the
    search looks at. Raises UserError for networks, optimisers and settings that do not allow it. Of the settings of a
    search those have nothing to do here that have none for `WholeTraining`.

    train, optimizer: the trainings' recipe, as that of `augrad train`. pairs, pieces: at least 1. width: above 0, in
    the policy's unbounded parameters.
    """

    train: TrainSettings = field(default_factory=TrainSettings)
    optimizer: OptimizerBuilder = _SGD
    pairs: int = 8
    pieces: int = 10
    width: float = 0.7
    two_levels: ClassVar[bool] = False
    judges_policy: ClassVar[bool] = False
    own_estimate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_settings(self.train)
        for name in ("pairs", "pieces"):
            require_count(getattr(self, name), name)
        require_number(self.width, "width", above=0.0)

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
        if not can_be_stacked(recipe, [policy]):
            raise UserError(
                "PersistentTraining trains networks as one: expected modules of PyTorch's or augrad's without dropout, "
                "SGD, Adam or AdamW (train.optimizer), and none of ema, channels_last, compile and "
                "accumulation_steps; change these, or "
                "take objective=whole_training"
            )
        if self.pieces > recipe.steps:
            raise UserError(f"pieces: expected at most the {recipe.steps} steps of a training, got {self.pieces}")
        number, piece = divmod(step.number, self.pieces)
        delta = directions(policy, self.pairs, step.generator)
        policies = [policy, *(moved(policy, sign * self.width * row) for row in delta for sign in (1, -1))]
        pairs = [seed_of_pair(step.seed, number * self.pairs + pair) for pair in range(self.pairs) for _ in range(2)]
        stack, past = Stack(recipe, [step.seed, *pairs]), torch.zeros_like(delta)
        if piece:
            stack.load(step.memory)
            past = _past(step.memory, delta)
        begin, end = (recipe.steps * bound // self.pieces for bound in (piece, piece + 1))
        stack.run(policies, begin, end, step.stopping)
        centre, *others = stack.networks()
        held_out = [evaluate(network, step.data.validation, self.train.autocast) for network in (centre, *others)]
        losses = torch.stack([found.loss for found in held_out[1:]]).to("cpu", torch.float64).unflatten(0, (-1, 2))
        ahead, behind = losses.unbind(1)
        past, along = persistent(past, delta, ahead, behind, self.width)
        train = evaluate(centre, step.data.train, self.train.autocast)
        metrics = {
            "train_loss": train.loss,
            "train_accuracy": train.accuracy,
            "val_loss": held_out[0].loss,
            "val_accuracy": held_out[0].accuracy,
            "population_loss": losses[losses.isfinite()].mean(),
            "pair_difference": differences(ahead, behind).abs().mean(),
            "diverged": (~losses.isfinite()).sum(),
            "piece": torch.tensor(piece + 1),
        }
        on_device = {name: value.detach().to(policy.device, torch.float64) for name, value in metrics.items()}
        last = piece + 1 == self.pieces
        memory: Weights = {} if last else stack.state() | {"past": past.to(policy.device)}
        estimate = Estimate(as_params(policy, along), on_device["val_loss"])
        return Aim(estimate, 0, {}, on_device, memory=memory, trained=centre.state_dict())


def _past(memory: Weights, like: Float[Tensor, "N n"]) -> Float[Tensor, "N n"]:
    """The sum of the earlier pieces' directions. Raises UserError for those of another search."""
    past = memory.get("past")
    if past is None or past.shape != like.shape:
        raise UserError(f"checkpoint: expected the directions {tuple(like.shape)} of the pieces before; start anew")
    return past.to("cpu", torch.float64)
