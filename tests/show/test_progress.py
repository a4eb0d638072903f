"""Progress on a terminal and elsewhere, by a clock that the test holds."""

import io
import re

import pytest
from rich.console import Console

from augrad.show.progress import Pace, SearchProgress, duration


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _plain() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_every_tenth():
    console, clock = _plain(), _Clock()
    with SearchProgress(100, console=console, clock=clock) as progress:
        for step in range(1, 101):
            clock.now += 0.01
            progress.update(step, 1.0 / step, None if step < 20 else float("nan") if step < 30 else 2.0)
    lines = _text(console).splitlines()
    assert [line.split()[1] for line in lines] == [f"{tenth}0/100" for tenth in range(1, 11)]
    assert lines[0] == "search 10/100  train 0.1000  val –  100 steps/s  1 s left"
    assert lines[1].split("  ")[2] == "val –"
    assert lines[-1] == "search 100/100  train 0.0100  val 2.0000  100 steps/s"


def test_plain_lines_every_five_seconds_and_one_at_the_end():
    console, clock = _plain(), _Clock()
    with SearchProgress(100_000, start=50_000, console=console, clock=clock) as progress:
        for step in range(50_001, 50_025):
            clock.now += 1.0
            progress.update(step, 1.0, 2.0, note="rotate 40% [x]")
        progress.update(100_000, 1.0, 2.0)
    lines = _text(console).splitlines()
    assert [line.split()[1] for line in lines] == [
        f"{step}/100000" for step in (50_005, 50_010, 50_015, 50_020, 100_000)
    ]
    assert lines[0].endswith("1 steps/s  13:53 h left  rotate 40% [x]")


def test_the_speed_is_that_of_the_recent_steps():
    console, clock = _plain(), _Clock()
    with SearchProgress(1000, console=console, clock=clock) as progress:
        clock.now += 1000  # compiling
        progress.update(1, 1.0, 1.0)
        for step in range(2, 301):
            clock.now += 0.1
            progress.update(step, 1.0, 1.0)
    lines = _text(console).splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["1/1000", "52/1000"]  # five seconds after
    assert lines[1].endswith("10 steps/s  1:35 min left")  # compiling counts no more
    assert lines[-1].endswith("10 steps/s  1:10 min left")


def test_what_follows_stands_beside_the_time_left_which_is_without_it() -> None:
    console, clock = _plain(), _Clock()
    with SearchProgress(20, console=console, clock=clock, then="choice and comparison") as progress:
        for step in range(1, 21):
            clock.now += 0.5
            progress.update(step, 0.25, 0.5)
    lines = _text(console).splitlines()
    assert lines[-2].endswith("2 steps/s  1 s left, then choice and comparison")
    assert lines[-1].endswith("2 steps/s, then choice and comparison")


def test_disabled_prints_nothing():
    console = _plain()
    with SearchProgress(3, disable=True, console=console) as progress:
        for step in (1, 2, 3):
            progress.update(step, 1.0, 1.0)
    assert _text(console) == ""


def test_a_terminal_gets_a_bar_with_both_losses():
    console, clock = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None), _Clock()
    with SearchProgress(50, console=console, clock=clock, title="learn") as progress:
        for step in range(1, 51):
            clock.now += 0.5
            progress.update(step, 0.25, 0.5, note="[red]")
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", _text(console)).strip().splitlines()[-1]
    assert re.search(r"learn .*━.* 100% train 0.2500  val 0.5000  2 steps/s +\[red\]", last)


def test_how_long_equal_parts_will_take() -> None:
    clock = _Clock()
    pace = Pace(7, clock=clock)
    assert pace.words(1, measured=False) == "[1/7]"  # it was done before
    clock.now += 300  # processes start
    assert pace.words(2) == "[2/7]"
    clock.now += 1  # the other one of two processes
    assert pace.words(3) == "[3/7]"
    clock.now += 19
    assert pace.words(4) == "[4/7, 30 s left]"
    clock.now += 10
    assert pace.words(5) == "[5/7, 20 s left]"
    assert pace.words(7) == "[7/7]"


def test_it_writes_to_standard_error_and_lets_errors_through(capfd: pytest.CaptureFixture[str]):
    progress = SearchProgress(1)

    def search() -> None:
        with progress:
            progress.update(1, 1.0, 1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "search 1/1" in captured.err


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 187, 7500, 273_600)] == [
        "0 s", "59 s", "1:00 min", "3:07 min", "2:05 h", "3 d 4 h",
    ]  # fmt: skip
