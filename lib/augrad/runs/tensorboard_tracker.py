"""TensorBoard as a tracker: curves, figures and the policy in a folder that `tensorboard --logdir` reads."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augrad.errors import UserError


class TensorBoardTracker:
    """Writes what TensorBoard shows into a folder of the run directory; needs the package tensorboard.

    Every number of the metrics is a curve by its name, under its step; configuration, figures, policy file and final
    numbers come beside them. A resumed run goes on where it was: what an earlier process wrote of later steps is not
    shown.
    """

    def __init__(self, folder: str = "tensorboard") -> None:
        """folder: within the run directory.

        Raises UserError without the package, and for a folder that is none within the run directory.
        """
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"tracker: TensorBoard needs the package tensorboard ({error}): pip install 'augrad[tensorboard]'"
            ) from error
        inside = isinstance(folder, str) and folder not in ("", ".") and not Path(folder).is_absolute()
        if not inside or ".." in Path(folder).parts:
            raise UserError(f"tracker.folder: expected the name of a folder in the run directory, got {folder!r}")
        self._folder = folder
        self._directory = Path()
        self._config: dict[str, Any] = {}
        self._writer: Any = None
        self._last = 0

    def start(self, config: dict[str, Any], directory: Path) -> None:
        """Remembers what is written with the first row."""
        self._config, self._directory = config, directory / self._folder

    def log(self, row: Mapping[str, float | int | str | None], step: int) -> None:
        """One row of metrics; what is no finite number is left out."""
        writer = self._at(step)
        for key, value in row.items():
            if key != "step" and isinstance(value, int | float) and math.isfinite(value):
                writer.add_scalar(key, value, step)
        self._last = step

    def finish(self, figures: Mapping[str, Path], policy_file: Path | None, summary: Mapping[str, Any]) -> None:
        """Figures as images, policy file and final numbers as texts, all under the last step."""
        writer = self._at(self._last)
        for name, path in figures.items():
            with Image.open(path) as picture:
                writer.add_image(f"figures/{name}", np.asarray(picture.convert("RGB")), self._last, dataformats="HWC")
        if policy_file is not None:
            writer.add_text("policy", _block(policy_file.read_text(encoding="utf-8")), self._last)
        writer.add_text("summary", _block(json.dumps(summary, indent=1, default=str)), self._last)
        writer.close()

    def _at(self, step: int) -> Any:
        """The writer; a new one says from which step on an earlier one's values do not count."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._directory), purge_step=step)
            self._writer.add_text("configuration", _block(json.dumps(self._config, indent=1, default=str)), step)
        return self._writer


def _block(text: str) -> str:
    """Text that TensorBoard, which reads Markdown, shows as it is: a code block by indentation."""
    return "\n".join(f"    {line}" for line in text.splitlines())
