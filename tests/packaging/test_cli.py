"""`augrad`: which command is called with what, and what a user reads who typed something else."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from augrad.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("search", "augrad.cli.search"),
        ("train", "augrad.cli.train"),
        ("compare", "augrad.cli.compare"),
        ("policy", "augrad.cli.policy_command"),
    ],
)
def test_a_command_gets_the_rest_of_the_line(monkeypatch: pytest.MonkeyPatch, command: str, module: str):
    received = []

    def stand_in_main(arguments: list[str]) -> int:
        received.append(arguments)
        return 7

    stand_in = ModuleType(module)
    stand_in.main = stand_in_main  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module, stand_in)
    assert main([command, "--help", "search.steps=5"]) == 7
    assert received == [["--help", "search.steps=5"]]


def test_help_shows_each_command_with_an_example(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in ("search", "train", "compare", "policy"):
        assert re.search(rf"^  {command} +\w", text, re.MULTILINE)
        assert f"augrad {command} " in text


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"augrad {version('augrad')}\n"


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: augrad" in captured.err


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("serch", "did you mean 'search'?"),
        ("trian", "did you mean 'train'?"),
        ("xyz", "search, train, compare, policy"),
    ],
)
def test_unknown_command(capsys: pytest.CaptureFixture[str], typed: str, hint: str):
    assert main([typed]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"augrad: error: there is no command {typed!r}")
    assert hint in message


def test_help_loads_no_command():
    program = "import sys; from augrad.cli import main; main(['--help']); print('hydra' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "augrad"], ["-m", "augrad.cli"], ["experiments/search.py"]])
def test_other_ways_to_the_commands(command: list[str]):
    arguments = ["--cfg", "job"] if command[0].endswith(".py") else ["search", "--cfg", "job"]
    outcome = subprocess.run(
        [sys.executable, *command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "\nsearch:\n" in outcome.stdout
