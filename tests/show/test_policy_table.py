"""The table of a policy, in terminals of several widths and in a file."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from augrad import Policy, ops
from augrad.ops.definition import Definition
from augrad.policy_file import Entry, LogitNormal, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import document_of, read_document
from augrad.show.policy_table import policy_table
from augrad.terminal.console import say

Make = Callable[..., Entry]


def _lines(document: PolicyDocument, width: int = 120, encoding: str = "utf-8", **options: object) -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True)
    Console(file=stream, width=width, color_system=None).print(policy_table(document, **options))  # type: ignore[arg-type]
    written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    return [line.rstrip() for line in written.splitlines()]


def _rows(lines: list[str]) -> list[list[str]]:
    """The cells of the rows below the header: what two spaces part."""
    start = next(place for place, line in enumerate(lines) if line.endswith("share")) + 1
    end = next(place for place, line in enumerate(lines) if "share: of all images" in line)
    return [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in lines[start:end]]


def test_the_heaviest_first(document: PolicyDocument) -> None:
    lines = _lines(document)
    assert lines[0] == "2 sub-policies × 1 to 2 stages"
    assert _rows(lines) == [
        ["75%", "1", "shear_x", "factor 0 to ±0.11 (end: 80% between 0.1 and 0.13)", "80%", "90%", "54%"],
        ["1", "solarize", "threshold 0.71", "20%", "100%", "15%"],
        ["25%", "1", "identity", "40%", "100%", "10%"],
        ["1", "rotate", "±18° (80% between 15.1° and 20.6°)", "60%", "50%", "7.5%"],
        ["2", "invert", "100%", "10%", "2.5%"],
    ]
    assert lines[-1] == "chosen: in its stage; applied: once chosen; share: of all images"


def test_in_less_room_magnitudes_are_told_in_fewer_words(document: PolicyDocument) -> None:
    def magnitudes(width: int) -> list[str]:
        lines = _lines(document, width)
        assert max(map(len, lines[:-1])) <= width
        return [row[-4] for row in _rows(lines) if row[-4] not in ("1", "2", "identity", "invert")]

    of_rotation = "±18° (80% between 15.1° and 20.6°)"
    assert magnitudes(85) == ["factor 0 to ±0.11 (end 0.1 to 0.13)", "threshold 0.71", of_rotation]
    assert magnitudes(75) == ["factor 0 to ±0.11", "threshold 0.71", "±18°"]  # all, or none
    assert "in brackets: four draws in five" in " ".join(_lines(document, 85))
    assert "in brackets" not in " ".join(_lines(document, 120))


def test_forty_columns_are_enough(document: PolicyDocument) -> None:
    lines = _lines(document, 40)
    assert max(map(len, lines)) <= 40
    assert _rows(lines) == [
        ["75%", "shear_x factor 0 to ±0.11", "54%"],
        ["solarize threshold 0.71", "15%"],
        ["25%", "identity", "10%"],
        ["rotate ±18°", "7.5%"],
        ["invert", "2.5%"],
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("kind", ["logit_normal", "uniform", "point"])
@pytest.mark.parametrize("subpolicies", [1, 3])
def test_every_operation_has_its_line_at_eighty_columns(encoding: str, kind: str, subpolicies: int) -> None:
    policy = Policy.over(list(ops.names()), subpolicies=subpolicies, stages=2, magnitude=kind)  # type: ignore[arg-type]
    document = document_of(policy)
    lines = _lines(document, 80, encoding)
    assert max(map(len, lines)) <= 80
    for name in ops.names():
        assert sum(name in line.split() for line in lines) == 2 * subpolicies, name
    assert len(_rows(lines)) == 2 * subpolicies * len(ops.names())


@pytest.mark.parametrize("name", ["dada_cifar10", "randaugment", "trivialaugment_wide", "fast_autoaugment_svhn"])
def test_a_built_in_policy_has_a_line_for_an_operation(name: str) -> None:
    document = read_document(name)
    lines = _lines(document, 80, name=name)
    assert len(_rows(lines)) == len(list(document.entries()))
    assert max(map(len, lines)) <= 80
    narrow = _lines(document, 40, name=name)
    assert max(map(len, narrow)) <= 40
    for op in {entry.op for entry in document.entries()}:
        assert any(op in line.split() for line in narrow), op


def test_the_first_lines_say_what_it_is() -> None:
    assert _lines(read_document("dada_cifar10"), name="dada_cifar10")[:2] == [
        "dada_cifar10: Li et al. 2020, DADA: Differentiable Automatic Data Augmentation, searched on CIFAR-10",
        "25 sub-policies × 2 stages, interpolation nearest",
    ]
    assert _lines(read_document("identity"), name="identity")[0] == "identity: augrad: leaves every image as it is"


def test_where_it_was_learned_and_what_is_odd_about_it(document: PolicyDocument) -> None:
    provenance = {"created": "2026-01-02", "seed": 3, "data": {"name": "[b]mine\x1b[31m"}, "paper": ["no", "text"]}
    changed = document.model_copy(update={"provenance": provenance, "fill": 0.5})
    assert _lines(changed, name="x.json")[:2] == [
        "x.json: learned on [b]mine\\x1b[31m, seed 3, 2026-01-02",
        "2 sub-policies × 1 to 2 stages, fill 0.5",
    ]
    assert _lines(changed)[0] == "2 sub-policies × 1 to 2 stages, fill 0.5"


def test_a_limit_says_what_it_leaves_out(document: PolicyDocument) -> None:
    lines = _lines(document, limit=3, advice="--all shows them")
    assert len(_rows(lines)) == 3
    assert lines[-1] == "2 more left out, the largest share 7.5%; --all shows them"
    assert "left out" not in "".join(_lines(document, limit=5))


def test_the_heaviest_are_kept_wherever_they_are(entry: Make) -> None:
    light = SubPolicy(weight=0.4, stages=((entry("invert", weight=1.0, probability=0.9),),))
    many = tuple(entry(name, weight=w) for name, w in (("equalize", 0.9), ("grayscale", 0.06), ("identity", 0.04)))
    document = PolicyDocument(
        interpolation="bilinear", fill=0.0, subpolicies=(light, SubPolicy(weight=0.6, stages=(many,)))
    )
    lines = _lines(document, limit=2)
    assert [row[1] for row in _rows(lines)] == ["equalize", "invert"]
    assert lines[-1] == "2 more left out, the largest share 3.6%"


def test_pairs_stay_together_in_the_order_in_which_they_are_applied() -> None:
    lines = _lines(read_document("dada_cifar10"), limit=4)
    assert [row[-4:-2] for row in _rows(lines)] == [
        ["translate_x", "±6.8% of the side"],
        ["rotate", "±1.6°"],
        ["shear_x", "factor ±0.02"],
        ["sharpness", "factor 1.07"],
    ]


def test_columns_that_say_nothing_are_left_out(entry: Make) -> None:
    one = SubPolicy(weight=1.0, stages=((entry("rotate", Value(value=9.0)),),))
    document = PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(one,))
    assert _lines(document) == [
        "1 sub-policy × 1 stage",
        "",
        "operation  magnitude  share",
        "rotate     ±9°         100%",
        "share: of all images",
    ]
    assert "magnitude" not in "".join(_lines(read_document("identity")))


def test_dotted_names_are_short_and_explained_below() -> None:
    names = ("mypackage.ops.gamma", "mypackage.ops.invert", "kornia.augmentation.RandomGaussianBlur", "invert")
    stage = tuple(Entry(op=name, weight=0.25) for name in names)
    document = PolicyDocument(
        interpolation="bilinear",
        fill=0.0,
        definitions={name: Definition() for name in names[:3]},
        subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),),
    )
    lines = _lines(document)
    assert [row[0] for row in _rows(lines)] == ["gamma", "ops.invert", "RandomGaussianBlur", "invert"]
    assert lines[-3:] == [
        "gamma: mypackage.ops.gamma",
        "ops.invert: mypackage.ops.invert",
        "RandomGaussianBlur: kornia.augmentation.RandomGaussianBlur",
    ]
    assert _lines(document, limit=1)[-2:] == ["gamma: mypackage.ops.gamma", "3 more left out, the largest share 25%"]


@pytest.mark.parametrize("columns", [None, "20", "1"])
def test_a_file_has_a_whole_line_for_each_operation_and_a_terminal_no_more_than_it_is_wide(
    columns: str | None, document: PolicyDocument, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    say(policy_table(document))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    if columns is None:
        assert lines == _lines(document, 120)
    else:
        assert max(map(len, lines)) <= int(columns)
        assert "7.5%" in "".join(lines) if columns == "20" else lines


def test_the_widest_words_fit(entry: Make) -> None:
    """The longest wordings that there are: with all columns in 80, less far apart."""
    drawn, two_sided = LogitNormal(low=0.0, high=0.9, location=0.0, scale=0.5), Uniform(low=0.1, high=0.45)
    stage = (
        entry("horizontal_flip", weight=0.5, probability=0.5),
        entry("sharpness", drawn, weight=0.25),
        entry("color", two_sided, weight=0.25),
    )
    one = SubPolicy(weight=0.5, stages=(stage, stage))
    document = PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(one, one))
    lines = _lines(document, 80)
    assert max(map(len, lines)) <= 80
    assert "policy stage operation" in lines[3]
    assert sum("color           factor 0.55–0.9 or 1.1–1.45" in line for line in lines) == 4
