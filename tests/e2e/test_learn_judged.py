"""The end of augrad.learn: the choice and the comparison are those of the command, and the report is its page."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import augrad as library
from augrad import Splits, UserError
from augrad.cli.comparison import read_comparison
from augrad.data.digits import load_digits
from augrad.errors import NonFiniteError
from augrad.models.small_conv import SmallConvNet
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from problems import shapes_unchecked

STEPS = {"steps": 6, "batch_size": 32, "validation_batch_size": 32, "select_every": 2, "warmup_steps": 0}
STEPS |= {"checkpoint_every": 3, "log_every": 2}
CHOICE = library.ChoiceSettings(seeds=1, processes=1)
COMPARED = library.CompareSettings(policies=("none", "random"), seeds=2, processes=1)
TRAIN = library.TrainSettings(epochs=1)


@pytest.fixture(scope="module")
def digits() -> Splits:
    """Those of the command's small runs (`small_runs.SMALL`)."""
    return load_digits(train_size=200, validation_size=60, selection_size=60)


def learned(data: Splits, **arguments: Any) -> library.SearchResult:
    return library.learn(data, partial(SmallConvNet, width=16), device="cpu", **{**STEPS, **arguments})


def policy_text(policy: library.Policy) -> str:
    return format_policy(document_of(policy, {}))


def test_it_ends_as_the_command_does(augrad, small, digits: Splits, tmp_path: Path) -> None:
    """The policy that is left, the trials of the choice and the rows of the comparison, bit for bit."""
    compared = ["compare.policies=[none,random]", "compare.seeds=2", "compare.processes=1"]
    done = augrad("search", *small, *compared, "device=cpu", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    result = learned(digits, choose=CHOICE, compare=COMPARED, train=TRAIN)
    assert policy_text(result.policy) == policy_text(library.load_policy(tmp_path / "out/policy.json"))
    assert policy_text(result.initial) == policy_text(library.load_policy(tmp_path / "out/initial.json"))
    trials = json.loads((tmp_path / "out/choice.json").read_text())
    assert result.chosen is not None
    assert [(one.name, one.seed, one.loss) for one in result.chosen.trials] == [
        (one["name"], one["seed"], one["loss"]) for one in trials
    ]
    rows = {row.place: (row.accuracy, row.loss) for row in read_comparison(tmp_path / "out")}
    assert result.comparison is not None
    assert {row.place: (row.accuracy, row.loss) for row in result.comparison.rows} == rows
    assert (tmp_path / "out/comparison.md").read_text() == result.comparison.markdown()
    page = (tmp_path / "out/report.html").read_text()
    report = result.report.html
    assert result.comparison.verdict.headline in report
    assert result.comparison.verdict.headline in page
    of_the_command = library.load_policy(tmp_path / "out/policy.json").provenance["metrics"]
    for key in ("chosen", "test_accuracy/learned", "test_accuracy/none", "policy_from_step"):
        assert result.policy.provenance["metrics"][key] == pytest.approx(of_the_command[key])
    assert report.count("data:image/png;base64,") == page.count("data:image/png;base64,")
    for words in ("Policy search on digits", "data:image/png;base64,", "1,797 images", result.chosen.name):
        assert words in report
        assert words in page


def test_a_notebook_shows_policy_verdict_and_page(digits: Splits, tmp_path: Path) -> None:
    result = learned(digits, compare=COMPARED, train=TRAIN)
    assert result.chosen is None
    shown = result._repr_html_()
    assert shown.count("<table>") == 2
    assert result.comparison is not None
    assert result.comparison.verdict.headline in shown
    assert all(f'<td style="text-align: left">{name}' in shown for name in ("none", "random", "learned"))
    assert result.report.save(tmp_path / "a b.html").read_text("utf-8") == result.report.html
    assert result.report._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "<h1" not in result.report._repr_html_()


def test_a_number_is_so_many_trainings_with_each(digits: Splits, capsys: pytest.CaptureFixture[str]) -> None:
    result = learned(digits, compare=1, train=TRAIN, seed=2, steps=1, progress=True)
    assert result.comparison is not None
    names = [*library.CompareSettings().policies, "learned"]
    assert [(row.policy, row.seed) for row in result.comparison.rows] == [(name, 1200) for name in names]
    told = capsys.readouterr().err
    assert "comparison: 6 policies x 1 seed" in told
    assert told.count(" seed 1200: ") == 6


def test_control_c_during_the_trainings_returns_what_is_known(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("augrad.train.many.trained", stopped)
    result = learned(digits, choose=CHOICE, compare=COMPARED, train=TRAIN)
    assert result.finished
    assert (result.chosen, result.comparison) == (None, None)
    assert result.steps == 6


def test_trainings_that_diverge_leave_what_was_learned(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(*arguments: object, **named: object) -> None:
        raise NonFiniteError("the training has diverged")

    monkeypatch.setattr("augrad.comparison.trainings.trained", diverged)
    with pytest.raises(NonFiniteError) as error:
        learned(digits, compare=COMPARED, train=TRAIN)
    assert error.value.result is not None
    assert error.value.result.steps == 6


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "choose a word": ({"choose": "yes"}, "choose: expected an augrad.ChoiceSettings"),
    "compare a word": ({"compare": "3"}, "compare: expected a number of trainings with each policy"),
    "compare a flag": ({"compare": True}, "compare: expected a number of trainings with each policy"),
    "compare none": ({"compare": 0}, "compare: seeds: expected more than 0"),
    "train for nothing": ({"train": TRAIN}, "train: is how classifiers are trained for choose and compare"),
    "train a number": ({"train": 3, "compare": 1}, "train: expected an augrad.TrainSettings"),
    "a policy twice": (
        {"compare": library.CompareSettings(policies=("none", "none"))},
        "compare: policies: expected different names",
    ),
    "the learned one": ({"compare": library.CompareSettings(policies=("learned",))}, "policies: expected different"),
    "a policy that is not there": ({"compare": library.CompareSettings(policies=("nothing.json",))}, "nothing.json"),
    "too many processes": ({"compare": library.CompareSettings(processes=10**6)}, "processes: expected at most"),
    "too many folds": ({"choose": library.ChoiceSettings(folds=500)}, "folds"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_the_search(digits: Splits, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, words = MISTAKES[mistake]
    monkeypatch.setattr("augrad.search.learn_policy.run_search", lambda *_: pytest.fail("it has begun"))
    with shapes_unchecked(), pytest.raises(UserError, match=words):
        learned(digits, **given)


def test_settings_refuse_what_cannot_be() -> None:
    for values in ({"seeds": 0}, {"policies": ()}, {"with_validation": "perhaps"}, {"kind": 1}):
        with shapes_unchecked(), pytest.raises(UserError):
            library.CompareSettings(**values)  # type: ignore[arg-type]
