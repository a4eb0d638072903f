"""scripts/docs.sh: what it asks of MkDocs, told by a Python that says what it is called with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from page_blocks import ROOT


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], ["build", "--strict"]),
        (["-d", "a folder"], ["build", "--strict", "-d", "a folder"]),
        (["build", "--quiet"], ["build", "--strict", "--quiet"]),
        (["serve", "-a", "localhost:8001"], ["serve", "-a", "localhost:8001"]),
        (["--help"], ["--help"]),
    ],
)
def test_arguments_are_those_of_mkdocs(tmp_path: Path, given: list[str], asked: list[str]) -> None:
    scripts, binaries = tmp_path / "scripts", tmp_path / ".venv" / "bin"
    scripts.mkdir()
    binaries.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "docs.sh", scripts)
    (scripts / "bootstrap.sh").write_text("")
    (binaries / "python").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (binaries / "python").chmod(0o755)
    done = subprocess.run(["bash", scripts / "docs.sh", *given], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "mkdocs", *asked]
