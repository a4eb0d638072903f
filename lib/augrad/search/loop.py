"""A search from its present step on: what it measures, when it looks, when it stops."""

import time
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from augrad.checks import name_of
from augrad.data.batches import EpochBatches
from augrad.data.summary import described
from augrad.errors import NonFiniteError, Stopped, UserError
from augrad.learning.step import evaluate
from augrad.objectives.objective import estimates_itself
from augrad.policy.summary import PER_OPERATION
from augrad.search.state import SearchParts, SearchState
from augrad.search.step import ESTIMATE, REGULARIZERS, search_step
from augrad.settings import batch_size_of

_PATIENCE = 10.0
"""Seconds after which metrics are fetched although `log_every` steps have not passed."""

Row = dict[str, float | int | str | None]


@runtime_checkable
class Observer(Protocol):
    """What a search tells while it runs."""

    def rows(self, rows: list[Row]) -> None:
        """Metrics rows of the steps since the last call, in order."""

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Everything needed to go on from here."""

    def interrupted(self) -> bool:
        """Whether to stop after this step (a checkpoint is written first), or amid one that takes long."""
        ...


def run_search(state: SearchState, parts: SearchParts, observer: Observer, until: int | None = None) -> bool:
    """Run from `state.step` to `until` (default: settings.steps); returns False when the observer interrupted it.

    The state is left after a whole step, also on an interruption; a checkpoint is written then and at the end. A step
    that was stopped amid has not begun.
    Metrics stay on the device and are fetched every `log_every` steps, or after ten seconds. Raises NonFiniteError,
    naming the first step and quantity that are NaN or infinite, with the state's policy put back to the last one known
    to be finite.
    """
    settings = parts.settings
    images = len(parts.data.train)
    training = EpochBatches(images, batch_size_of(settings.batch_size, images), parts.seed, parts.device)
    validation = EpochBatches(len(parts.data.validation), settings.validation_batch_size, parts.seed + 1, parts.device)
    last = settings.steps if until is None else min(until, settings.steps)
    pending: list[dict[str, Tensor]] = []
    good = state.params()
    clock = time.perf_counter()
    while state.step < last:
        try:
            pending.append(search_step(state, parts, training, validation, observer.interrupted))
            state.step += 1
        except Stopped:
            pass
        except UserError:
            if pending:  # what no step can go on from may have come out of one that has not been looked at
                _require_finite(_rows(pending, state.step - len(pending), 0.0, state, parts), state, parts, good)
            raise
        stopping = parts.ranks.agreed(observer.interrupted())
        ending = state.step == last or stopping
        look = pending and (state.step % settings.select_every == 0 or state.step == settings.steps)
        saving = state.step % settings.checkpoint_every == 0 or ending
        slow = time.perf_counter() - clock > _PATIENCE and parts.ranks.alone
        if state.step % settings.log_every and not (look or saving or slow):
            continue
        if pending:  # else a step was stopped amid, and the rows before it are told
            first = state.step - len(pending)
            seconds = (time.perf_counter() - clock) / len(pending)
            rows = _rows(pending, first, seconds, state, parts)
            pending = []
            _require_finite(rows, state, parts, good)
            if look:
                rows[-1]["selection_loss"], rows[-1]["selection_accuracy"] = _look(state, parts)
            good = state.params()
            observer.rows(rows)
        if saving:
            observer.checkpoint(state.state_dict())
        if stopping:
            return False
        clock = time.perf_counter()
    return True


def _rows(
    pending: list[dict[str, Tensor]], first: int, seconds: float, state: SearchState, parts: SearchParts
) -> list[Row]:
    names = list(pending[0])
    peak = state.optimizer.param_groups[0]["peak_lr"]

    def rate(step: int) -> Row:
        if state.trained_with:  # the optimizer has had no step
            return {}
        return {"learning_rate": peak * parts.rate(step)}

    # The first row of a search says what it is about.
    data: Row = {} if first else {"data": described(parts.data)}
    # One transfer for all steps and quantities: the loop itself never waits for the device.
    table = torch.stack([torch.stack([row[name].to(torch.float64) for name in names]) for row in pending]).tolist()
    of_operations = {name for name in names if name.startswith(PER_OPERATION)}

    def measured(step: int, values: list[float]) -> Row:
        # What there is of each operation would make rows several times as long.
        whole = step in (1, parts.settings.steps) or step % parts.settings.log_every == 0
        return {name: value for name, value in zip(names, values, strict=True) if whole or name not in of_operations}

    return [
        {
            "step": first + index + 1,
            **measured(first + index + 1, values),
            **rate(first + index),
            "hypergradient_passes": parts.hypergradient.passes,
            "step_seconds": seconds,
            **({} if index else data),
        }
        for index, values in enumerate(table)
    ]


def _require_finite(rows: list[Row], state: SearchState, parts: SearchParts, good: dict[str, Tensor]) -> None:
    measured = ((row["step"], name, value) for row in rows for name, value in row.items() if isinstance(value, float))
    wrong = [place for place in measured if not abs(place[2]) < float("inf")]
    # The policy itself, too: its metrics do not show every number of it. Infinite ones are those that it fixes.
    parameters = state.policy.named_parameters()
    wrong += [(state.step, f"policy/{name}", float("nan")) for name, p in parameters if bool(p.isnan().any())]
    if wrong:
        with torch.no_grad():
            for parameter_name, parameter in state.policy.named_parameters():
                parameter.copy_(good[parameter_name])
        step, name, value = wrong[0]
        way = "If losses grew before, lower the learning rate of the optimizer, or set clip_norm"
        if name == REGULARIZERS:
            terms = ", ".join(map(name_of, parts.regularizers))
            way = f"It is of the regularizers ({terms}): see where their derivative is infinite"
        elif name.startswith(f"{ESTIMATE}/"):
            itself = estimates_itself(parts.objective)
            source = f"objective {name_of(parts.objective)}" if itself else f"estimator {name_of(parts.estimator)}"
            way = f"It is of the {source}. {way}"
        raise NonFiniteError(f"step {step}: {name} is {value}; the last good policy is kept. {way}")


def _look(state: SearchState, parts: SearchParts) -> tuple[float, float]:
    """Loss and accuracy on the selection split; remembers the policy that `parts.select` asks for."""
    result = evaluate(state.model, parts.data.selection, parts.settings.autocast)
    loss, accuracy = float(result.loss), float(result.accuracy)
    learning = state.step > parts.warmup  # before, the policy is where it started
    if learning and (parts.select != "best" or loss < state.best_loss):
        state.best_loss, state.best_step = loss, state.step
        asked = {"best": state.trained_with, "average": dict(state.average), "last": {}}[parts.select]
        state.best_params = asked or state.params()
    return loss, accuracy
