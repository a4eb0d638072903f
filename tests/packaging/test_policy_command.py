"""augrad policy: what it prints, what it writes, and how it ends."""

import json
from pathlib import Path

import pytest

import augrad
from augrad.cli.policy_command import main
from augrad.policy_file.convert import read_document


def test_list_names_every_built_in_policy_and_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(augrad.builtin_policies())
    assert "    searched on: CIFAR-100" in lines
    assert max(map(len, lines)) <= 110


def test_a_list_goes_out_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed, back = tmp_path / "list.json", tmp_path / "back.json"
    assert main(["convert", "fast_autoaugment_svhn", "--to", "genotype", "-o", str(listed)]) == 0
    assert main(["convert", str(listed), "--from", "genotype", "-o", str(back)]) == 0
    assert read_document(back).subpolicies == read_document("fast_autoaugment_svhn").subpolicies
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("lost: ") == 2  # one kind of loss on each way, however many places
    assert "more places: the square is grey" in captured.err


@pytest.mark.parametrize(
    ("to", "ending"), [("albumentations", "json"), ("albumentations", "yaml"), ("genotype", "json")]
)
def test_what_is_strict_leaves_no_file(
    to: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"out.{ending}"
    assert main(["convert", "dada_svhn", "--to", to, "--strict", "-o", str(path)]) == 2
    assert "expected that nothing is lost, got subpolicies[" in capsys.readouterr().err
    assert not path.exists()
    assert main(["convert", "dada_svhn", "--to", to, "-o", str(path)]) == 0
    text = path.read_text()
    assert text.startswith({"json": ("{", "["), "yaml": "__version__"}[ending])
    if ending == "json":
        json.loads(text)


def test_a_configuration_of_timm_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "original-mstd0.5", "--from", "timm"]) == 0
    (tmp_path / "policy.json").write_text(capsys.readouterr().out)
    assert augrad.load_policy(tmp_path / "policy.json").shape == (25, 2, 1)
    assert main(["convert", "nothing", "--from", "timm"]) == 2
    assert "expected a configuration of timm" in capsys.readouterr().err


def test_policies_are_merged_and_pruned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "both.json"
    assert main(["merge", "dada_svhn", "autoaugment_svhn", "--weights", "3", "1", "-o", str(path)]) == 0
    assert augrad.load_policy(path).shape == (50, 2, 1)
    assert main(["merge", "randaugment", "dada_svhn", "--weights", "1", "-o", str(path)]) == 2
    assert "expected 2 weights of at least 0" in capsys.readouterr().err
    assert augrad.load_policy(path).shape == (50, 2, 1)
    assert main(["prune", str(path), "--below", "0.02"]) == 0
    assert len(json.loads(capsys.readouterr().out)["subpolicies"]) == 25
    assert main(["prune", str(path), "--below", "7"]) == 2
    assert "expected a share from 0 to 1, got 7" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["convert", "identity", "--to", "genotype", "-o", str(tmp_path / "file" / "list.json")]) == 2
    assert "cannot write this file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
