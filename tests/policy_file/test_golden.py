"""Golden files of every released version: whatever the format can say, loaded, written and drawn from as ever."""

import json
from typing import Any, get_args

import pytest
import torch

from augrad import load_policy, save_policy
from augrad.ops.spec import Unit
from augrad.policy_file import Magnitude, format_policy, read_policy
from golden_draws import ALLOWED, GOLDEN, RECORDS, fingerprints

NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))


def _needs(name: str) -> None:
    if "definitions" in name:
        pytest.importorskip("kornia")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_and_written_byte_for_byte(name: str, tmp_path: Any) -> None:
    _needs(name)
    path = GOLDEN / f"{name}.json"
    content = path.read_bytes()
    assert format_policy(read_policy(path)).encode() == content
    save_policy(load_policy(path, ALLOWED), tmp_path / "saved.json")
    # An end that is drawn without any spread is written as the end that it is.
    lines = [line for line in content.splitlines() if b'"scale": 0.0' not in line]
    saved = (tmp_path / "saved.json").read_bytes().splitlines()
    assert [line for line in saved if line in lines] == lines
    assert len(saved) == len(content.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_what_it_always_drew(name: str) -> None:
    _needs(name)
    recorded = torch.tensor(json.loads((RECORDS / f"{name}.json").read_bytes()), dtype=torch.float64)
    assert len(recorded.unique(dim=0)) == len(recorded)
    torch.testing.assert_close(torch.tensor(fingerprints(name), dtype=torch.float64), recorded, rtol=0, atol=1e-7)


def test_the_files_of_version_1_say_whatever_the_format_can() -> None:
    documents = [read_policy(GOLDEN / f"{name}.json") for name in NAMES if name.startswith("version_1")]
    entries = [entry for document in documents for entry in document.entries()]
    kinds = {entry.magnitude for entry in entries if entry.magnitude is not None}
    assert {type(kind) for kind in kinds} == {kind_of(part) for part in get_args(get_args(Magnitude)[0])}
    assert {entry.unit for entry in entries} == {None, *get_args(Unit)}
    assert {(entry.unit, entry.signed) for entry in entries} >= {("strength", True), ("strength", False)}
    assert {document.interpolation for document in documents} == {"bilinear", "nearest"}
    assert any(document.definitions for document in documents)
    shapes = [{tuple(map(len, sub.stages)) for sub in document.subpolicies} for document in documents]
    assert any(len(shape) > 1 for shape in shapes)
    assert any(entry.probability == 0 for entry in entries)
    assert any(document.provenance for document in documents)


def kind_of(annotated: Any) -> type:
    return get_args(annotated)[0]
