"""`resolve_resume`: the command line with which a run goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from augrad.cli.resume import resolve_resume
from augrad.errors import UserError

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(*overrides: str, name: str = "run") -> Path:
        directory = tmp_path / name
        (directory / ".hydra").mkdir(parents=True)
        (directory / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in overrides) or "[]\n")
        (directory / "checkpoint.pt").write_bytes(b"")
        return directory

    return make


@pytest.mark.parametrize("arguments", [[], ["seed=3", "--multirun"], ["resume=null"]])
def test_without_resume_the_line_stays_as_it_is(arguments: list[str]):
    assert resolve_resume(arguments) == arguments


@pytest.mark.parametrize("empty", ["resume=", "resume=''", '+resume=""'])
def test_an_empty_name_is_no_run(empty: str):
    with pytest.raises(UserError, match=r"^resume: expected the directory of a run, got an empty name; leave resume"):
        resolve_resume(["seed=1", empty])


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_recorded_overrides_come_first(make_run: MakeRun, prefix: str):
    run = make_run("seed=3", "search.steps=10", f"resume={Path('elsewhere')}", "+resume=older")
    assert resolve_resume(["search.steps=20", f"{prefix}resume={run}", "seed=4"]) == [
        "seed=3",
        "search.steps=10",
        f"resume='{run}'",
        f"hydra.run.dir='{run}'",
        "search.steps=20",
        "seed=4",
    ]


def test_a_run_directory_of_the_users_wins(make_run: MakeRun):
    resolved = resolve_resume([f"resume={make_run()}", "hydra.run.dir=copy"])
    assert resolved[-1] == "hydra.run.dir=copy"


def test_options_stay_in_front_and_overrides_together(make_run: MakeRun):
    run = make_run("seed=3")
    resolved = resolve_resume(["--config-dir", "mine", "--cfg", "job", f"resume={run}", "a=1"])
    assert resolved == [
        "--config-dir",
        "mine",
        "--cfg",
        "job",
        "seed=3",
        f"resume='{run}'",
        f"hydra.run.dir='{run}'",
        "a=1",
    ]


@pytest.mark.parametrize("name", ["it's", "a, b", "x=1,y=2", "2024-01-01", "1_000"])
def test_names_of_directories(make_run: MakeRun, name: str, monkeypatch: pytest.MonkeyPatch):
    run = make_run("seed=3", name=name)
    monkeypatch.chdir(run.parent)
    quoted = "'" + name.replace("'", r"\'") + "'"
    assert resolve_resume([f"resume={name}"]) == ["seed=3", f"resume={quoted}", f"hydra.run.dir={quoted}"]
    assert resolve_resume([f"resume={quoted}"]) == ["seed=3", f"resume={quoted}", f"hydra.run.dir={quoted}"]


def test_the_last_resume_counts(make_run: MakeRun):
    run = make_run("seed=3")
    resolved = resolve_resume(["resume=nowhere", f"resume={run}"])
    assert resolved == ["seed=3", f"resume='{run}'", f"hydra.run.dir='{run}'"]


def test_not_with_multirun(make_run: MakeRun):
    with pytest.raises(UserError, match="--multirun"):
        resolve_resume([f"resume={make_run()}", "-m"])


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (".", "no such directory"),
        (".hydra/overrides.yaml", "not a run directory"),
        ("checkpoint.pt", "no checkpoint.pt"),
    ],
)
def test_no_run(make_run: MakeRun, missing: str, text: str):
    run = make_run()
    lost = run / missing
    lost.rename(run.parent / "lost")
    with pytest.raises(UserError, match=text):
        resolve_resume([f"resume={run}"])


@pytest.mark.parametrize("record", ["", "seed: 3\n", "- 3\n", "- [a]\n", "- 'open\n", "- seed=[1\n", "- '=='\n"])
def test_a_damaged_record(make_run: MakeRun, record: str):
    run = make_run()
    (run / ".hydra" / "overrides.yaml").write_text(record)
    with pytest.raises(UserError, match="damaged") as refusal:
        resolve_resume([f"resume={run}"])
    assert str(run / ".hydra" / "overrides.yaml") in str(refusal.value)
