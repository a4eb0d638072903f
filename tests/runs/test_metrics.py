"""The metrics log: valid JSON lines, whole after a crash, continued after a resume."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augrad.errors import AugradWarning, UserError
from augrad.runs.metrics import MetricsLog, read_metrics

_VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63), st.text(), st.none()
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@settings(max_examples=40)
@given(rows=st.lists(st.dictionaries(st.text(), _VALUES), max_size=5))
def test_rows_come_back(rows: list[dict[str, float | int | str | None]], tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    rows = [{**row, "step": step} for step, row in enumerate(rows)]
    with MetricsLog(path) as log:
        for row in rows:
            log.append(row)
    found = read_metrics(path)
    assert [list(row) for row in found] == [list(row) for row in rows]
    for row, given_row in zip(found, rows, strict=True):
        for key, value in given_row.items():
            assert type(row[key]) is type(value)
            assert row[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


def test_every_row_is_there_at_once(path: Path):
    with MetricsLog(path) as log:
        for step in range(3):
            log.append({"step": step, "loss": 0.5})
            assert len(read_metrics(path)) == step + 1


def test_what_json_cannot_say_is_null(path: Path):
    with MetricsLog(path) as log:
        log.append({"step": 0, "a": float("nan"), "b": float("inf"), "c": -float("inf"), "d": 1e308})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "step": 0,
        "a": None,
        "b": None,
        "c": None,
        "d": 1e308,
    }


@pytest.mark.parametrize("row", [{}, {"step": None}, {"step": 1.0}])
def test_a_row_without_a_step_is_a_mistake(path: Path, row: dict[str, float | None]):
    with MetricsLog(path) as log, pytest.raises(ValueError, match="integer `step`"):
        log.append(row)
    assert read_metrics(path) == []


def test_resume_drops_later_rows_and_goes_on(path: Path):
    with MetricsLog(path) as log:
        for step in range(10):
            log.append({"step": step, "part": 1})
    with MetricsLog(path, resume_step=6) as log:
        assert [row["step"] for row in read_metrics(path)] == list(range(7))
        log.append({"step": 7, "part": 2})
    assert [(row["step"], row["part"]) for row in read_metrics(path)] == [*((step, 1) for step in range(7)), (7, 2)]
    assert os.listdir(path.parent) == ["metrics.jsonl"]


@pytest.mark.filterwarnings("ignore:.*rows between are missing:augrad.errors.AugradWarning")
def test_every_torn_end_is_tolerated_and_repaired(path: Path):
    whole = '{"step": 0, "a": 1.5}\n{"step": 1, "name": "\\u00b1"}\n'
    begin = whole.index("\n") + 1
    for cut in range(begin, len(whole) + 1):
        path.write_text(whole[:cut])
        kept = [0, 1] if cut >= len(whole) - 1 else [0]
        assert [row["step"] for row in read_metrics(path)] == kept
        with MetricsLog(path, resume_step=1) as log:
            log.append({"step": 2})
        assert [row["step"] for row in read_metrics(path)] == [*kept, 2]


def test_zeros_after_a_power_cut_are_a_torn_end(path: Path):
    path.write_bytes(b'{"step": 0}\n' + b"\0" * 100)
    assert read_metrics(path) == [{"step": 0}]


@pytest.mark.parametrize("garbage", ["{", "nonsense", "[1]", "3", "\0\0", '{"a": 1} {"b": 2}', "\udcff", "[" * 100_000])
def test_garbage_elsewhere_is_refused_with_its_line(path: Path, garbage: str):
    path.write_text('{"step": 0}\n\n' + garbage + '\n{"step": 1}\n', errors="surrogateescape")
    with pytest.raises(UserError, match=r"metrics.jsonl: line 3 is not a JSON object"):
        read_metrics(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="line 3"):
        MetricsLog(path, resume_step=5)
    assert path.read_bytes() == before


def test_resume_refuses_rows_without_a_step(path: Path):
    path.write_text('{"step": 0}\n{"loss": 1}\n')
    with pytest.raises(UserError, match="row 2 has no integer `step`"):
        MetricsLog(path, resume_step=0)
    assert path.read_text() == '{"step": 0}\n{"loss": 1}\n'


def test_the_log_of_another_run_is_not_touched(path: Path):
    path.write_text('{"step": 0}\n')
    with pytest.raises(UserError, match="metrics of another run"):
        MetricsLog(path)
    assert path.read_text() == '{"step": 0}\n'


def test_no_file(path: Path):
    with pytest.raises(UserError, match=r"metrics.jsonl: cannot read the metrics \(No such file"):
        read_metrics(path)
    with pytest.warns(AugradWarning, match="is gone"):  # the run directory was copied without it
        log = MetricsLog(path, resume_step=3)
    with log:
        log.append({"step": 4})
    assert read_metrics(path) == [{"step": 4}]


def test_no_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/metrics.jsonl: cannot write the metrics"):
        MetricsLog(tmp_path / "file" / "metrics.jsonl")


def test_a_full_disk_leaves_whole_rows(path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with MetricsLog(path) as log:
        log.append({"step": 0, "text": "x" * 1000})
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))  # room for a part of the next row
        try:
            with pytest.raises(UserError, match=r"cannot write the metrics \(File too large\)"):
                log.append({"step": 1, "text": "x" * 1000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        log.append({"step": 1, "text": "y"})
    assert [(row["step"], len(row["text"])) for row in read_metrics(path)] == [(0, 1000), (1, 1)]
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("left", [None, 0, 2])
def test_a_log_with_missing_rows_is_told(path: Path, left: int | None) -> None:
    if left is not None:
        path.write_text("".join(f'{{"step": {step + 1}}}\n' for step in range(left)))
    with pytest.warns(AugradWarning, match="the run goes on after step 4: the rows between are missing"):
        MetricsLog(path, resume_step=4).close()
