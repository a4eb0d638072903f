"""What a search is made of, and the one thing that it changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from augrad.cuda_graphs import NO_GRAPHS, Graphs
from augrad.data.pixels import to_float
from augrad.data.seeding import drawn_seed, local_generator
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.control import Control, initial_control
from augrad.estimators.estimate import Estimator
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.learning.capturable import graphs_for
from augrad.learning.classifier import Weights, trainable, weights_of
from augrad.learning.network import put_back_buffers, unsaved_buffers
from augrad.learning.step import ModelBuilder, OptimizerBuilder, build_optimizer
from augrad.objectives.objective import Objective, estimates_itself, require_fitting
from augrad.policy import Policy
from augrad.ranks import ALONE, Ranks
from augrad.regularizers.regularizer import Regularizer
from augrad.runs.restore import require_like, require_optimizer
from augrad.search.average import averaged
from augrad.search.damping import Signal, no_signal
from augrad.settings import SearchSettings, rate_at, round_of, warmup_of
from augrad.types import PolicyParams


@dataclass(frozen=True)
class SearchParts:
    """What a search consists of and does not change. `begin_search` makes it.

    data: on the device. regularizers: terms that are added to what the policy minimises. standard: what training images
    undergo after the policy (see `augrad.learning.step.fitted`); other images do not. model: as it was given, for
    objectives that train networks of their own. ranks: the processes of the search, of which this is one.
    """

    data: Splits
    objective: Objective
    estimator: Estimator
    hypergradient: Hypergradient
    settings: SearchSettings
    seed: int
    device: torch.device
    regularizers: tuple[Regularizer, ...] = ()
    standard: StandardAugmentation = NO_STANDARD
    model: nn.Module | ModelBuilder | None = None
    ranks: Ranks = ALONE

    @property
    def select(self) -> Literal["average", "best", "last"]:
        """Which policy the search ends with. By the classifier's loss only where that says something of the policy."""
        asked = self.settings.select or ("best" if estimates_itself(self.objective) else "average")
        return asked if self.objective.judges_policy or asked == "average" else "last"

    @property
    def warmup(self) -> int:
        """The number of steps before the policy's first; none where each step has a training of its own."""
        return 0 if estimates_itself(self.objective) else warmup_of(self.settings)

    def in_round(self, step: int) -> int:
        """How many steps of its round come before this one."""
        return step % round_of(self.settings)

    def rate(self, step: int) -> float:
        """The factor of the classifier's learning rate."""
        settings = self.settings
        return rate_at(self.in_round(step), round_of(settings), settings.schedule, settings.final_rate)

    def policy_steps(self, step: int) -> int:
        """How many of the steps before this one are the policy's, too."""
        length = round_of(self.settings)
        return step // length * (length - self.warmup) + max(self.in_round(step) - self.warmup, 0)


@dataclass
class SearchState:
    """All that a search changes; a checkpoint holds exactly this, but for `graphs` and `trained_with`, which the next
    step makes, and `steps_model`.

    model: the network that the objective trains. companion: the network that the objective keeps beside it, if any.
    generator: of all draws. signal: how large the scores have been, see `augrad.search.damping`. hypergradient_memory:
    what the hypergradient method, or an objective with its own estimate, returned for its next call. control: the
    estimator's, if it has one. step: how many steps are done. best_loss, best_step, best_params: the lowest loss on the
    selection split, and the step and the policy's parameters that it is from. average: the policy's parameters,
    averaged over its last steps; empty before the first one. graphs: runs the model's passes, as CUDA graphs where it
    can. trained_with: the policy's parameters that the model was trained with from start to end, where an objective
    does that. steps_model: whether each step is one of `optimizer`, too.
    """

    model: nn.Module
    policy: Policy
    optimizer: torch.optim.Optimizer
    policy_optimizer: torch.optim.Optimizer
    generator: torch.Generator
    signal: Signal
    hypergradient_memory: Weights = field(default_factory=dict)
    control: Control | None = None
    companion: nn.Module | None = None
    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    best_params: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    graphs: Graphs = NO_GRAPHS
    trained_with: dict[str, Tensor] = field(default_factory=dict)
    steps_model: bool = True

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "buffers": [unsaved_buffers(network) for network in self._networks()],
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "policy_optimizer": self.policy_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "signal": vars(self.signal),
            "hypergradient_memory": self.hypergradient_memory,
            "control": None if self.control is None else self.control.state_dict(),
            "companion": None if self.companion is None else self.companion.state_dict(),
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "best_params": self.best_params,
            "average": self.average,
        }

    def _networks(self) -> list[nn.Module]:
        return [self.model] if self.companion is None else [self.model, self.companion]

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Raises UserError, naming the place, where `saved` is of another search, lacks something or holds a NaN."""
        self._require_fitting(saved)
        self.model.load_state_dict(saved["model"])
        for network, buffers in zip(self._networks(), saved.get("buffers", []), strict=False):  # older ones have none
            put_back_buffers(network, buffers)
        self.policy.load_state_dict(saved["policy"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.policy_optimizer.load_state_dict(saved["policy_optimizer"])
        self.generator.set_state(saved["generator"])
        device = self.signal.peak.device
        self.signal = Signal(**{name: tensor.to(device) for name, tensor in saved["signal"].items()})
        if self.control is not None:
            self.control.load_state_dict(saved["control"])
        if self.companion is not None:
            self.companion.load_state_dict(saved["companion"])
        self.step, self.best_loss, self.best_step = saved["step"], saved["best_loss"], saved["best_step"]
        memory = saved.get("hypergradient_memory", {})  # older checkpoints have none
        self.hypergradient_memory = {name: part.to(device) for name, part in memory.items()}
        self.best_params = {name: tensor.to(device) for name, tensor in saved["best_params"].items()}
        self.average = {name: tensor.to(device) for name, tensor in saved.get("average", {}).items()}

    def _require_fitting(self, saved: dict[str, Any]) -> None:
        expected = self.state_dict()
        for name in ("best_params", "average"):
            if saved.get(name):
                expected[name] = dict(self.policy.named_parameters())
        for name in ("average", "buffers"):
            if name not in saved:  # older checkpoints have none
                del expected[name]
        if saved.get("hypergradient_memory"):
            # What an objective keeps that estimates by itself, it checks: nobody else knows how much there is.
            own = weights_of(self.model) if self.steps_model else saved["hypergradient_memory"]
            expected["hypergradient_memory"] = own
        elif "hypergradient_memory" not in saved:  # older checkpoints have none
            del expected["hypergradient_memory"]
        optimizers = [("optimizer", self.optimizer), ("policy_optimizer", self.policy_optimizer)]
        for name, _ in optimizers:
            expected[name] = saved.get(name)
        if self.control is not None and isinstance(saved.get("control"), dict):
            expected["control"]["optimizer"] = saved["control"].get("optimizer")
        require_like(saved, expected, "state")
        step, best_step = saved["step"], saved["best_step"]
        if not (isinstance(step, int) and isinstance(best_step, int) and 0 <= best_step <= step):
            raise UserError(f"state: expected 0 <= best_step <= step, got {best_step} and {step}")
        if (best_step > 0) != bool(saved["best_params"]):
            raise UserError(f"state.best_params: expected those of step {best_step}, got {len(saved['best_params'])}")
        for name, optimizer in optimizers:
            stepped = name == "optimizer" and self.steps_model and step > 0
            require_optimizer(saved[name], optimizer, f"state.{name}", stepped)
        if self.control is not None:
            require_optimizer(saved["control"]["optimizer"], self.control.optimizer, "state.control.optimizer", False)

    def restart(self, parts: SearchParts) -> None:
        """A new classifier, by a seed of its own, and an optimiser that knows nothing; the policy goes on."""
        assert parts.model is not None
        seed = drawn_seed(parts.seed, "round", self.step)
        fresh = parts.objective.model(parts.model, parts.data, seed, parts.device)
        self.model.load_state_dict(fresh.state_dict())
        companion = parts.objective.companion(fresh)
        if self.companion is not None and companion is not None:
            self.companion.load_state_dict(companion.state_dict())
        self.optimizer.state.clear()
        self.hypergradient_memory = {}

    def stepped(self, count: int) -> None:
        """The policy has taken its step number `count`."""
        self.average = averaged(self.average, self.params(), count)

    def params(self) -> dict[str, Tensor]:
        """A copy of the policy's present parameters, by name."""
        return {name: parameter.detach().clone() for name, parameter in self.policy.named_parameters()}

    def best_policy(self) -> Policy:
        """What the search would end with now (see `SearchParts.select`); the present policy before the first look."""
        if not self.best_params:
            return self.policy
        return self.policy.with_params(PolicyParams(**self.best_params))


def new_state(
    model: nn.Module,
    policy: Policy,
    optimizer: OptimizerBuilder,
    policy_optimizer: OptimizerBuilder,
    parts: SearchParts,
) -> SearchState:
    """The state before the first step. model (what `Objective.model` returned) and policy: on the device.

    Raises UserError for an objective, a hypergradient method and an estimator that do not go together, and for CUDA
    graphs of a network with dropout.
    """
    require_fitting(parts.objective, parts.hypergradient, parts.estimator)
    settings = parts.settings
    return SearchState(
        model=model,
        policy=policy,
        optimizer=build_optimizer(optimizer, trainable(model).values(), "optimizer"),
        policy_optimizer=_policy_optimizer(policy, policy_optimizer, settings.policy_rates),
        generator=local_generator(parts.seed, "search draws"),
        signal=no_signal(parts.device),
        control=initial_control(parts.estimator, policy, local_generator(parts.seed, "control")),
        companion=parts.objective.companion(model),
        graphs=graphs_for(model, settings.cuda_graphs, to_float(parts.data.train.images[:8])),
        steps_model=not estimates_itself(parts.objective),
    )


def _policy_optimizer(policy: Policy, builder: OptimizerBuilder, rates: Mapping[str, float]) -> torch.optim.Optimizer:
    unknown = set(rates) - set(PolicyParams.names())
    if unknown:
        raise UserError(
            f"policy_rates: expected names among {', '.join(PolicyParams.names())}, got {', '.join(sorted(unknown))}"
        )
    learned = {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    if not learned:  # a control: the policy stays as it is
        learned = {"": nn.Parameter(torch.zeros((), device=policy.device))}
    optimizer = build_optimizer(builder, [{"params": [p]} for p in learned.values()], "policy_optimizer")
    for group, name in zip(optimizer.param_groups, learned, strict=True):
        group["lr"] *= rates.get(name, 1.0)
    return optimizer
