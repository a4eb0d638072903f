"""A search's run directory: metrics, checkpoints, the policy so far, and taking it up again."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from omegaconf import DictConfig

from augrad.cli.arms import INITIAL
from augrad.cli.choosing import CHOICE
from augrad.cli.comparison import COMPARISON, TABLES, TRAININGS
from augrad.cli.costs import Costs
from augrad.cli.parts import exported, plain, provenance, say_data
from augrad.cli.run_directory import StoppedRun, new_run, resume_line, resumed_run
from augrad.cli.signals import number_of
from augrad.cli.status import in_sweep
from augrad.errors import NonFiniteError, PolicyFileError, RankLostError, UserError
from augrad.learning.step import evaluate
from augrad.objectives.objective import estimates_itself
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument, write_policy
from augrad.policy_file.convert import document_of
from augrad.runs.checkpoint import load_newest, save_checkpoint
from augrad.runs.directory import CHECKPOINT, PREVIOUS, has_content
from augrad.runs.metrics import MetricsLog, read_metrics
from augrad.runs.restore import require_like
from augrad.runs.trackers import Tracker
from augrad.search import Row, SearchParts, SearchState
from augrad.search.resume import origin_of, require_same, take_up
from augrad.search.stopping import StopRequest
from augrad.settings import SearchSettings
from augrad.show.progress import SearchProgress
from augrad.types import PolicyParams

_MAY_CHANGE = ("resume", "allow_code", "choose", "compare", "export", "tracker", "train", "final_training", "device")
"""What a resumed run may be told anew: none of it changes the search, but for the rounding of another device."""

_WRITES = (
    "policy.json",
    INITIAL,
    CHOICE,
    "report.html",
    "figures",
    COMPARISON,
    *TABLES,
    TRAININGS,
    "model.pt",
    PREVIOUS,
)
"""What a search writes beside its metrics and checkpoints."""

_RESUMED = "resume: the run"

_LOG = logging.getLogger(__name__)


class SearchRun:
    """Observes a search and keeps what it tells.

    A context manager; Ctrl-C and SIGTERM end the search after the step in hand (one of whole trainings is broken off),
    a second one at once: what is raised says how to go on.
    """

    def __init__(
        self,
        directory: Path,
        config: DictConfig,
        state: SearchState,
        parts: SearchParts,
        tracker: Tracker,
        costs: Costs,
    ) -> None:
        self.directory, self.config, self.state, self.parts, self.tracker = directory, config, state, parts, tracker
        self.costs = costs
        self.first = state.step
        self.was_finished = False
        """Whether a run is taken up that has all its steps and its report."""
        self._start = {name: parameter.detach().cpu().clone() for name, parameter in state.policy.named_parameters()}
        self._stop = StopRequest((signal.SIGINT, signal.SIGTERM))
        self._kept, self._newest_is_whole = 0, True

    def __enter__(self) -> "SearchRun":
        with ExitStack() as stack:
            if self.config.resume is None:
                stack.enter_context(new_run(self.config, self.directory, "metrics.jsonl", *_WRITES))
                self._save(self.state.state_dict())  # whatever stops the run from now on, it can be resumed
                self._log = MetricsLog(self.directory / "metrics.jsonl")
            else:
                stack.enter_context(resumed_run(self.config, self.directory, self._take_up, self._has_gone_on))
                whole = self.state.step == self.parts.settings.steps
                self.was_finished = whole and has_content(self.directory / "report.html")
            stack.callback(self._log.close)
            self._write_start()
            data, settings = self.parts.data, self.parts.settings
            unused = estimates_itself(self.parts.objective)
            say_data(data, {} if unused else {"search.batch_size": (settings.batch_size, len(data.train))})
            self.first = self.state.step
            then = " and ".join(one.what for one in self.costs.then)
            progress = SearchProgress(settings.steps, start=self.first, disable=in_sweep(), then=then)
            self.progress = stack.enter_context(progress)
            self.tracker.start(plain(self.config), self.directory)
            self._stop.__enter__()
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.end()
        try:
            if isinstance(error, NonFiniteError):
                self.write_policy()
        finally:
            self._opened.__exit__(kind, error, trace)
        if isinstance(error, RankLostError) and self.parts.ranks.leads:
            go_on = resume_line("search", self.directory)
            error.add_note(f"go on with: torchrun ... -m {go_on}")
        if isinstance(error, KeyboardInterrupt) and not isinstance(error, StoppedRun):
            raise StoppedRun("search", self.directory, self._kept, number_of(error)) from error

    def _write_start(self) -> None:
        """initial.json: what the search began with; what is too large for a document has none."""
        path = self.directory / INITIAL
        with contextlib.suppress(PolicyFileError):
            if not path.exists():
                start = self.start(self.state.policy)
                write_policy(document_of(start, provenance(self.config, self.parts.data, {})), path)

    def _take_up(self) -> None:
        """Puts the state back to the run's checkpoint. Raises UserError, and writes nothing, where that cannot be."""
        checkpoint, metrics = self.directory / CHECKPOINT, self.directory / "metrics.jsonl"
        begun = checkpoint.exists()
        if begun:
            self._load(checkpoint)
            self._kept = self.state.step
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
        saved, self._newest_is_whole = load_newest(path, self.directory / PREVIOUS)
        if not isinstance(saved.get("config"), dict) or not isinstance(saved.get("state"), dict):
            raise UserError(f"{path}: not a search's checkpoint; expected the checkpoint.pt of a search")
        require_same(saved["config"], plain(self.config), _RESUMED, _MAY_CHANGE, {"search": asdict(SearchSettings())})
        start = saved.get("start", self._start)  # older checkpoints have none
        require_like(start, self._start, f"{path}: start")
        take_up(self.state, self.parts, saved, _RESUMED, path)
        if not all(torch.allclose(start[name], value, rtol=1e-4, atol=1e-4) for name, value in self._start.items()):
            _LOG.warning("policy: other numbers than the run began with; it goes on from those that it began with")
        self._start = start

    def _has_gone_on(self) -> bool:
        return self.state.step > self.first

    def rows(self, rows: list[Row]) -> None:
        """Metrics of the last steps."""
        for row in rows:
            self._log.append(row)
            self.tracker.log(row, int(row["step"] or 0))
        last = rows[-1]
        self.progress.update(int(last["step"] or 0), _number(last.get("train_loss")), _number(last.get("val_loss")))
        if (seconds := _number(last.get("step_seconds"))) is not None:
            self.costs.measured(seconds, self.parts.settings.steps - self.state.step, self.state.policy)

    def checkpoint(self, state: dict[str, Any]) -> None:
        """The state, and the best policy so far."""
        self._log.sync()
        self._save(state)
        self.write_policy()

    def _save(self, state: dict[str, Any]) -> None:
        origin = origin_of(self.state, self.parts)
        saved = {"config": plain(self.config), "origin": origin, "start": self._start, "state": state}
        previous = self.directory / PREVIOUS if self._newest_is_whole else None
        save_checkpoint(self.directory / CHECKPOINT, saved, previous)
        self._newest_is_whole = True
        self._kept = state["step"]

    def start(self, like: Policy) -> Policy:
        """The policy that the search began with. like: the one that the configuration makes now."""
        return like.with_params(PolicyParams(**self._start))

    @contextmanager
    def signals_wait(self) -> Iterator[None]:
        """Within it, Ctrl-C and SIGTERM wait for the end of it; a second one acts at once."""
        with StopRequest((signal.SIGINT, signal.SIGTERM)) as stop:
            yield
        if stop.came:
            raise StoppedRun("search", self.directory, self.state.step, stop.number)

    def end(self) -> None:
        """The search is over: the progress bar goes, and Ctrl-C is Ctrl-C again."""
        self.progress.__exit__(None, None, None)
        self._stop.end()

    @property
    def stopped_by(self) -> int:
        """The number of the first signal, 0 for none."""
        return self._stop.number

    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM came."""
        return self._stop.came

    def write_policy(self, document: PolicyDocument | None = None) -> None:
        """policy.json: what the search would end with now."""
        if document is None:
            policy = exported(self.state.best_policy(), self.config)
            document = document_of(policy, provenance(self.config, self.parts.data, self.metrics()))
        write_policy(document, self.directory / "policy.json")

    def metrics(self) -> dict[str, Any]:
        """Where in the search the policy is from."""
        return {
            "step": self.state.best_step,
            "selection_loss": self.state.best_loss if self.state.best_step else None,
        }

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
