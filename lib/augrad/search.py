"""Learn a policy: policy and model are updated together, one step of each after the other."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from augrad.classifier import Weights, gradients_of_weights
from augrad.data.batches import EpochBatches
from augrad.data.seeding import local_generator
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, UserError
from augrad.estimators.control import Control, estimate_with, initial_control
from augrad.estimators.estimate import Estimator
from augrad.graphs import NO_GRAPHS, Graphs, can_be_captured
from augrad.guards import NormalizedScalar, Signal, damped_step, no_signal
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.objectives.objective import Objective, Step, require_fitting
from augrad.policy import Policy
from augrad.regularizers.regularizer import Regularizer, regularizer_gradient
from augrad.runs.restore import require_like, require_optimizer
from augrad.settings import SearchSettings, rate_at, warmup_of
from augrad.summaries import policy_summary
from augrad.training import OptimizerBuilder, build_optimizer, evaluate, set_rates
from augrad.types import PolicyParams

Row = dict[str, float | int | str | None]


@runtime_checkable
class Observer(Protocol):
    """What a search tells while it runs."""

    def rows(self, rows: list[Row]) -> None:
        """Metrics rows of the steps since the last call, in order."""

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Everything needed to go on from here."""

    def interrupted(self) -> bool:
        """Whether to stop after this step (a checkpoint is written first)."""
        ...


@dataclass(frozen=True)
class SearchParts:
    """The interchangeable parts of a search. data: on the device already. regularizers: added to the objective.

    standard: what training images undergo after the policy (see `augrad.training.fitted`); the others stay as they are.
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


@dataclass
class SearchState:
    """The one mutable thing, and exactly what a checkpoint holds. step: how many are done.

    model: what the objective trains. companion: the network that it keeps beside it, if any. hypergradient_memory: what
    the hypergradient method left for its next call. graphs: how the model's passes run; no part of a checkpoint.
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
    graphs: Graphs = NO_GRAPHS

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
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
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Raises UserError, naming the place, where `saved` is of another search, lacks something or holds a NaN."""
        self._require_fitting(saved)
        self.model.load_state_dict(saved["model"])
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

    def _require_fitting(self, saved: dict[str, Any]) -> None:
        expected = self.state_dict()
        if saved.get("best_params"):
            expected["best_params"] = dict(self.policy.named_parameters())
        if saved.get("hypergradient_memory"):
            expected["hypergradient_memory"] = dict(self.model.named_parameters())
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
            require_optimizer(saved[name], optimizer, f"state.{name}", name == "optimizer" and step > 0)
        if self.control is not None:
            require_optimizer(saved["control"]["optimizer"], self.control.optimizer, "state.control.optimizer", False)

    def best_policy(self) -> Policy:
        """The policy that did best on the selection split so far (the present one before the first look)."""
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
    """The state before the first step. model (see `Objective.model`) and policy: on the device.

    Raises UserError for an objective and a hypergradient method that do not go together.
    """
    require_fitting(parts.objective, parts.hypergradient)
    settings = parts.settings
    return SearchState(
        model=model,
        policy=policy,
        optimizer=build_optimizer(optimizer, model.parameters(), "search.optimizer"),
        policy_optimizer=_policy_optimizer(policy, policy_optimizer, settings.policy_rates),
        generator=local_generator(parts.seed, "search draws"),
        signal=no_signal(parts.device),
        control=initial_control(parts.estimator, policy, local_generator(parts.seed, "control")),
        companion=parts.objective.companion(model),
        graphs=Graphs(can_be_captured(model) if settings.cuda_graphs is None else settings.cuda_graphs),
    )


def _policy_optimizer(policy: Policy, builder: OptimizerBuilder, rates: Mapping[str, float]) -> torch.optim.Optimizer:
    unknown = set(rates) - set(PolicyParams.names())
    if unknown:
        raise UserError(
            f"search.policy_rates: expected names among {', '.join(PolicyParams.names())}, "
            f"got {', '.join(sorted(unknown))}"
        )
    learned = {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    if not learned:  # a control: the policy stays as it is
        learned = {"": nn.Parameter(torch.zeros((), device=policy.low.device))}
    optimizer = build_optimizer(builder, [{"params": [p]} for p in learned.values()], "search.policy_optimizer")
    for group, name in zip(optimizer.param_groups, learned, strict=True):
        group["lr"] *= rates.get(name, 1.0)
    return optimizer


def search_step(
    state: SearchState, parts: SearchParts, batches: EpochBatches, rotation: EpochBatches
) -> dict[str, Tensor]:
    """One step of the policy and one of the model; returns the step's metrics, still on the device."""
    settings, model, policy = parts.settings, state.model, state.policy
    model.train()
    factor = rate_at(state.step, settings.steps, settings.schedule, settings.final_rate)
    set_rates(state.optimizer, factor)
    set_rates(
        state.policy_optimizer,
        rate_at(state.step, settings.steps, settings.policy_schedule, settings.policy_final_rate),
    )
    aim = parts.objective(
        Step(
            model=model,
            companion=state.companion,
            policy=policy,
            optimizer=state.optimizer,
            generator=state.generator,
            batch=lambda ahead: parts.data.train[batches.indices(state.step + ahead)],
            validation=parts.data.validation[rotation.indices(state.step)],
            hypergradient=parts.hypergradient,
            memory=state.hypergradient_memory,
            clip_norm=settings.clip_norm,
            autocast=settings.autocast,
            standard=parts.standard,
            graphs=state.graphs,
        )
    )
    state.hypergradient_memory = aim.memory

    normalized = NormalizedScalar(aim.scalar)
    progress = state.step / settings.steps
    shown = normalized if settings.normalize else aim.scalar
    estimate = estimate_with(state.control, parts.estimator, shown, policy, aim.draws, state.generator, progress)
    if state.control is not None:
        state.control.step(estimate.control_loss)
    if state.step >= warmup_of(settings):
        added = regularizer_gradient(policy, parts.regularizers)
        for name, parameter in policy.named_parameters():
            if parameter.requires_grad:
                parameter.grad = getattr(estimate.grads, name) + getattr(added, name)
        share = torch.ones_like(state.signal.peak)
        if settings.normalize:
            unit = factor if parts.hypergradient.follows_rate else 1.0
            spread = normalized.spread / unit
            state.signal = state.signal.after(spread)
            share = state.signal.share(spread, settings.signal_floor)
        damped_step(state.policy_optimizer, share)

    gradient_norm = _norm(list(gradients_of_weights(model).values()))
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    state.optimizer.step()
    return {
        **aim.metrics,
        "gradient_norm": gradient_norm,
        **{f"policy_gradient_norm/{name}": _norm([getattr(estimate.grads, name)]) for name in PolicyParams.names()},
        **policy_summary(policy),
        **({"score_spread": normalized.spread} if settings.normalize else {}),
        **({} if estimate.control_loss is None else {"control_loss": estimate.control_loss.detach()}),
    }


def run_search(state: SearchState, parts: SearchParts, observer: Observer, until: int | None = None) -> bool:
    """Run from `state.step` to `until` (default: settings.steps); returns False when the observer interrupted it.

    The state is left after a whole step, also on an interruption; a checkpoint is written then and at the end.
    Metrics stay on the device and are fetched every `log_every` steps. Raises NonFiniteError, naming the first step
    and quantity that are NaN or infinite, with the state's policy put back to the last one known to be finite.
    """
    settings = parts.settings
    batches = EpochBatches(len(parts.data.train), settings.batch_size, parts.seed, parts.device)
    rotation = EpochBatches(len(parts.data.validation), settings.validation_batch_size, parts.seed + 1, parts.device)
    last = settings.steps if until is None else min(until, settings.steps)
    pending: list[dict[str, Tensor]] = []
    good = {name: parameter.detach().clone() for name, parameter in state.policy.named_parameters()}
    clock = time.perf_counter()
    while state.step < last:
        pending.append(search_step(state, parts, batches, rotation))
        state.step += 1
        stopping = observer.interrupted()
        ending = state.step == last or stopping
        look = state.step % settings.select_every == 0 or state.step == settings.steps
        saving = state.step % settings.checkpoint_every == 0 or ending
        if state.step % settings.log_every and not (look or saving):
            continue
        first = state.step - len(pending)
        seconds = (time.perf_counter() - clock) / len(pending)
        rows = _rows(pending, first, seconds, state, parts)
        pending = []
        _require_finite(rows, state, good)
        if look:
            rows[-1]["selection_loss"], rows[-1]["selection_accuracy"] = _look(state, parts)
        good = {name: parameter.detach().clone() for name, parameter in state.policy.named_parameters()}
        observer.rows(rows)
        if saving:
            observer.checkpoint(state.state_dict())
        if stopping:
            return False
        clock = time.perf_counter()
    return True


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)


def _rows(
    pending: list[dict[str, Tensor]], first: int, seconds: float, state: SearchState, parts: SearchParts
) -> list[Row]:
    names, settings = list(pending[0]), parts.settings
    # One transfer for all steps and quantities: the loop itself never waits for the device.
    peak = state.optimizer.param_groups[0]["peak_lr"]
    table = torch.stack([torch.stack([row[name].to(torch.float64) for name in names]) for row in pending]).tolist()
    return [
        {
            "step": first + index + 1,
            **dict(zip(names, values, strict=True)),
            "learning_rate": peak * rate_at(first + index, settings.steps, settings.schedule, settings.final_rate),
            "hypergradient_passes": parts.hypergradient.passes,
            "step_seconds": seconds,
        }
        for index, values in enumerate(table)
    ]


def _require_finite(rows: list[Row], state: SearchState, good: dict[str, Tensor]) -> None:
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float) and not abs(value) < float("inf"):
                with torch.no_grad():
                    for parameter_name, parameter in state.policy.named_parameters():
                        parameter.copy_(good[parameter_name])
                raise NonFiniteError(
                    f"step {row['step']}: {name} is {value}; the last good policy is kept. If losses grew before, "
                    "lower the learning rate (search.optimizer.lr) or set search.clip_norm"
                )


def _look(state: SearchState, parts: SearchParts) -> tuple[float, float]:
    """Loss and accuracy on the selection split; remembers the policy if the loss is the lowest since the warm-up.

    Or in any case, where the latest policy is asked for, or the model's loss says nothing of it.
    """
    result = evaluate(state.model, parts.data.selection, parts.settings.autocast)
    loss, accuracy = float(result.loss), float(result.accuracy)
    learning = state.step > warmup_of(parts.settings)  # before, the policy is where it started
    latest = parts.settings.select == "last" or not parts.objective.judges_policy
    if learning and (latest or loss < state.best_loss):
        state.best_loss, state.best_step = loss, state.step
        state.best_params = {name: parameter.detach().clone() for name, parameter in state.policy.named_parameters()}
    return loss, accuracy
