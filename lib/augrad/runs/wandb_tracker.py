"""Weights & Biases as a tracker. A run never depends on it: at its first failure it says so once and steps aside."""

import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from augrad.atomic import write_text
from augrad.errors import UserError
from augrad.terminal.console import say

_MODES = ("online", "offline", "disabled")
_LOG = logging.getLogger(__name__)
_RUN_ID_FILE = "wandb_run_id.txt"


def group_of(directory: Path) -> str | None:
    """What groups the runs of a sweep, of which `directory` is one: the sweep's own folders; None for a single run."""
    sweep = directory.absolute().parent
    return "/".join(sweep.parts[-2:]) if (sweep / "multirun.yaml").is_file() else None


class WandbTracker:
    """Sends the configuration, the metrics, the figures and the policy file (an artifact of type "policy") to wandb.

    Its files lie in the `wandb` folder of the run directory; `wandb sync` sends those of an offline run, whose end says
    where they are. The runs of a sweep are a group, unless another one is asked for. A resumed run
    goes on under the same wandb run id, kept in `wandb_run_id.txt`; wandb leaves out the rows it already has. Never
    asks for a login: without an API key, as after any failure, there is one warning and the run goes on.
    """

    def __init__(
        self,
        project: str = "augrad",
        mode: str = "online",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        init_timeout: float = 20.0,
        finish_timeout: float = 120.0,
    ) -> None:
        """mode: "online", "offline" or "disabled"; the environment variable WANDB_MODE may take the place of "online".

        init_timeout, finish_timeout: seconds to wait for the server at the start, and for uploads at the end.
        Raises `UserError` for an unknown mode.
        """
        if mode not in _MODES:
            raise UserError(f"tracker.mode: expected one of {', '.join(_MODES)}, got {mode!r}")
        self.mode = mode
        self._init: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "tags": tuple(tags) or None,
        }
        self._init_timeout, self._finish_timeout = init_timeout, finish_timeout
        self._run: Any = None

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """Begin a wandb run with `config`, or go on with the one that `directory` remembers."""
        mode = os.environ.get("WANDB_MODE", self.mode) if self.mode == "online" else self.mode
        if mode != "disabled":
            self._guard(lambda: self._begin(config, directory, mode))

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """One row of metrics; missing values are left out."""
        if self._run is not None:
            values = {key: value for key, value in row.items() if value is not None and key != "step"}
            self._guard(lambda: self._run.log(values, step=step))

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """Figures as images, the policy file as an artifact, the final numbers as the summary; then close the run."""
        if self._run is not None:
            self._guard(lambda: self._end(figures, policy_file, summary))
            self._run = None

    def _begin(self, config: dict[str, Any], directory: Path, mode: Any) -> None:
        import wandb  # here: costs most of a second, and may be missing

        remembered = directory / _RUN_ID_FILE
        resumed = remembered.is_file()
        run_id = remembered.read_text().strip() if resumed else os.environ.get("WANDB_RUN_ID") or secrets.token_hex(8)
        if not resumed:
            write_text(remembered, run_id + "\n")
        wandb.setup(settings=wandb.Settings(silent=True))
        if mode == "online" and wandb.run is None and not wandb.login(prompt=False, verify=False):
            raise RuntimeError("no API key; run `wandb login`, set WANDB_API_KEY, or set tracker.mode=offline")
        settings = wandb.Settings(
            silent=True,
            console="off",  # leaves the terminal alone
            disable_code=True,
            init_timeout=self._init_timeout,
            finish_timeout=self._finish_timeout,
            x_service_wait=self._init_timeout,
        )
        self._run = wandb.init(
            **{**self._init, "group": self._init["group"] or group_of(directory)},
            config=config,
            dir=directory,
            id=run_id,
            mode=mode,
            resume="allow"
            if mode == "online"
            else None,  # offline, the same id is enough: `wandb sync` joins the parts
            reinit="finish_previous",
            settings=settings,
        )
        if self._run.url:
            _LOG.info("wandb: %s", self._run.url)

    def _end(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        import wandb

        images = {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        if images:
            self._run.log(images)
        if policy_file is not None:
            # A copy beside wandb's own files: what is uploaded later, from an offline run, is this policy even if the
            # run has gone on since, and nothing is staged in the home directory.
            copy = Path(self._run.settings.sync_dir) / "policy" / policy_file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(policy_file, copy)
            artifact = wandb.Artifact(f"policy-{self._run.id}", type="policy")
            artifact.add_file(str(copy), name=policy_file.name, policy="immutable", skip_cache=True)
            self._run.log_artifact(artifact)
        self._run.summary.update(dict(summary))
        offline, place = self._run.settings._offline, self._run.settings.sync_dir
        self._run.finish()
        if offline:
            say(f"wandb: {place}; to upload it: wandb sync {shlex.quote(str(place))}", stderr=True)

    def _guard(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever a tracker does wrong, the run matters more
            self._run = None
            reason = " ".join(str(error).split()) or type(error).__name__
            _LOG.warning("wandb failed, the run goes on without it: %s", reason)
