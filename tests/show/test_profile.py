"""What policies do on average, how two differ, and what several agree on."""

import math
import os
from pathlib import Path

import pytest

import augrad
from augrad.cli.policy_command import main
from augrad.policy_file import Entry, LogitNormal, Magnitude, PolicyDocument, SubPolicy, Uniform, UniformUpTo, Value
from augrad.policy_file.convert import read_document
from augrad.policy_file.edit import merged
from augrad.show.agreement import agreements_of, write_agreement
from augrad.show.profile import Profile, profiles_of, total_variation


def document_of(*subpolicies: tuple[float, list[list[Entry]]]) -> PolicyDocument:
    return PolicyDocument(
        interpolation="bilinear",
        fill=0.0,
        subpolicies=tuple(
            SubPolicy(weight=weight, stages=tuple(tuple(stage) for stage in stages)) for weight, stages in subpolicies
        ),
    )


def profile_of(document: PolicyDocument) -> Profile:
    (profile,) = profiles_of(document)
    return profile


def rotation(magnitude: Magnitude, probability: float = 1.0, weight: float = 1.0, signed: bool = False) -> Entry:
    return Entry(op="rotate", unit="degree", magnitude=magnitude, probability=probability, weight=weight, signed=signed)


def test_strengths_are_means_over_all_that_is_applied() -> None:
    one = document_of(
        (0.75, [[rotation(Value(value=8.0), probability=0.5)], [Entry(op="invert")]]),
        (0.25, [[rotation(Uniform(low=-4.0, high=4.0)), ]]),
        )  # fmt: skip
    profile = profile_of(one)
    assert profile.shares == pytest.approx({"identity": 0.3125, "invert": 0.375, "rotate": 0.3125})
    assert profile.strengths == pytest.approx({"rotate": (0.375 * 8 + 0.25 * 2) / 0.625}, rel=1e-3)
    assert profile.applied == pytest.approx(1.375)


@pytest.mark.parametrize(
    ("magnitude", "signed", "mean"),
    [
        (Value(value=-7.0), False, 7.0),  # which way an operation goes that goes both ways is not its strength
        (Uniform(low=5.0, high=25.0), True, 15.0),
        (Uniform(low=-30.0, high=10.0), False, (30**2 + 10**2) / (2 * 40)),
        (LogitNormal(low=0.0, high=30.0, location=0.0, scale=1.3), True, 15.0),
        (LogitNormal(low=0.0, high=30.0, location=1.0, scale=0.0), True, 30 / (1 + math.exp(-1))),
        (UniformUpTo(low=10.0, high=30.0, location=0.0, scale=2.0), True, 15.0),
    ],
)
def test_the_mean_of_each_kind_of_magnitude(magnitude: Magnitude, signed: bool, mean: float) -> None:
    profile = profile_of(document_of((1.0, [[rotation(magnitude, signed=signed)]])))
    assert profile.strengths["rotate"] == pytest.approx(mean, rel=2e-3)


def test_strengths_are_sizes_where_an_operation_goes_both_ways_and_ends_of_a_range_where_not() -> None:
    entry = Entry(op="zoom", unit="strength", magnitude=Value(value=-0.3))
    assert augrad.ops.get("zoom").signed
    assert profile_of(document_of((1.0, [[entry]]))).strengths == {"zoom": 0.3}
    entry = Entry(op="solarize", unit="threshold", magnitude=Uniform(low=1.0, high=0.5))
    assert profile_of(document_of((1.0, [[entry]]))).strengths == {"solarize": pytest.approx(0.75)}


def test_what_is_never_applied_has_no_strength() -> None:
    never = rotation(Value(value=90.0), probability=0.0)
    profile = profile_of(document_of((1.0, [[never]])))
    assert profile.strengths == {}
    assert profile.shares == {"identity": 1.0}
    assert profile.applied == 0


def test_total_variation_is_half_of_what_moves() -> None:
    assert total_variation({"a": 0.5, "b": 0.5}, {"a": 0.25, "c": 0.75}) == 0.75
    assert total_variation({"a": 1.0}, {"b": 1.0}) == 1
    assert total_variation({"a": 1.0}, {"a": 1.0}) == 0


def test_diff_tells_shares_and_strengths_in_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "dada_cifar10", "dada_cifar100"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[4][:6] == ["total", "variation", "of", "the", "shares:", "0.119"]
    shares = [one.shares for one in profiles_of(*map(read_document, ("dada_cifar10", "dada_cifar100")))]
    assert total_variation(*shares) == pytest.approx(0.119, abs=5e-4)
    assert ["rotate", "5.2%", "4.6%", "−0.6", "3.4°", "17.1°", "+13.7°"] in lines
    assert ["solarize", "2.4%", "0%", "−2.4", "0.42", "–"] in lines
    assert main(["diff", "dada_svhn", "dada_svhn"]) == 0
    assert capsys.readouterr().out == "the policies do the same\n"


def test_diff_of_what_differs_in_its_draws_alone_points_to_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, magnitude in (("fixed", Value(value=10.0)), ("drawn", Uniform(low=5.0, high=15.0))):
        one = document_of((1.0, [[rotation(magnitude, signed=True)]]))
        (tmp_path / f"{name}.json").write_text(augrad.policy_file.format_policy(one))
    paths = [str(tmp_path / "fixed.json"), str(tmp_path / "drawn.json")]
    assert main(["diff", *paths]) == 1
    assert "mean strengths are the same" in capsys.readouterr().out
    assert main(["diff", "--text", *paths]) == 1
    assert '"magnitude": {"low": 5.0, "high": 15.0}' in capsys.readouterr().out


def test_diff_and_merge_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    main(["diff", "dada_cifar10", "fast_autoaugment_imagenet"])
    main(["merge", "dada_cifar10", "fast_autoaugment_imagenet", "-o", str(tmp_path / "both.json")])
    captured = capsys.readouterr()
    assert max(map(len, captured.out.splitlines())) <= 80
    assert max(map(len, captured.err.splitlines())) <= 80
    assert "auto_contrast" in captured.err


def test_several_policies_agree_or_not() -> None:
    documents = [
        document_of((1.0, [[rotation(Value(value=strength), weight=share), Entry(op="invert", weight=1 - share)]]))
        for share, strength in ((0.9, 10.0), (0.6, 20.0), (0.6, 60.0))
    ]
    rows, distances = agreements_of(documents, merged(documents))
    rotate, invert = rows
    assert (rotate.op, rotate.share, rotate.shares) == ("rotate", pytest.approx(0.7), pytest.approx((0.9, 0.6, 0.6)))
    assert rotate.strengths == ("27.1°", "10°", "60°")  # (9 + 12 + 36) / 2.1: by how often each is met
    assert invert.strengths is None
    assert distances == pytest.approx([0.2, 0.1, 0.1])


def test_weights_and_stages_count_in_what_policies_become_together() -> None:
    one = document_of((1.0, [[rotation(Value(value=10.0))], [Entry(op="invert")]]))
    other = document_of((1.0, [[rotation(Value(value=40.0))]]))
    rows, distances = agreements_of([one, other], merged([one, other], [3.0, 1.0]))
    assert [(row.op, row.share, row.shares) for row in rows] == [
        ("rotate", 0.5, (0.5, 0.5)),
        ("invert", 0.375, (0.5, 0.0)),
        ("identity", 0.125, (0.0, 0.5)),  # of the second stage, which the other policy lacks
    ]
    assert rows[0].strengths == ("17.5°", "10°", "40°")
    assert distances == pytest.approx([0.125, 0.375])


def test_the_page_says_the_same_and_escapes_names(tmp_path: Path) -> None:
    documents = [read_document("dada_svhn"), read_document("autoaugment_svhn")]
    together = merged(documents)
    write_agreement(str(tmp_path / "page.html"), documents, together, ["<b>one</b>", "two"])
    text = (tmp_path / "page.html").read_text()
    assert "What 2 policies agree on" in text
    assert "&lt;b&gt;one&lt;/b&gt;" in text
    assert "<b>one" not in text
    rows, _ = agreements_of(documents, together)
    assert text.count("<u style") == 2 * sum(row.op != "identity" for row in rows)
    assert text.count('title="two"') == sum(row.op != "identity" for row in rows)
    assert "(chosen for 50% of images)" in text
    write_agreement(str(tmp_path / "page.html"), documents, merged(documents, [3.0, 1.0]), ["one", "two"], [3.0, 1.0])
    assert "(chosen for 75% of images)" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_leaves_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    given = ["merge", "randaugment", "-o", str(tmp_path / "out.json"), "--html", str(tmp_path / "file" / "page.html")]
    assert main(given) == 2
    assert "cannot write this file" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_page_replaces_nothing_but_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, page = tmp_path / "one.json", tmp_path / "page.html"
    assert main(["convert", "randaugment", "-o", str(one)]) == 0
    before = one.read_bytes()
    for given in (["show", str(one)], ["merge", str(one), "trivialaugment_wide"], ["merge", "randaugment"]):
        assert main([*given, "--html", str(one)]) == 2
        assert "expected a new file or a page" in capsys.readouterr().err
        assert one.read_bytes() == before
    assert main(["merge", "randaugment", "--html", str(page), "-o", str(page)]) == 2
    assert "expected another file than that of --output" in capsys.readouterr().err
    assert main(["merge", "randaugment", "--html", str(page), "-o", str(tmp_path / "nowhere" / "y.json")]) == 2
    assert not page.exists()
    for _ in range(2):  # a page is made anew
        assert main(["merge", "randaugment", "--html", str(page), "-o", str(tmp_path / "y.json")]) == 0


@pytest.mark.parametrize("columns", [40, 60, 66, 80, 200])
def test_an_operation_has_its_name_in_every_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    main(["diff", "dada_cifar10", "dada_cifar100"])
    main(["merge", "dada_cifar10", "dada_cifar100"])
    out, err = capsys.readouterr()
    for text in (out.partition("{")[0], err):
        table = [line for line in text.splitlines() if line.startswith(" ") and "sub-pol" not in line]
        assert max(map(len, table)) <= columns
        for op in ("shear_x", "shear_y", "translate_x", "translate_y", "auto_contrast", "brightness"):
            assert sum(op in line.split() for line in table) == 1, (op, columns)


def test_policies_that_draw_the_same_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = Path(__file__).parents[1] / "policy_file" / "golden" / "version_1.json"
    assert main(["convert", str(golden), "-o", str(tmp_path / "back.json")]) == 0
    assert (tmp_path / "back.json").read_text() != golden.read_text()
    assert main(["diff", str(golden), str(tmp_path / "back.json")]) == 0
    assert capsys.readouterr().out == "the policies do the same\n"


def test_a_small_difference_does_not_look_like_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "dada_cifar10", "dada_cifar100"]) == 1
    cells = capsys.readouterr().out.split()
    assert not {"+0", "−0", "+0°", "−0°", "+0%", "−0%", "+<0.1", "−<0.1"} & set(cells)
