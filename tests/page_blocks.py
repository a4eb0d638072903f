"""The code blocks of the documentation, and how they are run: those of a page in order, in one folder and one process.

A Python or YAML block that begins with a comment that is a path, as in `# conf/space/mine.yaml`, becomes that file.
Other Python blocks share their names. In a Bash block `augrad ...` and `python FILE` run in this process; every other
line is Bash's. Comments in the Markdown, above a block: `<!-- not run: REASON -->`, and `<!-- status: 2 -->` for the
status that the block's last line ends with.
"""

import os
import re
import runpy
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from augrad.cli import main

ROOT = Path(__file__).parents[1]
LANGUAGES = ("python", "bash", "yaml", "json", "text")
RUN = ("python", "bash")

_BLOCK = re.compile(
    r"(?P<comments>(?:^ *<!--(?:(?!-->).)*-->\n+)*)"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)``` *$",
    re.DOTALL | re.MULTILINE,
)
_COMMENT = re.compile(r"<!-- (not run|status): (.*?) -->", re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|ya?ml))\n")
_SHELL = re.compile(r"[|<>;&*$`]")
_ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)

# What a test adds to a command, so that it takes a second, and where the page leaves data or model open.
_SEARCH = [
    *("search.steps=4", "search.batch_size=32", "search.validation_batch_size=32", "search.select_every=2"),
    *("search.checkpoint_every=2", "search.log_every=2", "search.warmup_steps=0", "compare=null"),
]
_LISTS_SEEDS = re.compile(r"seeds=\[").match
_SMALLER = {"search": _SEARCH, "train": ["train.epochs=1"], "compare": ["train.epochs=1", "processes=1"]}
_DIGITS = ["data.train_size=200", "data.validation_size=60", "data.selection_size=60"]
_MODEL = ["model.width=16"]
_ONLY_SHOWS = {"--help", "--cfg", "--info", "--hydra-help"}


@dataclass(frozen=True)
class Block:
    """page: its path in the repository. line: where its first line is. not_run: the reason, or None. status: of its
    last line."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    status: int = 0

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.strip().partition(chr(10))[0]}"


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    markdown = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(markdown):
        comments = {kind: " ".join(text.split()) for kind, text in _COMMENT.findall(match["comments"])}
        indent = len(match["indent"])
        text = "".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True))
        line = markdown.count("\n", 0, match.start("text")) + 1
        status = int(comments.get("status", 0))
        found.append(Block(page, line, match["language"], text, comments.get("not run"), status))
    return found


def pages_of_site() -> list[str]:
    """The pages in the navigation of mkdocs.yml, by their paths in the repository."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def places(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                yield from places(inner)

    elsewhere = config["extra"]["elsewhere"]
    return [elsewhere.get(place, f"{config['docs_dir']}/{place}") for place in places(config["nav"])]


class Reader:
    """Someone who types what a page says, in the current folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._main = ModuleType("__main__")
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(os.getcwd())  # as Python does for who starts it here

    def python(self, text: str, place: str = "given", line: int = 1) -> None:
        """Runs `text`, which tracebacks show where it stands in its page."""
        with self._monkeypatch.context() as context:
            context.setitem(sys.modules, "__main__", self._main)  # what is defined there is found there
            exec(compile("\n" * (line - 1) + text, place, "exec"), vars(self._main))

    def do(self, block: Block) -> None:
        """Runs the block, or writes the file that it is."""
        if named := _FILE.match(block.text):
            path = Path(named[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.python(block.text, block.page, block.line)
        elif block.language == "bash":
            lines = _lines(block.text)
            for index, line in enumerate(lines):
                status = self._line(line)
                expected = block.status if index == len(lines) - 1 else 0
                assert status == expected, f"{block.page}: {line}: status {status}, where {expected} was expected"

    def _line(self, line: str) -> int:
        words = [] if _SHELL.search(re.sub(r"'[^']*'", "", line)) else shlex.split(line)
        with self._monkeypatch.context() as context:
            while words and (assignment := _ASSIGNMENT.fullmatch(words[0])):
                context.setenv(assignment[1], assignment[2])
                if assignment[1] == "PYTHONPATH":
                    context.syspath_prepend(assignment[2])
                words.pop(0)
            if words[:1] == ["augrad"]:
                return _augrad(words[1:])
            if words[:1] == ["python"] and words[1:2] and words[1].endswith(".py"):
                context.setattr(sys, "argv", words[1:])
                runpy.run_path(words[1], run_name="__main__")
                return 0
        return _bash(line)


def _lines(text: str) -> list[str]:
    """The commands, without comments and with their continuation lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s+)#\s.*", "", line).strip() for line in lines) if line]


def _augrad(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    groups = {word.partition("=")[0] for word in arguments}
    if command in _SMALLER and not _ONLY_SHOWS.intersection(arguments):
        resumed = "resume" in groups
        arguments = [
            *arguments,
            *_SMALLER[command],
            *(["seeds=1"] if command == "compare" and not any(map(_LISTS_SEEDS, arguments)) else []),
            *([] if resumed or groups & {"data", "experiment"} else _DIGITS),
            *([] if resumed or groups & {"model", "experiment"} else _MODEL),
            *(["hydra.sweeper.n_trials=1"] if "hydra/sweeper" in groups else []),
        ]
    if groups & {"hydra/sweeper", "hydra/launcher"}:
        # In a process of its own: their libraries warn of each other, and warnings are errors here.
        return subprocess.run([sys.executable, "-m", "augrad", *arguments], check=False).returncode
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def _bash(line: str) -> int:
    """With an `augrad` on the path that is the one of the tests."""
    folder = Path(".bin")
    folder.mkdir(exist_ok=True)
    command = folder / "augrad"
    if not command.exists():
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m augrad "$@"\n', encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    path = f"{folder.resolve()}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(["bash", "-c", line], env={**os.environ, "PATH": path}, check=False).returncode
