"""Thousands of damaged policy files: each is a policy that works, or is refused in words, at little cost.

They are read in processes of their own, without the run-time type checks: there the interpreter reports every import,
every file that is opened and every process that is started, and time and memory are those of a user. Tests are never
timed by the clock: what counts is the processor time, of what was slow the least of three, and the limits are many
times what is needed.
"""

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mutations import changed, damaged

TESTS = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "version_1.json"
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc, and limits of memory")


def report_of(part: str, folder: Path) -> dict[str, Any]:
    """What reading that part of the corpus did."""
    script = TESTS / "policy_corpus.py"
    ended = subprocess.run([sys.executable, script, part, folder], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stderr == ""
    return json.loads(ended.stdout)


@linux
@pytest.mark.parametrize(
    ("part", "documents"),
    [
        ("every place, version 1", 10_000),
        ("every place, definitions", 8_000),
        ("changed", 3_000),
        ("damaged", 4_000),
        pytest.param("large", 40, marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_policies_or_refused_in_words(part: str, documents: int, tmp_path: Path) -> None:
    report = report_of(part, tmp_path)
    assert report["failures"][:5] == []
    assert report["documents"] >= documents
    assert part == "every place, definitions" or report["accepted"] > documents / 100


def test_the_command_refuses_them_in_one_message(tmp_path: Path) -> None:
    """Fifty files, in one process: the first of each call that cannot be read ends it."""
    base, paths = json.loads(GOLDEN.read_bytes()), []
    for number in range(50):
        random, path = Random(number), tmp_path / f"{number}.json"
        text = changed(base, random).encode()
        path.write_bytes(damaged(text, random) if number % 2 else text)
        paths.append(str(path))
    code = (
        "import sys\n"
        "from augrad.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    print('status', main(['policy', 'validate', path]))\n"
        "    print('end', file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    statuses = ended.stdout.split("status ")[1:]
    messages = ended.stderr.split("end\n")[:-1]
    assert len(statuses) == len(messages) == 50
    assert {status.strip() for status in statuses} == {"0", "2"}
    for status, message in zip(statuses, messages, strict=True):
        if status.strip() == "0":
            assert message == ""
        else:
            assert message.startswith("augrad policy validate: error: ")
            assert message.count("\n") == 1
            assert "Traceback" not in message
