"""TensorBoard as a guest, read back with TensorBoard's own reader."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from augrad.errors import UserError
from augrad.runs.tensorboard_tracker import TensorBoardTracker
from augrad.runs.trackers import Tracker
from problems import shapes_unchecked

pytest.importorskip("tensorboard")

_READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"tensors": 0, "images": 0, "scalars": 0}).Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in tags["scalars"]},
    "images": {tag: [(one.step, one.width, one.height) for one in events.Images(tag)] for tag in tags["images"]},
    "texts": {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in tags["tensors"]},
}))
"""


def read(folder: Path) -> dict:
    """In a process of its own: TensorBoard brings much along."""
    done = subprocess.run([sys.executable, "-c", _READ, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_written_is_there_and_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first = TensorBoardTracker()
    assert isinstance(first, Tracker)
    first.start({"search": {"steps": 4}}, tmp_path)
    for step in (1, 2, 3):
        first.log({"step": step, "train_loss": 1.0 / step, "val_loss": None, "name": "x", "nan": float("nan")}, step)
    first._writer.close()  # as the end of a process does

    again = TensorBoardTracker()
    again.start({"search": {"steps": 4}}, tmp_path)
    for step in (3, 4):  # the checkpoint was of step 2
        again.log({"step": step, "train_loss": 10.0 * step}, step)
    Image.new("RGB", (8, 6), "white").save(tmp_path / "a.png")
    (tmp_path / "policy.json").write_text('{"format": "augrad.policy"}')
    again.finish({"examples": tmp_path / "a.png"}, tmp_path / "policy.json", {"test_accuracy/learned": 0.75})
    assert torch.equal(before, torch.get_rng_state())

    found = read(tmp_path / "tensorboard")
    assert found["scalars"] == {"train_loss": [[1, 1.0], [2, 0.5], [3, 30.0], [4, 40.0]]}
    assert found["images"] == {"figures/examples": [[4, 8, 6]]}
    assert '"format": "augrad.policy"' in found["texts"]["policy/text_summary"]
    assert '"test_accuracy/learned": 0.75' in found["texts"]["summary/text_summary"]
    assert '"steps": 4' in found["texts"]["configuration/text_summary"]


@pytest.mark.parametrize("folder", ["", ".", "/tmp", "../elsewhere", 3])
def test_a_folder_elsewhere_is_refused(folder: str) -> None:
    with pytest.raises(UserError, match=r"^tracker\.folder: expected the name of a folder"), shapes_unchecked():
        TensorBoardTracker(folder)
