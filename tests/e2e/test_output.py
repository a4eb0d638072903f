"""Where output goes: what a run has is kept whatever cannot be printed or drawn, and names are printed as they are."""

import io
import json
import sys
from pathlib import Path

import pytest

from augrad.cli import main
from augrad.cli.comparison import read_comparison
from augrad.comparison.rows import names_of

POLICY = {
    "format": "augrad.policy",
    "version": 1,
    "interpolation": "bilinear",
    "fill": 0.0,
    "subpolicies": [{"weight": 1.0, "stages": [[{"op": "invert", "probability": 0.5, "weight": 1.0}]]}],
}
BYTE = r"\xe9"
TRACKER = """
from pathlib import Path

class Vandal:
    def start(self, config, directory):
        (Path(directory) / "figures").write_text("a file where the folder should be")
        (Path(directory) / "report.html").mkdir()
        self.rows = 0

    def log(self, row, step):
        self.rows += 1
        if self.rows == 2:
            raise KeyError("the server [/is] gone")

    def finish(self, figures, policy_file, summary):
        raise AssertionError("is not told any more")
"""


def test_what_cannot_be_drawn_is_named_and_nothing_else_is_lost(
    augrad, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vandals.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    done = augrad(
        "search", *small, "compare=null", "search.keep_model=true", "hydra.run.dir='o[u]t'",
        "tracker._target_=vandals.Vandal", "allow_code=true",
    )  # fmt: skip
    out = tmp_path / "o[u]t"
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = done.stderr.partition("augrad search: the run is done and its results are kept")[2].strip().splitlines()[1:]
    assert [line.split(":")[0].strip() for line in said] == [
        "the figure evolution",
        "the figure examples",
        "the report",
    ]
    assert done.stdout.count("the tracker failed, the run goes on without it: KeyError: 'the server [/is] gone'") == 1
    assert "search_classifier_test_accuracy" in (out / "policy.json").read_text()
    assert (out / "model.pt").stat().st_size > 1000
    assert f"results in '{out}'" in done.stdout
    assert "report:" not in done.stdout
    assert "sub-policy" in done.stdout


@pytest.mark.parametrize("broken", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stream_that_cannot_take_it_ends_no_run(
    small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    streams = [io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict", write_through=True) for _ in range(2)]
    if broken:
        for stream in streams:
            stream.close()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert main(["search", *small, "compare=null", "search.keep_model=true", "hydra.run.dir='é ±'"]) == 0
    out = tmp_path / "é ±"
    assert {"model.pt", "policy.json", "report.html"} <= {path.name for path in out.iterdir()}
    if not broken:
        printed, told = (stream.buffer.getvalue().decode("ascii") for stream in streams)  # pyright: ignore
        assert "+-" in printed
        assert "search 6/6" in told


def test_names_are_printed_and_kept_as_they_are(augrad, small, tmp_path: Path) -> None:
    names = ["x[/y].json", "[red]a%s$b$ ± (1).json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(POLICY))
    smaller = [given for given in small if not given.startswith(("search.", "choose."))]
    listed = ",".join(f'"{name}"' for name in names)
    done = augrad(
        "compare", *smaller, f"policies=[{listed},none]", "seeds=2", "processes=1", "hydra.run.dir='c [ops,gates]'"
    )
    assert done.returncode == 0, done.stderr
    assert names_of(read_comparison(tmp_path / "c [ops,gates]")) == [*names, "none"]
    assert (tmp_path / "c [ops,gates]" / "comparison.png").exists()
    for name in names:
        assert f"  {name:{max(map(len, names))}} seed 1001: " in done.stderr
        assert f"│ {name} " in done.stdout
    assert f"results in '{tmp_path}/c [ops,gates]'\n" in done.stdout


@pytest.mark.parametrize("command", ["search", "train", "compare"])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere", "x" * 300, "loop/x"])
def test_a_run_directory_that_cannot_be_made(augrad, tmp_path: Path, command: str, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    done = augrad(command, f"hydra.run.dir={place}")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "hydra.run.dir" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop"}


def test_a_sweep_directory_that_cannot_be_made(augrad, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = augrad("train", "--multirun", "seed=1,2", "hydra.sweep.dir=file")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "hydra.sweep.dir" in done.stderr


def test_a_current_directory_that_is_gone(augrad, tmp_path: Path) -> None:
    tmp_path.rmdir()
    done = augrad("train")
    tmp_path.mkdir()
    assert done.returncode == 2, done.stderr
    assert "current directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=folder", "data.root=data (1)"], ["'data.root=\"data (1)\"'"]),
        (["data=folder", "data.root=100%,new"], ["'data.root=\"100%,new\"'"]),
        (["data=folder", "data.root=$HOME/nowhere"], ["$HOME is not expanded", "${oc.env:HOME}"]),
        (["data=folder", "data.root=~/nowhere"], ["HOME/nowhere"]),
        (["data=folder", "data.root=[a]"], ["expected one path", "quote"]),
        (["data=arrays", "data.path={a: 1}"], ["expected one path", "quote"]),
        (["data=arrays", "data.path=007"], ["007"]),
        (["data=arrays", "data.path=1_000"], ["1_000"]),
        (["data=folder", f"data.root={'x' * 300}"], ["xxx"]),
        (["policy=file", "policy.file=~/nowhere.json"], ["~/nowhere.json"]),
        (["policy=file", "policy.file=[a]"], ["expected one path", "quote"]),
        (["--config-dir=~/nowhere"], ["HOME/nowhere"]),
        (["--config-dir", "~/nowhere"], ["HOME/nowhere"]),
        (["tracker=null"], ["tracker=null: expected the name of an option"]),
        (["tracker._target_=builtins.dict", "~tracker.x"], ["tracker"]),
    ],
)
def test_a_path_is_understood_or_the_message_says_how_to_write_it(
    augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
    done = augrad("search", "search.steps=1", "hydra.run.dir=out", *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_policies_that_are_no_names(augrad) -> None:
    for given in ("policies=[none,1_000]", "policies=[none,null]", "policies=[[a],[b]]"):
        done = augrad("compare", given)
        assert done.returncode == 2, done.stderr
        assert "policies: expected a list of different names or files" in done.stderr


def test_a_configuration_in_the_home_folder(augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
    (tmp_path / "HOME" / "space").mkdir(parents=True)
    (tmp_path / "HOME" / "space" / "mine.yaml").write_text("a: 1\n")
    done = augrad("search", "--cfg", "job", "--config-dir=~", "space=mine")
    assert done.returncode == 0, done.stderr
    assert "space:\n  a: 1\n" in done.stdout


def test_no_folder_is_called_home(augrad, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nhydra: {run: {dir: ~/runs/x}}\n")
    done = augrad("train", "--config-dir=conf", "experiment=mine")
    assert done.returncode == 2, done.stderr
    assert "hydra.run.dir" in done.stderr
    assert "${oc.env:HOME}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_the_policy_command_takes_any_name(augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("p.json", "[bold]é (1)=~.json", "caf\udce9.json"):
        (tmp_path / name).write_text(json.dumps(POLICY))
        for source in (name, f"~/{name}"):
            assert augrad("policy", "validate", source).returncode == 0
            assert "invert" in augrad("policy", "show", source).stdout
            done = augrad("policy", "diff", source, "identity")
            assert done.returncode == 1
            assert f"A: {source.replace(chr(0xDCE9), BYTE)}\n" in done.stdout
            text = augrad("policy", "diff", "--text", source, "identity").stdout
            assert f"--- {source.replace(chr(0xDCE9), BYTE)}\n" in text
    for source in ("~/nowhere", "~", "x" * 300, "p.json/x"):
        done = augrad("policy", "validate", source)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_hydra_would_read_as_an_interpolation_is_named(
    augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "c${y}d"
    odd.mkdir()
    monkeypatch.chdir(odd)
    done = augrad("search", "--cfg", "job")
    assert done.returncode == 2
    assert "reads ${ as the beginning of an interpolation" in done.stderr
    assert list(odd.iterdir()) == []
