"""A search's run directory: metrics, checkpoints, the policy so far, and taking it up again."""

import hashlib
import logging
import reprlib
import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from omegaconf import DictConfig

from augrad.cli.parts import exported, plain, provenance
from augrad.cli.quoting import command_line, override
from augrad.cli.run_directory import new_run, resumed_run
from augrad.errors import NonFiniteError, UserError
from augrad.learning.step import evaluate
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument, write_policy
from augrad.policy_file.convert import document_of
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.runs.directory import has_content
from augrad.runs.metrics import MetricsLog, read_metrics
from augrad.runs.trackers import Tracker
from augrad.search import Row, SearchParts, SearchState
from augrad.show.progress import SearchProgress

_MAY_CHANGE = ("resume", "compare", "export", "tracker", "train", "device")
"""What a resumed run may be told anew: none of it changes the search, but for the rounding of another device."""

_WRITES = ("policy.json", "report.html", "figures", "comparison.json", "model.pt")
"""What a search writes beside its metrics and checkpoints."""

_LOG = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the step in hand was finished and kept."""

    def __init__(self, directory: Path, step: int) -> None:
        go_on = command_line("augrad", "search", override("resume", str(directory)))
        super().__init__(f"stopped after step {step}; go on with: {go_on}")


def _require_same(saved: Any, given: Any, place: str) -> None:
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in [*saved, *(key for key in given if key not in saved)]:
            if place or key not in _MAY_CHANGE:
                _require_same(saved.get(key), given.get(key), f"{place}{'.' if place else ''}{key}")
    elif saved != given:
        was, now = (value if isinstance(value, str) else reprlib.repr(value) for value in (saved, given))
        raise UserError(
            f"resume: the run was started with {place}={was}, got {now}; drop the override or start a new run"
        )


class SearchRun:
    """Observes a search and keeps what it tells.

    A context manager; Ctrl-C and SIGTERM end the search after the step in hand.
    """

    def __init__(
        self, directory: Path, config: DictConfig, state: SearchState, parts: SearchParts, tracker: Tracker
    ) -> None:
        self.directory, self.config, self.state, self.parts, self.tracker = directory, config, state, parts, tracker
        self.first = state.step
        choices = (
            [op.name for op in state.policy.ops],
            state.policy.slots,
            state.policy.interpolation,
            state.policy.fill,
        )
        digest = hashlib.sha256(repr(choices).encode()).hexdigest()
        self._origin = {"data": parts.data.sha256, "policy": digest}
        self._stop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "SearchRun":
        with ExitStack() as stack:
            if self.config.resume is None:
                stack.enter_context(new_run(self.config, self.directory, "metrics.jsonl", *_WRITES))
                self._save(self.state.state_dict())  # whatever stops the run from now on, it can be resumed
                self._log = MetricsLog(self.directory / "metrics.jsonl")
            else:
                stack.enter_context(resumed_run(self.config, self.directory, self._take_up, self._has_gone_on))
            stack.callback(self._log.close)
            self.first = self.state.step
            self.progress = stack.enter_context(SearchProgress(self.parts.settings.steps, start=self.first))
            self.tracker.start(plain(self.config), self.directory)
            for number in (signal.SIGINT, signal.SIGTERM):
                try:
                    self._before[number] = signal.signal(number, self._ask_to_stop)
                except ValueError:  # not in the main thread (some launchers): signals stay as they are
                    break
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        try:
            if isinstance(error, NonFiniteError):
                self.write_policy()
        finally:
            self._opened.__exit__(kind, error, trace)

    def _take_up(self) -> None:
        """Puts the state back to the run's checkpoint. Raises UserError, and writes nothing, where that cannot be."""
        checkpoint, metrics = self.directory / "checkpoint.pt", self.directory / "metrics.jsonl"
        begun = checkpoint.exists()
        if begun:
            self._load(checkpoint)
        elif has_content(metrics):
            raise UserError(f"{checkpoint}: is missing, so the run cannot go on; put it back, or start a new run")
        rows = read_metrics(metrics) if metrics.exists() else []
        last = rows[-1].get("step") if rows else 0
        self._log = MetricsLog(metrics, self.state.step)
        if isinstance(last, int) and last < self.state.step:
            _LOG.warning("%s: the rows between steps %d and %d are lost", metrics, last, self.state.step)
        if not begun:
            self._save(self.state.state_dict())

    def _load(self, path: Path) -> None:
        saved = load_checkpoint(path)
        if not isinstance(saved.get("config"), dict) or not isinstance(saved.get("state"), dict):
            raise UserError(f"{path}: not a search's checkpoint; expected the checkpoint.pt of a search")
        _require_same(saved["config"], plain(self.config), "")
        origin = saved.get("origin") or self._origin  # older checkpoints have none
        for what, value in self._origin.items():
            if not isinstance(origin, dict) or origin.get(what) != value:
                raise UserError(
                    f"resume: the run was started with other content of its {what}, under the same name; put back what "
                    "was there, or start a new run"
                )
        try:
            self.state.load_state_dict(saved["state"])
        except (UserError, RuntimeError, ValueError, TypeError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path}: this checkpoint does not fit the run: {reason}; start a new run") from error
        if self.state.step > self.parts.settings.steps:
            raise UserError(
                f"{path}: is of step {self.state.step}, and the run has {self.parts.settings.steps}; start a new run"
            )

    def _has_gone_on(self) -> bool:
        return self.state.step > self.first

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        self._restore()  # a second Ctrl-C ends at once

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def rows(self, rows: list[Row]) -> None:
        """Metrics of the last steps."""
        for row in rows:
            self._log.append(row)
            self.tracker.log(row, int(row["step"] or 0))
        last = rows[-1]
        self.progress.update(int(last["step"] or 0), _number(last.get("train_loss")), _number(last.get("val_loss")))

    def checkpoint(self, state: dict[str, Any]) -> None:
        """The state, and the best policy so far."""
        self._log.sync()
        self._save(state)
        self.write_policy()

    def _save(self, state: dict[str, Any]) -> None:
        saved = {"config": plain(self.config), "origin": self._origin, "state": state}
        save_checkpoint(self.directory / "checkpoint.pt", saved)

    def end(self) -> None:
        """The search is over: the progress bar goes, and Ctrl-C is Ctrl-C again."""
        self.progress.__exit__(None, None, None)
        self._restore()

    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM came."""
        return self._stop

    def write_policy(self, document: PolicyDocument | None = None) -> None:
        """policy.json: the policy that did best on the selection split so far."""
        if document is None:
            metrics = {
                "step": self.state.best_step,
                "selection_loss": self.state.best_loss if self.state.best_step else None,
            }
            policy = exported(self.state.best_policy(), self.config)
            document = document_of(policy, provenance(self.config, self.parts.data, metrics))
        write_policy(document, self.directory / "policy.json")

    def summary(self) -> dict[str, Any]:
        """The run in a few numbers."""
        result = evaluate(self.state.model, self.parts.data.test)
        return {
            "steps": self.state.step,
            "policy_from_step": self.state.best_step,
            "selection_loss": self.state.best_loss,
            "search_classifier_test_accuracy": float(result.accuracy),
            "device": str(self.parts.device),
            "torch": torch.__version__,
        }


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) else None


def _digest(policy: Policy) -> str:
    """Of what a policy chooses from; its parameters are in the state."""
    choices = [op.name for op in policy.ops], policy.slots, policy.interpolation, policy.fill
    return hashlib.sha256(repr(choices).encode()).hexdigest()
