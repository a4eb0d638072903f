"""augrad policy: what it prints, what it writes, and how it ends."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

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
    assert "expected a place for a policy file, got none: Not a directory" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_show_prints_the_heaviest_operations_and_all_if_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dada_cifar10"]) == 0
    short = capsys.readouterr().out.splitlines()
    assert short[0].startswith("dada_cifar10: Li et al. 2020, DADA")
    assert short[-1] == "20 more left out, the largest share 2.9%; --all shows them"
    assert main(["show", "dada_cifar10", "--all"]) == 0
    every = capsys.readouterr().out.splitlines()
    assert len(every) == len(short) + 19
    assert not any("\x1b" in line for line in [*short, *every])


def test_show_is_the_same_in_a_file_wherever_it_is_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["show", "trivialaugment_wide"]) == 0
    out = capsys.readouterr().out
    assert "color          factor 0.01–1.99" in out
    monkeypatch.setenv("TERM", "dumb")
    assert main(["show", "trivialaugment_wide"]) == 0
    assert capsys.readouterr().out == out


def test_a_page_is_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "not there yet" / "a page.html"
    assert main(["show", "randaugment", "--html", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"page: '{out}'\n"
    assert captured.err == ""
    html = out.read_text("utf-8")
    assert html.rstrip().endswith("</html>")
    assert "flower.jpg by vultilion" in html
    assert [path.name for path in out.parent.iterdir()] == ["a page.html"]


def test_a_page_has_the_pictures_that_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "page.html"
    pictures.mkdir()
    Image.new("RGB", (32, 32), "red").save(pictures / "mine <b>.png")
    (pictures / "broken.jpg").write_text("x")
    assert main(["show", "randaugment", "--html", str(out), "--images", str(pictures)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"{pictures}: left out 1 pictures that cannot be read: broken.jpg (no picture)\n"
    assert "1 picture of 32 × 32 pixels: mine &lt;b&gt;.png." in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere"], "nowhere: expected a folder of pictures, found no such folder"),
        (["--images", "empty"], "empty: expected pictures"),
        (["--allow", "mypackage", "--images", ""], "a name that is not empty"),
    ],
)
def test_no_page_of_bad_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["show", "identity", "--html", "page.html", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("augrad policy show: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_options_of_the_page_need_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images", "allow"):
        assert main(["show", "identity", f"--{name}", str(tmp_path)]) == 2
        assert f"--{name}: expected it with --html" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "page.html", tmp_path):
        assert main(["show", "identity", "--html", str(out)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "cannot write this file" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_page_imports_what_is_allowed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, policy, out = tmp_path / "my_dimming.py", tmp_path / "policy.json", tmp_path / "page.html"
    marker = tmp_path / "imported"
    module.write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "def dim(images, magnitude):\n    return images * (1 - magnitude[:, None, None, None])\n"
    )
    entry = {"op": "my_dimming.dim", "unit": "factor", "magnitude": {"value": 0.5}, "probability": 1.0, "weight": 1.0}
    policy.write_text(
        json.dumps(
            {
                "format": "augrad.policy",
                "version": 1,
                "interpolation": "bilinear",
                "fill": 0.0,
                "definitions": {"my_dimming.dim": {"low": 0.0, "high": 0.9, "unit": "factor"}},
                "subpolicies": [{"weight": 1.0, "stages": [[entry]]}],
            }
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    page = ["show", str(policy), "--html", str(out)]
    assert main(["show", str(policy)]) == 0
    assert main(page) == 0
    assert not marker.exists()
    assert "it: --allow my_dimming." in out.read_text("utf-8")
    assert "data:image" not in out.read_text("utf-8")
    before = out.read_bytes()
    assert main([*page, "--allow", "another"]) == 2
    assert "expected operations of allowed modules only (another)" in capsys.readouterr().err
    assert not marker.exists()
    assert out.read_bytes() == before
    try:
        assert main([*page, "--allow", "my_dimming"]) == 0
    finally:
        sys.modules.pop("my_dimming", None)
    assert marker.exists()
    assert "--allow" not in out.read_text("utf-8")
    assert out.read_text("utf-8").count("data:image") == 20  # two pictures: with 7 draws, and the operation alone
