"""Checkpoints: exact, atomic, never a program, and clear about what they are not."""

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from augrad.errors import UserError
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def _training_state() -> dict[str, Any]:
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(4, 3)).square().mean().backward()
    optimiser.step()
    generator = torch.Generator().manual_seed(3)
    return {
        "step": 7,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "position": (1, [2.5, None, True], {"epoch": "three"}),
        "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    }


def test_a_training_state_comes_back_bit_by_bit(path: Path):
    state = _training_state()
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded.keys() == state.keys()
    assert loaded["step"] == 7
    assert loaded["position"] == state["position"]
    for name, tensor in state["model"].items():
        assert torch.equal(loaded["model"][name], tensor)
    assert torch.equal(loaded["half"].view(torch.int16), state["half"].view(torch.int16))
    assert torch.equal(loaded["generator"], state["generator"])
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    optimiser.load_state_dict(loaded["optimiser"])
    assert optimiser.param_groups[0]["lr"] == 0.1
    for index, values in state["optimiser"]["state"].items():
        for name, value in values.items():
            assert torch.equal(optimiser.state_dict()["state"][index][name], value)


def test_saving_again_replaces_and_leaves_nothing_else(path: Path):
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 2}
    assert os.listdir(path.parent) == ["checkpoint.pt"]


def test_what_could_not_be_loaded_is_not_saved(path: Path):
    save_checkpoint(path, {"step": 1})
    with pytest.raises(TypeError, match=r"fractions\.Fraction"):
        save_checkpoint(path, {"step": Fraction(1, 2)})
    assert load_checkpoint(path) == {"step": 1}


def test_missing_or_a_folder(tmp_path: Path):
    with pytest.raises(UserError, match=r"none.pt: cannot read this checkpoint \(No such file or directory\)"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"\(Is a directory\); expected the checkpoint.pt of a run"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"P", b"hello, world", b"\x80\x02}q\x00."])
def test_other_files(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint.pt: no checkpoint, or a damaged one"):
        load_checkpoint(path)


def test_a_checkpoint_cut_anywhere_is_refused(path: Path):
    save_checkpoint(path, _training_state())
    whole = path.read_bytes()
    for length in range(4, len(whole), len(whole) // 37):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"checkpoint.pt: this checkpoint is damaged"):
            load_checkpoint(path)


def test_flipped_bits_in_the_tensors_do_not_pass(path: Path):
    marker = torch.full((1000,), 0.7391)
    save_checkpoint(path, {"weights": marker})
    whole = bytearray(path.read_bytes())
    at = whole.index(marker.numpy().tobytes()[:400]) + 123
    whole[at] ^= 0x10
    path.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran_from_the_checkpoint",)


@pytest.mark.parametrize("state", [_Evil(), Fraction(1, 3), torch.nn.Linear(1, 1)])
def test_foreign_objects_are_refused_and_never_run(
    path: Path, state: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "augrad.checkpoint", "version": 1, "state": {"x": state}}, path)
    with pytest.raises(UserError, match="it holds Python objects, which are never loaded"):
        load_checkpoint(path)
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, [1], torch.ones(2), {"format": "augrad.checkpoint", "version": 1}]
)
def test_other_peoples_checkpoints(path: Path, content: object):
    torch.save(content, path)
    with pytest.raises(UserError, match="not a checkpoint of augrad"):
        load_checkpoint(path)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_other_versions(path: Path, version: object):
    torch.save({"format": "augrad.checkpoint", "version": version, "state": {}}, path)
    with pytest.raises(UserError, match=f"checkpoint version {version!r}, this augrad reads 1 to 1"):
        load_checkpoint(path)


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/checkpoint.pt"):
        save_checkpoint(tmp_path / "file" / "checkpoint.pt", {"step": 1})


def test_the_format_on_disk(path: Path):
    save_checkpoint(path, {"step": 1})
    content = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
    assert content == {"format": "augrad.checkpoint", "version": 1, "state": {"step": 1}}
