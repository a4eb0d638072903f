"""wandb as a guest, for real: offline runs are parsed from its own files, failures end in one warning.

What starts wandb runs in a process of its own with an empty home, because wandb keeps state for the life of a process.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from augrad.errors import UserError
from augrad.runs.trackers import NoTracker, Tracker
from augrad.runs.wandb_tracker import WandbTracker, group_of

_RUN = """
import json, logging, random, sys
from pathlib import Path
import numpy, torch
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
from PIL import Image
from augrad.runs.wandb_tracker import WandbTracker

directory, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def randomness():
    return random.getstate(), numpy.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()
before = randomness()
tracker = WandbTracker(**json.loads(sys.argv[4]))
tracker.start({"search": {"steps": 12}, "seed": 3}, directory)
for step in range(first, last):
    tracker.log({"step": step, "train_loss": 100.0 - step, "missing": None}, step)
Image.new("RGB", (8, 6), "white").save(directory / "evolution.png")
(directory / "policy.json").write_text('{"format": "augrad.policy"}')
tracker.finish({"evolution": directory / "evolution.png"}, directory / "policy.json", {"test_accuracy": 0.75})
tracker.log({"step": last}, last)
print("went on", randomness() == before)
"""


def _run(directory: Path, home: Path, first: int = 0, last: int = 4, options: Any = None, **environment: str):
    home.mkdir(exist_ok=True)
    directory.mkdir(exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN, str(directory), str(first), str(last), json.dumps(options or {})],
        env={**clean, "HOME": str(home), "NETRC": str(home / "netrc"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "went on True" in result.stdout
    return result


def _records(directory: Path, part: int = 0) -> list[Any]:
    """The records of an offline run: protocol buffers in LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    files = sorted(directory.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    data = files[part].read_bytes()
    assert data[:4] == b":W&B"

    def fragments() -> Iterator[tuple[int, bytes]]:
        at = 7
        while at < len(data):
            if 32768 - at % 32768 < 7:  # no header fits into the rest of the block
                at += 32768 - at % 32768
                continue
            _, size, kind = struct.unpack_from("<IHB", data, at)
            yield kind, data[at + 7 : at + 7 + size]
            at += 7 + size

    records, pieces = [], b""
    for kind, piece in fragments():  # 1: whole, 2: first, 3: middle, 4: last
        pieces = piece if kind in (1, 2) else pieces + piece
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            records.append(record)
    return records


def _history(records: list[Any]) -> list[dict[str, Any]]:
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]


@pytest.mark.slow
def test_offline_everything_is_in_wandbs_file_and_a_resume_keeps_the_id(tmp_path: Path):
    directory, home = tmp_path / "run", tmp_path / "home"
    options = {"name": "my run", "group": "g", "tags": ["a", "b"]}
    result = _run(directory, home, options={**options, "mode": "offline"}, WANDB_RUN_ID="chosen-id")
    assert "WARNING" not in result.stderr
    (folder,) = directory.glob("wandb/offline-run-*")
    assert f"wandb: {folder}; to upload it: wandb sync {folder}" in result.stderr
    records = _records(directory)

    run = next(record.run for record in records if record.HasField("run"))
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["search"] == {"steps": 12}
    assert config["seed"] == 3
    assert (run.project, run.display_name, run.run_group, list(run.tags)) == ("augrad", "my run", "g", ["a", "b"])

    history = _history(records)
    assert [(row["_step"], row["train_loss"]) for row in history] == [(step, 100.0 - step) for step in range(4)]
    assert not any("missing" in row for row in history)
    folder = next(directory.glob("wandb/offline-run-*"))
    image = next(row["figures/evolution/path"] for row in history if "figures/evolution/path" in row)
    assert (folder / "files" / image).read_bytes() == (directory / "evolution.png").read_bytes()

    artifact = next(record.artifact for record in records if record.HasField("artifact"))
    assert artifact.type == "policy"
    (entry,) = artifact.manifest.contents
    assert entry.path == "policy.json"
    assert Path(entry.local_path).is_relative_to(directory)
    assert Path(entry.local_path).read_bytes() == (directory / "policy.json").read_bytes()

    summary = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records
        if record.HasField("summary")
        for item in record.summary.update
    }
    assert summary["test_accuracy"] == 0.75

    _run(directory, home, first=4, last=6, options=options, WANDB_MODE="offline")
    again = _records(directory, part=1)
    assert (directory / "wandb_run_id.txt").read_text() == "chosen-id\n"
    assert run.run_id == "chosen-id"
    assert next(record.run for record in again if record.HasField("run")).run_id == "chosen-id"
    assert [row["train_loss"] for row in _history(again)] == [96.0, 95.0]


def test_the_runs_of_a_sweep_are_a_group(tmp_path: Path):
    sweep = tmp_path / "2026-01-02" / "03-04-05"
    (sweep / "0").mkdir(parents=True)
    assert group_of(sweep / "0") is None
    (sweep / "multirun.yaml").touch()
    assert group_of(sweep / "0") == "2026-01-02/03-04-05"


def test_no_key_is_one_warning_and_no_question(tmp_path: Path):
    result = _run(tmp_path / "run", tmp_path / "home", WANDB_BASE_URL=_closed_port())
    assert result.stderr.count("WARNING") == 1
    assert "the run goes on without it: no API key; run `wandb login`, set WANDB_API_KEY" in result.stderr


@pytest.mark.slow
def test_no_server_is_one_warning_soon(tmp_path: Path):
    begin = time.monotonic()
    result = _run(
        tmp_path / "run",
        tmp_path / "home",
        options={"init_timeout": 2},
        WANDB_BASE_URL=_closed_port(),
        WANDB_API_KEY="0" * 40,
    )
    assert time.monotonic() - begin < 60
    assert result.stderr.count("WARNING augrad.runs.wandb_tracker wandb failed, the run goes on without it") == 1


def test_no_wandb_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setitem(sys.modules, "wandb", None)  # makes its import fail
    tracker = WandbTracker()
    tracker.start({}, tmp_path)
    tracker.log({"step": 0, "loss": 1.0}, 0)
    tracker.finish({}, None, {})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the run goes on without it" in caplog.messages[0]


def test_a_directory_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    tracker = WandbTracker(mode="offline")
    tracker.start({}, tmp_path / "file" / "run")
    tracker.log({"step": 0, "loss": 1.0}, 0)
    tracker.finish({}, None, {})
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError, match="expected one of online, offline, disabled, got 'onlin'"):
        WandbTracker(mode="onlin")


def test_both_are_trackers(tmp_path: Path):
    trackers: list[Tracker] = [NoTracker(), WandbTracker(mode="disabled")]
    for tracker in trackers:
        tracker.start({"seed": 0}, tmp_path)
        tracker.log({"step": 0}, 0)
        tracker.finish({}, None, {})
    assert os.listdir(tmp_path) == []


def _closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
