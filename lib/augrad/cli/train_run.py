"""A training's run directory: its metrics and checkpoints, and taking it up again."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from augrad.cli.parts import plain
from augrad.cli.run_directory import StoppedRun, new_run, resumed_run
from augrad.comparison.trainings import policy_digest
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.runs.checkpoint import load_newest, save_checkpoint
from augrad.runs.directory import CHECKPOINT, PREVIOUS, has_content
from augrad.runs.metrics import MetricsLog
from augrad.search.resume import digests_of, require_origin, require_same
from augrad.search.stopping import StopRequest
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe, Training

METRICS, MODEL = "metrics.jsonl", "model.pt"
_MAY_CHANGE = ("resume", "allow_code", "tracker", "device")
"""What a resumed training may be told anew: none of it changes it, but for the rounding of another device."""
_RESUMED = "resume: the run"
_SECONDS, _SHARE = 30.0, 50
"""A checkpoint is written so many seconds after the last one, or so many times as long as that one took to write."""


class TrainRun:
    """What `trained` calls after each step: keeps the training, and ends it where Ctrl-C or SIGTERM asks for it."""

    def __init__(self, directory: Path, config: DictConfig, recipe: Recipe, policy: Policy | None, seed: int) -> None:
        self.directory, self._config = directory, config
        self._training = recipe, policy, seed
        self._saved: dict[str, Any] | None = None
        self.first, self._step, self._due = 0, 0, 0.0
        self.reported, self._newest_is_whole = 0, True
        self.log: MetricsLog
        self.stop = StopRequest((signal.SIGINT, signal.SIGTERM))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Within it the directory is the run's own, and `log` takes its metrics.

        Raises UserError where the directory is not free, or, with `resume`, holds another run.
        """
        if self._config.resume is None:
            with new_run(self._config, self.directory, METRICS, MODEL, PREVIOUS):
                self.log = MetricsLog(self.directory / METRICS)
                with self.log:
                    yield
        else:
            with resumed_run(self._config, self.directory, self._take_up, lambda: self._step > self.first), self.log:
                yield

    def _take_up(self) -> None:
        path, metrics = self.directory / CHECKPOINT, self.directory / METRICS
        if path.exists():
            saved, self._newest_is_whole = load_newest(path, self.directory / PREVIOUS)
            kinds = {"config": dict, "origin": dict, "state": dict, "reported": int}
            if any(not isinstance(saved.get(key), kind) for key, kind in kinds.items()):
                raise UserError(f"{path}: not a training's checkpoint; expected the {CHECKPOINT} of augrad train")
            known = {"train": asdict(TrainSettings())}
            require_same(saved["config"], plain(self._config), _RESUMED, _MAY_CHANGE, known)
            training = Training(*self._training)
            require_origin(saved["origin"], self._origin(training), _RESUMED)
            try:
                training.load_state_dict(saved["state"])
            except (UserError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                reason = str(error).partition("\n")[0]
                raise UserError(f"{path}: this checkpoint does not fit the run: {reason}; start a new run") from error
            self._saved, self.first, self._step = saved["state"], training.step, training.step
            self.reported = saved["reported"]
        elif has_content(metrics):
            raise UserError(f"{path}: is missing, so the run cannot go on; put it back, or start a new run")
        self.log = MetricsLog(metrics, self.reported)

    def __call__(self, training: Training) -> None:
        """Before the first step and after each."""
        if self._saved is not None:
            training.load_state_dict(self._saved)
            self._saved, self._due = None, time.monotonic() + _SECONDS
            return
        self._step = training.step
        if self.stop.came or time.monotonic() >= self._due or training.step == training.total:
            self._save(training)
        if self.stop.came:
            raise StoppedRun("train", self.directory, training.step, self.stop.number)

    def _save(self, training: Training) -> None:
        begun = time.monotonic()
        self.log.sync()
        saved = {
            "config": plain(self._config),
            "origin": self._origin(training),
            "state": training.state_dict(),
            "reported": self.reported,
        }
        previous = self.directory / PREVIOUS if self._newest_is_whole else None
        save_checkpoint(self.directory / CHECKPOINT, saved, previous)
        self._newest_is_whole = True
        now = time.monotonic()
        self._due = now + max(_SECONDS, _SHARE * (now - begun))

    def _origin(self, training: Training) -> dict[str, str]:
        recipe, policy, _ = self._training
        return {**digests_of(recipe.splits, training.classifier), "policy": policy_digest(policy)}
