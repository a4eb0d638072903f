"""Real runs through the real command, inside the test's process, small enough for a test."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from augrad.cli import main
from small_runs import SMALL


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def augrad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Calls `augrad` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # a terminal's width, if another test left one

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def small() -> list[str]:
    """Overrides that make a search take seconds."""
    return list(SMALL)
