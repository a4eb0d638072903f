"""Damaged documents of other libraries are policies that work, or refused: see tests/policy_file/test_corpus.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from augrad import UserError
from augrad.interop.albumentations import from_albumentations
from augrad.interop.timm import from_timm

SCRIPT = Path(__file__).parents[1] / "interop_corpus.py"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and limits of memory")
@pytest.mark.parametrize(
    ("reader", "documents"),
    [
        ("genotype", 1000),
        ("albumentations", 1000),
        pytest.param("albumentations, YAML", 100, marks=pytest.mark.slow),
        pytest.param("timm", 60, marks=pytest.mark.slow),
    ],
)
def test_damaged_documents_are_policies_or_refused_in_words(reader: str, documents: int, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, SCRIPT, reader, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    report = json.loads(ended.stdout)
    assert report["failures"][:5] == []
    assert report["documents"] >= documents
    assert report["accepted"] > documents / 20


# --- what it found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["1000000", "9" * 400])
def test_a_million_layers_are_refused_before_they_are_made(count: str) -> None:
    with pytest.raises(UserError, match="from_timm: expected at most 16 layers, got more"):
        from_timm(f"rand-m9-n{count}")


@pytest.mark.parametrize("node", [[], None, 3, "NoOp", {}])
def test_a_choice_among_what_is_no_transform_is_refused(node: object) -> None:
    choice = {"__class_fullname__": "OneOf", "transforms": [node]}
    document = {"__version__": "2.0.8", "transform": {"__class_fullname__": "Compose", "transforms": [choice]}}
    with pytest.raises(UserError, match="expected transforms with their class, got"):
        from_albumentations(document)


def test_what_is_wrong_with_yaml_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("\ufeff\ufeff{a: 1\n, b: [}")
    with pytest.raises(UserError, match="expected a document of Albumentations, got none: ") as caught:
        from_albumentations(path)
    assert str(caught.value).isprintable()
