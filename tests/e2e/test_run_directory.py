"""A run directory is a run's own: what is refused changes nothing, what was stopped goes on, and only one writes."""

import contextlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augrad.cli import main
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.runs.directory import only_writer
from small_runs import SMALL

RECIPE = [item for item in SMALL if not item.startswith(("search.", "choose."))]
SEARCH = ["search", *SMALL, "compare=null"]


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, every folder with None."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each command."""
    place = tmp_path_factory.mktemp("made")
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([*SEARCH, "seed=1", "hydra.run.dir=search"]) == 0
        assert main(["train", *RECIPE, "hydra.run.dir=train"]) == 0
        assert main(["compare", *RECIPE, "policies=[none]", "seeds=1", "processes=1", "hydra.run.dir=compare"]) == 0
    return place


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """Copies of them, in the folder where `augrad` is called."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refused(augrad: Callable[..., Any], directory: Path, arguments: list[str], *words: str) -> None:
    before = contents(directory)
    done = augrad(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert contents(directory) == before


def killed(directory: Path, arguments: list[str], name: str, times: int = 1) -> None:
    """Runs a command in a process of its own, which is killed when it calls `augrad.cli.search_run`'s `name`."""
    child = os.fork()
    if child == 0:
        try:
            import augrad.cli.search_run as module

            owner, attribute = (module.SearchRun, name[10:]) if name.startswith("SearchRun.") else (module, name)
            original, calls = getattr(owner, attribute), []

            def counted(*given: Any, **named: Any) -> Any:
                calls.append(None)
                if len(calls) == times:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*given, **named)

            setattr(owner, attribute, counted)
            os.chdir(directory)
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            main(arguments)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def rows(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "step_seconds"} for line in lines]


# --- what is refused changes nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("search.batch_size=64", "search.batch_size=32, got 64"),
        ("search.step=3", "step"),
        ("seed=5", "seed=1, got 5"),
        ("model.width=8", "model.width"),
        ("train.epochs=-5", "epochs"),
        ("train.optimizer.lr=-1.0", "train.optimizer"),
        ("train.optimizer._target_=torch.optim.Nothing", "Nothing"),
        ("standard.cutout=900", "cutout"),
        ("+compare.seeds=three", "compare.seeds"),
        ("tracker=nothing", "nothing"),
        ("device=tpu", "tpu"),
        ("data.train_size=100", "data.train_size=200, got 100"),
        ("data=arrays", "data"),
        ("hydra.run.dir=elsewhere", "its own directory"),
        ("hydra.output_subdir=.hydra", "hydra.output_subdir"),
        ("hydra.output_subdir=mine", "hydra.output_subdir"),
        ("hydra.mode=MULTIRUN", "its own directory"),
        ("--multirun", "--multirun"),
    ],
)
def test_a_refused_resume(augrad, runs: Path, override: str, word: str) -> None:
    extra = ["compare={seeds: 1}"] if override.startswith("+compare") else []
    refused(augrad, runs / "search", ["search", "resume=search", *extra, override.removeprefix("+")], word)
    if override == "hydra.run.dir=elsewhere":
        assert not any(Path("elsewhere").rglob("*"))


@pytest.mark.parametrize("command", ["search", "train", "compare"])
@pytest.mark.parametrize("directory", ["search", "train", "compare"])
def test_another_run_in_a_runs_directory(augrad, runs: Path, command: str, directory: str) -> None:
    lines = {
        "search": [*SEARCH, "seed=2"],
        "train": ["train", *RECIPE],
        "compare": ["compare", *RECIPE, "seeds=1", "processes=1"],
    }
    (runs / "linked").symlink_to(directory)
    verbose = ["hydra.verbose=true", "hydra.job.chdir=true"]
    refused(augrad, runs / directory, [*lines[command], *verbose, "hydra.run.dir=linked"], "holds a run")
    shutil.rmtree(runs / directory / ".hydra")
    if (command, directory) not in (("compare", "train"), ("train", "compare")):  # there, no file would be lost
        refused(augrad, runs / directory, [*lines[command], f"hydra.run.dir={directory}"], "choose another run dir")


def test_a_search_is_taken_up_after_all_that(augrad, runs: Path) -> None:
    for line in (["search", "resume=search", "train.epochs=0"], ["train", *RECIPE, "hydra.run.dir=search"]):
        assert augrad(*line).returncode == 2
    before = rows(runs / "search")
    done = augrad("search", "resume=search")
    assert done.returncode == 0, done.stderr
    assert rows(runs / "search") == before


@pytest.mark.parametrize(
    ("command", "name"),
    [("search", "policy.json"), ("search", "figures/mine.png"), ("train", "model.pt"), ("compare", "comparison.png")]
    + [(command, ".hydra/config.yaml") for command in ("search", "train", "compare")],
)
def test_what_a_user_has_is_not_overwritten(augrad, tmp_path: Path, command: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    refused(augrad, tmp_path, [command, *RECIPE, "hydra.run.dir=."], name.split("/")[0], "choose another run directory")


def test_what_is_not_in_the_way_stays(augrad, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("mine")  # a training writes none
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_text("mine")
    done = augrad("train", *RECIPE, "hydra.run.dir=.")
    assert done.returncode == 0, done.stderr
    made = {"model.pt", "metrics.jsonl", ".hydra", "checkpoint.pt"}
    there = {path.name for path in tmp_path.iterdir()} - {"checkpoint.previous.pt"}  # of a training that took long
    assert {"policy.json", "figures", *made} == there
    assert (tmp_path / "policy.json").read_text() == (tmp_path / "figures" / "mine.png").read_text() == "mine"


def test_a_run_inside_a_runs_directory_is_another(augrad, runs: Path) -> None:
    before = contents(runs / "search")
    done = augrad("train", *RECIPE, "hydra.run.dir=search/train")
    assert done.returncode == 0, done.stderr
    assert {name: data for name, data in contents(runs / "search").items() if not name.startswith("train")} == before


def test_a_mistake_leaves_a_directory_for_the_next_try(augrad, tmp_path: Path, monkeypatch) -> None:
    """Also one that shows only in the first step, when the run had begun."""
    from augrad.errors import UserError

    def training(*arguments: Any, **named: Any) -> None:
        assert (tmp_path / "out" / ".hydra").is_dir()
        raise UserError("no such operation")

    assert augrad("train", *RECIPE, "train.optimizer.lr=-1", "hydra.run.dir=out").returncode == 2
    with monkeypatch.context() as patch:
        patch.setattr("augrad.cli.train.train_classifier", training)
        patch.setattr("augrad.cli.search.run_search", training)
        for line in (["train", *RECIPE], SEARCH):
            assert "no such operation" in augrad(*line, "hydra.run.dir=out").stderr
            assert not (tmp_path / "out").exists()
    assert augrad("train", *RECIPE, "hydra.run.dir=out").returncode == 0


def test_jobs_of_a_sweep_that_share_a_directory(augrad, tmp_path: Path) -> None:
    sweep = ["hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra.job.override_dirname}"]
    exclude = "hydra.job.config.override_dirname.exclude_keys=[seed,train.epochs]"
    done = augrad("train", "--multirun", "data.train_size=200", "train.epochs=1", "seed=1,2", *sweep, exclude)
    assert done.returncode == 2
    assert "holds a run already" in done.stderr
    (only,) = (tmp_path / "sweep").glob("*/metrics.jsonl")
    assert len(rows(only.parent)) == 1
    assert "seed=1" in (only.parent / ".hydra" / "overrides.yaml").read_text()


@pytest.mark.parametrize("subdir", [".", "0"])
def test_a_sweep_in_a_runs_directory(augrad, runs: Path, subdir: str) -> None:
    line = ["train", "--multirun", *RECIPE, "seed=1,2", "hydra.sweep.dir=search", f"hydra.sweep.subdir={subdir}"]
    refused(augrad, runs, line, "holds a run already")


def test_a_sweep_over_somebodys_file(augrad, tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text("mine: 1\n")
    refused(augrad, tmp_path, ["train", "--multirun", *RECIPE, "seed=1,2", "hydra.sweep.dir=."], "multirun.yaml")


# --- one writer -------------------------------------------------------------------------------------------------------


def test_a_run_that_is_being_written(augrad, runs: Path) -> None:
    before = contents(runs / "search")
    with only_writer(runs / "search"):
        done = augrad("search", "resume=search")
    assert done.returncode == 2
    assert f"process {os.getpid()} on" in done.stderr
    assert contents(runs / "search") == before


@pytest.mark.parametrize("command", ["search", "train", "compare"])
def test_an_empty_directory_that_another_run_is_taking(augrad, tmp_path: Path, command: str) -> None:
    (tmp_path / "out").mkdir()
    with only_writer(tmp_path / "out"):
        done = augrad(command, *RECIPE, "hydra.run.dir=out")
    assert done.returncode == 2
    assert "is writing in this run directory" in done.stderr
    assert not any((tmp_path / "out").iterdir())


def test_runs_of_one_second_have_directories_of_their_own(augrad, tmp_path: Path) -> None:
    for seed in range(2):
        assert augrad("train", *RECIPE, f"seed={seed}").returncode == 0
    names = [path.name for path in (tmp_path / "runs" / "train").glob("*/*")]
    assert len(names) == 2
    assert all(len(name.split("-")) == 4 and len(name.split("-")[3]) == 6 for name in names), names


# --- what was stopped goes on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("SearchRun.rows", 1),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("save_checkpoint", 1), ("MetricsLog", 1), ("SearchRun.rows", 2), ("save_checkpoint", 2))
        ),
    ],
)
def test_a_killed_run_goes_on_to_the_same_end(augrad, runs: Path, name: str, times: int) -> None:
    line = [*SEARCH, "seed=1", "hydra.run.dir=cut"]
    killed(runs, line, name, times)
    refused(augrad, runs / "cut", line, "holds a run already", "resume=")
    done = augrad("search", "resume=cut")
    assert done.returncode == 0, done.stderr
    assert rows(runs / "cut") == rows(runs / "search")
    saved, whole = (load_checkpoint(runs / run / "checkpoint.pt")["state"] for run in ("cut", "search"))
    assert all(torch.equal(tensor, whole["model"][key]) for key, tensor in saved["model"].items())
    assert not list((runs / "cut").glob(".augrad-lock"))


def test_killed_while_it_took_the_directory(augrad, tmp_path: Path) -> None:
    """Before the record there is nothing of a run: the same command begins it."""
    killed(tmp_path, [*SEARCH, "hydra.run.dir=cut"], "new_run")
    assert not any((tmp_path / "cut").iterdir())
    (tmp_path / "cut" / ".augrad-lock").touch()
    (tmp_path / "cut" / ".hydra.0123.tmp").mkdir()
    assert augrad("train", *RECIPE, "hydra.run.dir=cut").returncode == 0


@pytest.mark.parametrize("form", ["search/checkpoint.pt", "{}/search", "./search/"])
def test_ways_to_name_a_run(augrad, runs: Path, form: str) -> None:
    done = augrad("search", f"resume={form.format(runs)}", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "resume: " in done.stdout


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("search/policy.json", "a file"),
        ("search/.hydra", "not a run directory"),
        ("train", "the directory of augrad train"),
        ("compare", "the directory of augrad compare"),
        (".", "not a run directory"),
        ("nowhere", "no such directory"),
    ],
)
def test_what_is_no_search(augrad, runs: Path, given: str, word: str) -> None:
    refused(augrad, runs, ["search", f"resume={given}"], word)


def test_a_training_that_was_stopped_is_no_search(augrad, runs: Path) -> None:
    for name in ("metrics.jsonl", "model.pt"):
        (runs / "train" / name).unlink()
    refused(augrad, runs, ["search", "resume=train"], "the directory of augrad train")


@pytest.mark.parametrize(
    ("lost", "word"), [("checkpoint.pt", "no checkpoint.pt"), (".hydra", ".hydra"), (".hydra/overrides.yaml", ".hydra")]
)
def test_a_run_that_lost_a_part(augrad, runs: Path, lost: str, word: str) -> None:
    (runs / "search" / lost).rename(runs / "lost")
    refused(augrad, runs, ["search", "resume=search"], word)


def test_metrics_that_are_damaged_in_the_middle(augrad, runs: Path) -> None:
    metrics = runs / "search" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('{"step":3', '{"step" 3'))
    refused(augrad, runs, ["search", "resume=search"], "metrics.jsonl: line 3")


@pytest.mark.parametrize(
    "case", ["behind", *(pytest.param(case, marks=pytest.mark.slow) for case in ("torn", "ahead", "gone"))]
)
def test_metrics_and_checkpoint_that_differ(augrad, runs: Path, case: str) -> None:
    """The checkpoint counts: rows after it are made again, rows before it that are lost are told."""
    whole, metrics = rows(runs / "search"), runs / "search" / "metrics.jsonl"
    if case == "torn":
        metrics.write_bytes(metrics.read_bytes() + b'{"step": 7, "tr')
    elif case == "ahead":
        metrics.write_bytes(metrics.read_bytes() + b'{"step": 7}\n{"step": 8}\n')
    elif case == "behind":
        metrics.write_text("".join(line + "\n" for line in metrics.read_text().splitlines()[:4]))
    else:
        metrics.unlink()
    done = augrad("search", "resume=search")
    assert done.returncode == 0, done.stderr
    assert rows(runs / "search") == {"behind": whole[:4], "gone": []}.get(case, whole)
    log = runs / "search" / "search.log"
    assert ("are lost" in log.read_text()) if case in ("behind", "gone") else not log.exists()


# --- a checkpoint of something else -----------------------------------------------------------------------------------


def content(**changes: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes entries of a checkpoint: `state__model=f` puts f(saved["state"]["model"]) there; None takes it away."""

    def change(saved: dict[str, Any]) -> dict[str, Any]:
        for name, function in changes.items():
            *way, last = name.split("__")
            place = saved
            for key in way:
                place = place[key]
            if (value := function(place[last])) is None:
                del place[last]
            else:
                place[last] = value
        return saved

    return change


def each(function: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda entries: {key: function(value) for key, value in entries.items()}


OTHER_CONTENT = {
    "NaN in the model": (content(state__model=each(lambda t: t * torch.nan if t.is_floating_point() else t)), "NaN"),
    "NaN in the policy": (content(state__policy=each(lambda tensor: tensor * torch.nan)), "state.policy"),
    "NaN as the best loss": (content(state__best_loss=lambda loss: float("nan")), "state.best_loss"),
    "another model": (content(state__model=each(lambda tensor: tensor[None])), "state.model"),
    "half a model": (content(state__model=lambda model: dict(list(model.items())[::2])), "lacks"),
    "more than a model": (content(state__model=lambda model: {**model, "more": torch.ones(1)}), "more"),
    "another type": (content(state__policy=each(lambda tensor: tensor.half())), "float16"),
    "no generator": (content(state__generator=lambda state: None), "generator"),
    "a generator that is none": (content(state__generator=torch.zeros_like), "this checkpoint does not fit"),
    "an optimiser without memory": (content(state__optimizer__state=lambda state: {}), "state.optimizer.state"),
    "an optimiser of less": (content(state__optimizer__param_groups=lambda groups: []), "param_groups"),
    "other memory": (content(state__optimizer__state=each(each(lambda tensor: tensor[:1]))), "momentum_buffer"),
    "half the best policy": (content(state__best_params=lambda best: dict(list(best.items())[:2])), "best_params"),
    "no best policy": (content(state__best_params=lambda best: {}), "best_params"),
    "a step that is text": (content(state__step=lambda step: "6"), "state.step"),
    "a step of a half": (content(state__step=lambda step: 5.5), "step"),
    "a step before the first": (content(state__step=lambda step: -1), "step"),
    "a step after the last": (content(state__step=lambda step: 7), "step 7"),
    "no signal": (content(state__signal=lambda signal: {}), "state.signal"),
    "no state": (content(state=lambda state: None), "not a search's checkpoint"),
    "a list": (content(state=lambda state: []), "not a search's checkpoint"),
    "no configuration": (content(config=lambda config: None), "not a search's checkpoint"),
    "an empty configuration": (content(config=lambda config: {}), "the run was started with"),
    "other data": (content(origin__data=lambda digest: "0" * 64), "other content of its data"),
    "another policy": (content(origin__policy=lambda digest: "0" * 64), "other content of its policy"),
}


def without(*path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The same without a setting that there was not yet."""

    def change(config: dict[str, Any]) -> dict[str, Any]:
        first, *rest = path
        if rest:
            return {**config, first: without(*rest)(config[first])}
        return {name: value for name, value in config.items() if name != first}

    return change


@pytest.mark.parametrize(
    ("path", "given"),
    [
        (("search", "rounds"), "search.rounds=2"),
        (("search", "warmup_share"), "search.warmup_share=0.5"),
        (("search", "cuda_graphs"), "search.cuda_graphs=false"),
        (("objective", "draws"), "objective.draws=2"),
        (("search", "optimizer", "nesterov"), None),  # the default is another value than the run's
    ],
)
def test_a_run_from_before_a_setting_existed_had_its_default(
    augrad, runs: Path, path: tuple[str, ...], given: str | None
) -> None:
    file = runs / "search" / "checkpoint.pt"
    save_checkpoint(file, content(config=without(*path))(load_checkpoint(file)))
    refused(augrad, runs, ["search", "resume=search", *([given] if given else [])], ".".join(path))
    if given:
        assert augrad("search", "resume=search").returncode == 0


@pytest.mark.parametrize("name", OTHER_CONTENT)
def test_the_right_frame_with_other_content(augrad, runs: Path, name: str) -> None:
    change, word = OTHER_CONTENT[name]
    path = runs / "search" / "checkpoint.pt"
    save_checkpoint(path, change(load_checkpoint(path)))
    refused(augrad, runs, ["search", "resume=search"], word)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran_from_the_checkpoint",)


def bombs(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps({"format": "augrad.checkpoint", "state": _Bomb()}))
    elif kind == "code":
        torch.save({"format": "augrad.checkpoint", "version": 1, "state": _Bomb()}, path)
    elif kind == "another version":
        torch.save({"format": "augrad.checkpoint", "version": 99, "state": {}}, path)
    elif kind == "deflated":
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
    elif kind == "lists of lists":
        heap: list[Any] = [0]
        for _ in range(60):
            heap = [heap] * 2
        save_checkpoint(path, {**load_checkpoint(path), "config": {"seed": heap}})


@pytest.mark.parametrize("kind", ["truncated", "a pickle", "code", "another version", "deflated", "lists of lists"])
def test_files_that_are_no_checkpoints(augrad, runs: Path, kind: str) -> None:
    bombs(runs / "search" / "checkpoint.pt", kind)
    (runs / "search" / "checkpoint.previous.pt").unlink()
    refused(augrad, runs, ["search", "resume=search"])


def test_a_checkpoint_that_is_cut_off_gives_way_to_the_one_before_it(augrad, runs: Path) -> None:
    before, was = rows(runs / "search"), load_checkpoint(runs / "search" / "checkpoint.pt")["state"]
    bombs(runs / "search" / "checkpoint.pt", "truncated")
    done = augrad("search", "resume=search")
    assert done.returncode == 0, done.stderr
    assert "goes on from the one before it, checkpoint.previous.pt" in done.stderr
    assert rows(runs / "search") == before
    now = load_checkpoint(runs / "search" / "checkpoint.pt")["state"]
    assert all(torch.equal(tensor, was["model"][key]) for key, tensor in now["model"].items())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk in memory: called with a size, it is made, or made larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def of_size(size: str) -> Path:
        options = f"remount,size={size}" if os.path.ismount(place) else f"size={size}"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True).returncode:
            pytest.skip("mounting a disk needs root")
        return place

    yield of_size
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_a_run_that_goes_on_where_there_is_room(
    augrad, runs: Path, small_disk: Callable[[str], Path]
) -> None:
    size = (runs / "search" / "checkpoint.pt").stat().st_size
    place = small_disk(f"{2 * size // 1024}k")  # for one checkpoint, and not for the next beside it
    done = augrad(*SEARCH, "seed=1", f"hydra.run.dir={place}/cut")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    small_disk("64m")
    done = augrad("search", f"resume={place}/cut")
    assert done.returncode == 0, done.stderr
    assert rows(place / "cut") == rows(runs / "search")


@pytest.mark.slow
def test_data_and_policy_of_the_same_name(augrad, tmp_path: Path, monkeypatch) -> None:
    """Relative paths mean what they meant at the start; other content under the same name is refused."""
    digits = np.random.default_rng(0)

    def write(brightest: int) -> None:
        labels = np.arange(120) % 3
        pictures = digits.integers(0, brightest + 1, (120, 12, 12), dtype=np.uint8)
        np.savez(tmp_path / "x.npz", train_images=pictures, train_labels=labels)

    def write_policy(high: float) -> None:
        slot = {"op": "rotate", "unit": "degree", "signed": True, "probability": 0.5, "weight": 1.0,
                "magnitude": {"low": 0.0, "high": high, "location": 0.0, "scale": 1.0}}  # fmt: skip
        stages = [{"weight": 1.0, "stages": [[slot]]}]
        head = {"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0}
        (tmp_path / "p.json").write_text(json.dumps({**head, "subpolicies": stages}))

    write(255)
    write_policy(30.0)
    right = (tmp_path / "x.npz").read_bytes()
    parts = ["data=arrays", "data.path=x.npz", "policy=file", "policy.file=p.json", "model.width=16", "compare=null"]
    small = [item for item in SMALL if item.startswith("search.")]
    done = augrad("search", *small, *parts, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    run = (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.savez("x.npz", train_images=np.zeros((9, 12, 12), np.uint8), train_labels=np.arange(9) % 3)
    for _ in range(2):  # the second time from a record that the first one wrote
        done = augrad("search", "resume=../moved")
        assert done.returncode == 0, done.stderr
        assert Path.cwd() == tmp_path / "elsewhere"
    write(9)
    refused(augrad, run, ["search", "resume=../moved"], "other content of its data")
    (tmp_path / "x.npz").write_bytes(right)
    write_policy(45.0)
    refused(augrad, run, ["search", "resume=../moved"], "other content of its policy")
