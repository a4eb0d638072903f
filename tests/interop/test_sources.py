"""Where policies of other libraries are from: in their provenance, and in messages."""

import json
from pathlib import Path

import pytest
from torchvision.transforms import v2

import augrad
from augrad import UserError
from augrad.cli.policy_command import main
from augrad.interop.albumentations import from_albumentations, serialized, to_albumentations
from augrad.interop.genotype import CUTOUT, from_genotype, read_genotype
from augrad.interop.kornia import from_kornia
from augrad.interop.timm import from_timm, to_timm
from augrad.interop.torchvision import from_torchvision
from augrad.policy_file.convert import read_document
from fixed_policies import fixed

LISTED = [[["Rotate", 0.5, 0.25], ["Cutout", 1.0, 0.5]]]


def test_what_was_read_says_where_it_is_from_and_what_differs(tmp_path: Path) -> None:
    timm = from_timm("rand-m9-mstd0.5-inc1").result.provenance
    assert timm["source"] == "timm: rand-m9-mstd0.5-inc1"
    assert "normal around level 9 with deviation 0.5, cut at 10; logit-normal here" in timm["differences"]
    turned = to_timm(fixed("rotate", 10.0, "nearest")).result
    assert from_timm(turned).result.provenance == {"source": "timm: an object, AutoAugment"}
    listed = from_genotype(LISTED).result.provenance
    assert listed["source"] == "a list of sub-policies, as of Fast AutoAugment and DADA"
    assert listed["differences"] == [CUTOUT]
    assert from_kornia("svhn").result.provenance["source"] == "kornia.augmentation.auto.AutoAugment('svhn')"
    read = from_torchvision(v2.RandAugment()).result.provenance
    assert read["source"] == "torchvision.transforms.RandAugment"
    path = tmp_path / "turned.json"
    path.write_text(serialized(to_albumentations(fixed("rotate", 10.0)).result))
    assert (
        from_albumentations(path).result.provenance["source"].startswith("turned.json: a document of Albumentations 2.")
    )


def test_a_converted_file_says_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # short names: in 80 columns a long line is two
    listed, out = Path("list.json"), Path("out.json")
    listed.write_text(json.dumps(LISTED))
    for arguments in (["original", "--from", "timm"], [str(listed), "--from", "genotype"]):
        assert main(["convert", *arguments, "-o", str(out)]) == 0
        said = [line.partition(": ")[2].partition(": ")[2] for line in capsys.readouterr().err.splitlines()]
        assert read_document(out).provenance["differences"] == sorted(said)
    assert read_document(out).provenance["source"].startswith("list.json: a list of sub-policies")
    assert main(["show", str(out)]) == 0
    assert "list.json: a list of sub-policies" in capsys.readouterr().out.splitlines()[0]


def test_text_that_no_file_can_hold_is_escaped(tmp_path: Path) -> None:
    document = json.loads(serialized(to_albumentations(fixed("rotate", 10.0)).result))
    document["__version__"] = "\ud800"
    document["transform"]["transforms"].append({"__class_fullname__": f"\ud801{'x' * 5000}"})
    policy = from_albumentations(document).result
    augrad.save_policy(policy, tmp_path / "policy.json")
    provenance = read_document(tmp_path / "policy.json").provenance
    assert "\\ud800" in provenance["source"]
    assert all(len(what) < 400 for what in provenance["differences"])


@pytest.mark.parametrize(
    ("reader", "content", "said"),
    [
        ("albumentations", {"format": "augrad.policy"}, "Albumentations, an object with a transform, got an object"),
        ("albumentations", [], "expected a document of Albumentations, an object with a transform, got an empty list"),
        ("albumentations", {"transform": {"p": 1}}, "expected transforms with their class"),
        ("genotype", {"format": "augrad.policy"}, "expected a JSON list of sub-policies, got an object; it is"),
        ("genotype", [[["Turn", 1, 1]]], "genotype[0][0]: expected [operation, probability, level]"),
        ("genotype", [], "expected a list of sub-policies, got []"),
        (None, LISTED, "a list of sub-policies of [operation, probability, level] is read by augrad policy convert"),
    ],
)  # fmt: skip
def test_messages_name_the_file(
    reader: str | None, content: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "given.json", tmp_path / "out.json"
    path.write_text(json.dumps(content))
    chosen = ["--from", reader] if reader else []
    assert main(["convert", str(path), *chosen, "-o", str(out)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count(str(path)) == 1
    assert message.count("\n") == 1
    assert not out.exists()
    if content == LISTED:
        assert "--from genotype" in message


def test_a_list_of_something_else_gets_no_hint() -> None:
    for text in ("[]", "[1]", "[[]]"):
        with pytest.raises(UserError) as caught:
            augrad.policy_file.parse_policy(text)
        assert "genotype" not in str(caught.value)


def test_a_file_of_a_list_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "number.json").write_text("3")
    with pytest.raises(UserError, match=r"number\.json: expected a JSON list of sub-policies, got 3$"):
        read_genotype(tmp_path / "number.json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dada_cifar10", "--side", "224"], "--side: expected it with --from albumentations or timm"),
        (["list.json", "--from", "genotype", "--side", "224"], "--side: expected it with --from"),
        (
            ["dada_cifar10", "--allow", "foo"],
            "--allow: expected it for a policy with operations of other",
        ),
        (["original", "--from", "timm", "--allow", "foo"], "--allow: expected it for a policy file of augrad, without"),
        (["original", "--from", "timm", "--side", "0"], "expected side, of the images in pixels"),
    ],
)
def test_options_that_would_say_nothing_are_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *arguments, "-o", str(tmp_path / "out.json")]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_allow_is_for_policies_that_name_modules(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    golden = Path(__file__).parents[1] / "policy_file" / "golden" / "version_1_definitions.json"
    assert main(["convert", str(golden), "--allow", "open_ops", "--allow", "kornia.augmentation", "-o", str(out)]) == 0
    assert read_document(out).definitions == read_document(golden).definitions != {}
