"""The comparison after a search: no training is done twice, and the files of a directory say the same."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

import augrad as library
from augrad.cli.arms import entrants_of, loaded_from, start_for
from augrad.cli.comparison import Recorder, read_comparison
from augrad.cli.configs import config_directory
from augrad.comparison.rows import TrainingRow, names_of, of_policy
from augrad.comparison.trainings import policy_digest, training_splits
from augrad.data.digits import load_digits
from augrad.data.types import Splits
from augrad.policy.initial import even_policy
from augrad.settings import CONTROLS
from augrad.train.loop import trained
from small_runs import COMPARED, SMALL
from trainings import training

TWO = "compare={policies: [none, random], seeds: 2, processes: 1}"
"""All of it, where the run was last resumed with compare=null."""


def data() -> Splits:
    return load_digits(train_size=200, validation_size=60, selection_size=60)


@pytest.fixture(autouse=True)
def _control_c_as_from_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Sends Ctrl-C in place of the training after so many (None: never); returns the seeds of those that are done."""
    train = trained

    def set_limit(limit: int | None) -> list[int]:
        done: list[int] = []

        def counted(*given: Any, **named: Any) -> Any:
            if limit is not None and len(done) == limit:
                signal.raise_signal(signal.SIGINT)
            done.append(given[2])
            return train(*given, **named)

        monkeypatch.setattr("augrad.comparison.trainings.trained", counted)
        return done

    return set_limit


def comparison(directory: Path) -> list[TrainingRow] | None:
    """What all say: comparison.json, the figure, the tables, policy.json, the report; None where none says anything."""
    rows = read_comparison(directory)
    metrics = library.load_policy(directory / "policy.json").provenance["metrics"]
    means = {key.removeprefix("test_accuracy/"): value for key, value in metrics.items() if "test_accuracy/" in key}
    html = (directory / "report.html").read_text()
    expected = {
        name: sum(row.accuracy for row in of_policy(rows, name)) / len(of_policy(rows, name)) for name in names_of(rows)
    }
    assert means == pytest.approx(expected, abs=1e-9)
    assert [f"{100 * mean:.1f}%" in html for mean in means.values()] == [True] * len(means)
    written = {(directory / name).exists() for name in ("figures/comparison.png", "comparison.md", "comparison.csv")}
    assert written == {bool(rows)} == {"learned minus" in html}
    return rows or None


def files(directory: Path) -> dict[str, bytes]:
    """The results in the directory."""
    names = [
        "comparison.json",
        "comparison.md",
        "policy.json",
        "report.html",
        "figures/comparison.png",
        "figures/examples.png",
    ]
    return {name: (directory / name).read_bytes() for name in names}


def test_trainings_that_were_done_are_kept(augrad, stop_after, tmp_path: Path) -> None:
    line = ["search", *SMALL, *COMPARED, "compare.seeds=2", "choose=null", "hydra.run.dir=out"]
    stop_after(3)
    assert augrad(*line).returncode == 130
    partly = {row.place: row for row in read_comparison(tmp_path / "out")}
    assert [(place.policy, place.seed) for place in partly] == [("none", 1000), ("random", 1000), ("learned", 1000)]
    left = stop_after(1)
    assert augrad("search", "resume=out").returncode == 130
    assert left == [1001]
    left = stop_after(None)
    assert augrad("search", "resume=out").returncode == 0
    assert left == [1001, 1001]
    whole = comparison(tmp_path / "out")
    assert whole is not None
    assert {row.place: row for row in whole if row.seed == 1000} == partly
    assert augrad("search", "resume=out", "compare=null").returncode == 0  # the run has its comparison already
    assert comparison(tmp_path / "out") == whole
    before = files(tmp_path / "out")

    # Another recipe: what is there stays until the new comparison is whole.
    left = stop_after(2)
    assert augrad("search", "resume=out", TWO, "train.epochs=2").returncode == 130
    assert len(left) == 2
    assert files(tmp_path / "out") == before
    stop_after(None)
    assert augrad("search", "resume=out", TWO, "train.epochs=3", "train.optimizer.lr=1e10").returncode == 1
    assert files(tmp_path / "out") == before
    left = stop_after(None)
    assert augrad("search", "resume=out", TWO, "train.epochs=2", "train.optimizer.lr=0.1").returncode == 0
    assert len(left) == 4
    comparison(tmp_path / "out")

    # Back to the first one: nothing is done again. More seeds: only they are.
    none = stop_after(0)
    assert augrad("search", "resume=out", TWO, "train.epochs=1").returncode == 0
    assert none == []
    assert comparison(tmp_path / "out") == whole
    more = stop_after(None)
    assert augrad("search", "resume=out", TWO.replace("2", "3"), "train.epochs=1").returncode == 0
    assert more == [1002] * 3


def test_a_policy_that_was_not_compared_has_no_comparison(augrad, tmp_path: Path) -> None:
    line = ["search", *SMALL, *COMPARED, "policy.subpolicies=2", "compare.seeds=1", "hydra.run.dir=out"]
    assert augrad(*line).returncode == 0
    whole = comparison(tmp_path / "out")
    assert whole is not None
    assert augrad("search", "resume=out", "export.subpolicies=1", "compare=null").returncode == 0
    assert comparison(tmp_path / "out") is None
    assert len(json.loads((tmp_path / "out" / "trainings.json").read_text())) == 3
    assert (
        augrad(
            "search", "resume=out", "export.subpolicies=null", *(f"++{item}" for item in COMPARED), "++compare.seeds=1"
        ).returncode
        == 0
    )
    assert comparison(tmp_path / "out") == whole


def test_a_comparison_of_an_older_version_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"none": {"0": 0.5}}')
    row = training("none", 0.75)
    record = Recorder(tmp_path, {row.place: "the key of this recipe"}, "none")
    assert record.known == {}
    record(row)
    assert json.loads((tmp_path / "comparison.json").read_text()) == {"none": {"0": 0.5}}
    record.publish()
    assert read_comparison(tmp_path) == [row]
    kept = json.loads((tmp_path / "trainings.json").read_text())
    assert [(row["accuracy"], row["key"]) for row in kept] == [(0.5, None), (0.75, "the key of this recipe")]
    assert Recorder(tmp_path, {row.place: "the key of this recipe"}, "none").known == {row.place: row}


COMPARE = ["compare", *(item for item in SMALL if not item.startswith(("search.", "choose."))), "processes=1"]


def test_a_comparison_goes_on_where_it_was_stopped(augrad, stop_after, tmp_path: Path) -> None:
    line = [*COMPARE, "policies=[none,random,identity]", "seeds=2"]
    stop_after(3)
    done = augrad(*line, "hydra.run.dir=out")
    assert done.returncode == 130
    assert "stopped after 3 of 6 trainings; go on with: augrad compare resume=" in done.stderr
    left = stop_after(None)
    assert augrad("compare", "resume=out").returncode == 0
    assert len(left) == 3
    assert augrad(*line, "hydra.run.dir=whole").returncode == 0
    results = [read_comparison(tmp_path / name) for name in ("out", "whole")]
    first, second = ([replace(row, seconds=0.0) for row in rows] for rows in results)
    assert first == second
    none = stop_after(0)
    assert augrad("compare", "resume=out").returncode == 0
    assert none == []
    done = augrad("search", "resume=out")
    assert (done.returncode, "is the directory of augrad compare" in done.stderr) == (2, True)


def test_trainings_of_another_comparison_are_not_done_again(augrad, stop_after, tmp_path: Path) -> None:
    line = [*COMPARE, "policies=[none,identity]"]
    assert augrad(*line, "seeds=1", "hydra.run.dir=a").returncode == 0
    left = stop_after(None)
    assert augrad(*line, "seeds=2", "reuse=[a]", "hydra.run.dir=b").returncode == 0
    assert left == [1001, 1001]
    assert len(json.loads((tmp_path / "b" / "trainings.json").read_text())) == 4
    done = augrad(*line, "seeds=2", "reuse=[missing]", "hydra.run.dir=c")
    assert (done.returncode, "expected the directory of another comparison" in done.stderr) == (2, True)
    assert not (tmp_path / "c" / "trainings.json").exists()


def test_processes_do_not_change_the_result(augrad, tmp_path: Path) -> None:
    line = [*COMPARE, "policies=[none,random]", "seeds=1"]
    for processes in (1, 2):
        assert augrad(*line, f"processes={processes}", f"hydra.run.dir={processes}").returncode == 0
    results = [read_comparison(tmp_path / name) for name in ("1", "2")]
    first, second = ([replace(row, seconds=0.0) for row in rows] for rows in results)
    assert first == second


def test_each_file_is_judged_on_the_division_that_its_search_had(augrad, tmp_path: Path) -> None:
    searches = ["search", *SMALL, "search.steps=2", "compare=null"]
    for seed in (0, 1):
        assert augrad(*searches, f"seed={seed}", f"data.seed={seed}", f"hydra.run.dir=s/{seed}").returncode == 0
    line = [*COMPARE, "policies=[none,initial,{learned:['s/*/policy.json']}]", "seeds=1"]
    assert augrad(*line, "hydra.run.dir=out").returncode == 0
    rows = read_comparison(tmp_path / "out")
    assert [(row.policy, row.search_seed, row.split_seed) for row in rows] == [
        ("none", None, 0),
        ("initial", None, 0),
        ("learned", 0, 0),
        ("none", None, 1),
        ("initial", None, 1),
        ("learned", 1, 1),
    ]
    differences = json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
    assert {(one["policy"], one["against"], one["n"]) for one in differences} == {
        ("learned", "none", 2),
        ("learned", "initial", 2),
    }
    start = library.load_policy(tmp_path / "s" / "0" / "initial.json")
    assert {row.digest for row in rows if row.policy == "initial"} == {policy_digest(start)}


def test_the_controls_are_over_what_is_judged(tmp_path: Path) -> None:
    """Candidates, stages and sub-policies of the judged file, not those of the configured space."""
    policy = library.Policy.over({"rotate": {"high": 20.0}, "color": None}, stages=2, subpolicies=3)
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("compare")
    file = str(tmp_path / "a.json")
    library.save_policy(policy, file)
    sources = {"initial": ["initial"], "random": ["random"], "a": [file]}
    loaded = loaded_from(sources, config)
    found = entrants_of(sources, loaded, start_for(sources, loaded, config), config, data())
    judged = library.load_policy(file)
    for entrant in found:
        policy = entrant.arm(5)
        assert policy is not None
        assert policy.slots == judged.slots
    assert policy_digest(found[0].arm(0)) == policy_digest(even_policy(judged))
    assert policy_digest(found[1].arm(0)) != policy_digest(found[1].arm(1))


def test_files_that_do_not_say_their_search_are_told_apart(tmp_path: Path) -> None:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("compare")
    files = [str(tmp_path / f"{number}.json") for number in range(3)]
    for file in files:
        library.save_policy(library.Policy.over({"rotate": {"high": 20.0}, "color": None}), file)
    sources = {"a": files, "b": files[:1]}
    loaded = loaded_from(sources, config)
    found = entrants_of(sources, loaded, start_for(sources, loaded, config), config, data())
    assert [(one.name, one.search_seed, one.split_seed) for one in found] == [
        ("a", 0, None),
        ("a", 1, None),
        ("a", 2, None),
        ("b", None, None),
    ]


def test_a_row_that_lacks_what_is_measured_today_is_trained_anew(tmp_path: Path) -> None:
    row = training("none", 0.75)
    record = Recorder(tmp_path, {row.place: "the key"}, "none")
    record(row)
    path = tmp_path / "trainings.json"
    kept = json.loads(path.read_text())
    assert Recorder(tmp_path, {row.place: "the key"}, "none").known == {row.place: row}
    del kept[0]["late"]
    path.write_text(json.dumps(kept))
    record = Recorder(tmp_path, {row.place: "the key"}, "none")
    assert record.known == {}
    record(row)
    assert len(json.loads(path.read_text())) == 2  # nothing is thrown away


def test_a_policy_under_two_names_is_trained_with_once(augrad, stop_after, tmp_path: Path) -> None:
    library.save_policy(library.load_policy("identity"), tmp_path / "same.json")
    done = stop_after(None)
    assert augrad(*COMPARE, "policies=[none,identity,same.json]", "seeds=1", "hydra.run.dir=out").returncode == 0
    assert len(done) == 2
    rows = read_comparison(tmp_path / "out")
    assert [row.policy for row in rows] == ["none", "identity", "same.json"]
    assert replace(rows[1], policy="same.json") == rows[2]
    assert len(json.loads((tmp_path / "out" / "trainings.json").read_text())) == 2


def test_the_file_that_is_given_as_policy_is_the_one_that_is_judged(augrad, tmp_path: Path) -> None:
    line = ["policies=[identity,none]", "policy.file=identity", "seeds=1", "hydra.run.dir=out"]
    assert augrad(*COMPARE, *line).returncode == 0
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
    assert {(one["policy"], one["against"]) for one in told} == {("identity", "none")}


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ("[{none: [identity]},randaugment]", "none is a name of its own"),
        ("[none,none]", "'none' twice"),
        ("[none,{a: []}]", "'a' without a file"),
        ("[none,'nothing/*.json']", "nothing matches nothing/*.json"),
    ],
)
def test_names_that_cannot_be(augrad, tmp_path: Path, policies: str, words: str) -> None:
    done = augrad(*COMPARE, f"policies={policies}", "seeds=1", "hydra.run.dir=out")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out" / "trainings.json").exists()


def test_searches_that_divided_the_data_otherwise(augrad, tmp_path: Path) -> None:
    """Nothing in common is refused before the first training; what they may have seen is told."""
    for seed in (0, 1):
        given = [f"data.seed={seed}", "search.steps=2", "compare=null", f"hydra.run.dir={seed}"]
        assert augrad("search", *SMALL, *given).returncode == 0
    line = [*COMPARE, "policies=[none,0/policy.json]", "policy.file=1/policy.json", "seeds=1"]
    done = augrad(*line, "hydra.run.dir=out")
    assert (done.returncode, "give the divisions to judge both on" in done.stderr) == (2, True), done.stderr
    done = augrad(*line, "split_seeds=[0]", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    told = [text for text in done.stderr.splitlines() if "divided the same data otherwise" in text]
    assert len(told) == 1
    assert "1/policy.json" in told[0]
    line = [*COMPARE, "policies=[none]", "policy.file=0/policy.json", "seeds=1"]
    assert "divided the same data" not in augrad(*line, "hydra.run.dir=same").stderr
    other = augrad(*line, "data.train_size=300", "hydra.run.dir=more")
    assert "divided the same data otherwise (train_size)" in other.stderr


def test_train_and_validation_together() -> None:
    splits = data()
    both = training_splits(splits, True)
    assert len(both.train) == len(splits.train) + len(splits.validation)
    assert torch.equal(both.train.images[len(splits.train) :], splits.validation.images)
    assert training_splits(splits, False) is splits


def test_the_defaults_of_a_search_are_those_of_its_configuration() -> None:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        searched, compared = compose("search"), compose("compare")
    assert tuple(searched.compare.policies) == CONTROLS == tuple(compared.policies)


def test_the_start_belongs_to_the_run(augrad, stop_after, tmp_path: Path) -> None:
    """A policy file that is another one at the resume changes neither the search nor its random control."""
    assert augrad("search", *SMALL, "compare=null", "hydra.run.dir=first").returncode == 0
    text = (tmp_path / "first" / "policy.json").read_text()
    (tmp_path / "start.json").write_text(text)
    line = ["search", *SMALL, *COMPARED, "policy=file", "policy.file=start.json", "compare.seeds=1"]
    assert augrad(*line, "hydra.run.dir=whole").returncode == 0
    stop_after(0)
    assert augrad(*line, "hydra.run.dir=cut").returncode == 130
    other = json.loads(text)
    for entry in other["subpolicies"][0]["stages"][0]:
        entry["probability"] = 1.0
    (tmp_path / "start.json").write_text(json.dumps(other))
    stop_after(None)
    assert augrad("search", "resume=cut").returncode == 0
    cut, whole = (comparison(tmp_path / name) or [] for name in ("cut", "whole"))
    assert [replace(row, seconds=0.0) for row in cut] == [replace(row, seconds=0.0) for row in whole]
    assert "it goes on from those that it began with" in (tmp_path / "cut" / "search.log").read_text()
