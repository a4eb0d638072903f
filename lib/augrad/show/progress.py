"""The progress of a search: both losses, steps per second, the time left; on a terminal a bar, elsewhere lines."""

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from augrad.terminal.console import terminal

_WINDOW = 100  # updates over which the speed is measured


class SearchProgress:
    """A context manager; `update` after every step.

    On a terminal it draws one line that moves. Elsewhere (a file, a job's log, a terminal that cannot) it prints a
    plain line whenever another tenth is done or `seconds` have passed, and at the end. With `disable` it prints
    nothing.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        title: str = "search",
        disable: bool = False,
        then: str = "",
        seconds: float = 5.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """total: the number of steps. start: steps done before a resume. then: what follows, in a few words; the time
        left is without it. console: where to, standard error if None."""
        self.total, self.title, self.disable, self.seconds = total, title, disable, seconds
        self._then = f", then {then}" if then else ""
        self._console = console or terminal(stderr=True)
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), start)], maxlen=_WINDOW)
        self._starting = True
        self._last_line = clock(), start
        self._bar: Progress | None = None
        if not disable and self._console.is_interactive:
            bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TaskProgressColumn(),
                TextColumn("{task.fields[words]}", markup=False),
                console=self._console,
                expand=True,
            )
            self._bar, self._task = bar, bar.add_task(title, total=total, completed=start, words="")

    def __enter__(self) -> "SearchProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, train_loss: float | None, val_loss: float | None, note: str = "") -> None:
        """step: how many steps are done. A loss that is not known is None. note: a few words shown at the end."""
        if self.disable:
            return
        now = self._clock()
        if self._starting and len(self._marks) == 2:
            self._marks.popleft()  # what compiles or warms up does so in the first steps: they say nothing of the rest
            self._starting = False
        self._marks.append((now, step))
        if self._bar is not None:
            self._bar.update(self._task, completed=step, words=self._words(step, train_loss, val_loss, note))
            return
        last, last_step = self._last_line
        tenth = max(self.total / 10, 1)
        if now - last >= self.seconds or step // tenth > last_step // tenth or step >= self.total:
            self._last_line = now, step
            words = self._words(step, train_loss, val_loss, note)
            self._console.print(
                f"{self.title} {step}/{self.total}  {words}", markup=False, highlight=False, soft_wrap=True
            )

    def _words(self, step: int, train_loss: float | None, val_loss: float | None, note: str) -> str:
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        speed = (last - first) / (end - begin) if end > begin and last > first else 0.0
        words = f"train {_loss(train_loss)}  val {_loss(val_loss)}"
        if not self._starting or step >= self.total / 10:  # what comes first compiles, and says nothing of the rest
            words = f"{words}  {_pace(speed)}"
            if step < self.total:
                left = duration((self.total - step) / speed) if speed else "–"
                words = f"{words}  {left} left"
            words = f"{words}{self._then}"
        return f"{words}  {note}" if note else words


class Pace:
    """How far a number of equal parts is, and how long the others will take, by those that are done.

    The first of them begins with what starts processes and compiles, and says nothing of the rest; two more are
    waited for, as several may run at a time.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._begun, self._measured = total, clock, 0.0, -1

    def words(self, done: int, measured: bool = True) -> str:
        """As in "[3/10, 2:10 min left]". measured: whether the last one was done now, and not before."""
        self._measured += measured
        if measured and self._measured == 0:
            self._begun = self._clock()
        if self._measured < 2 or done >= self._total:
            return f"[{done}/{self._total}]"
        left = (self._total - done) * (self._clock() - self._begun) / self._measured
        return f"[{done}/{self._total}, {duration(left)} left]"


def duration(seconds: float | int) -> str:
    """Seconds as people say them: "8 s", "3:07 min", "2:05 h", "3 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _pace(speed: float) -> str:
    """Steps a second; of slow ones, how long one takes."""
    return f"{duration(1 / speed)} a step" if 0 < speed < 0.5 else f"{speed:.3g} steps/s"


def _loss(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"
