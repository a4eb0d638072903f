"""A search's run directory: metrics, checkpoints, the policy so far, and taking it up again."""

import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from omegaconf import DictConfig

from augrad.cli.parts import exported, plain, provenance
from augrad.errors import NonFiniteError, UserError
from augrad.policy_file import PolicyDocument, write_policy
from augrad.policy_file.convert import document_of
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.runs.metrics import MetricsLog
from augrad.runs.trackers import Tracker
from augrad.search import Row, SearchParts, SearchState
from augrad.show.progress import SearchProgress
from augrad.training import evaluate

_MAY_CHANGE = ("resume", "compare", "export", "tracker", "train", "device")
"""What a resumed run may be told anew: none of it changes the search, but for the rounding of another device."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the step in hand was finished and kept."""

    def __init__(self, directory: Path, step: int) -> None:
        super().__init__(f"stopped after step {step}; go on with: augrad search resume={directory}")


def resumable_state(state: SearchState, config: DictConfig, directory: Path) -> None:
    """With `resume`, put `state` back to the run's checkpoint. Raises UserError when the configurations differ."""
    if config.resume is None:
        return
    checkpoint = load_checkpoint(directory / "checkpoint.pt")
    _require_same(checkpoint["config"], plain(config), "")
    state.load_state_dict(checkpoint["state"])


def _require_same(saved: Any, given: Any, place: str) -> None:
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in [*saved, *(key for key in given if key not in saved)]:
            if place or key not in _MAY_CHANGE:
                _require_same(saved.get(key), given.get(key), f"{place}{'.' if place else ''}{key}")
    elif saved != given:
        raise UserError(
            f"resume: the run was started with {place}={saved}, got {given}; drop the override or start a new run"
        )


class SearchRun:
    """Observes a search and keeps what it tells.

    A context manager; Ctrl-C and SIGTERM end the search after the step in hand.
    """

    def __init__(
        self, directory: Path, config: DictConfig, state: SearchState, parts: SearchParts, tracker: Tracker
    ) -> None:
        self.directory, self.config, self.state, self.parts, self.tracker = directory, config, state, parts, tracker
        self._stop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "SearchRun":
        step = self.state.step
        self._log = MetricsLog(self.directory / "metrics.jsonl", step if self.config.resume is not None else None)
        self.progress = SearchProgress(self.parts.settings.steps, start=step)
        self.progress.__enter__()
        self.tracker.start(plain(self.config), self.directory)
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask_to_stop)
            except ValueError:  # not in the main thread (some launchers): signals stay as they are
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        self.progress.__exit__(kind, error, trace)
        self._log.close()
        if isinstance(error, NonFiniteError):
            self.write_policy()

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
        save_checkpoint(self.directory / "checkpoint.pt", {"config": plain(self.config), "state": state})
        self.write_policy()

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
