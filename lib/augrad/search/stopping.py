"""Ctrl-C as a request: the step in hand is finished first."""

import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """A context manager. Within it the first of the signals sets `came`, and `number` to its own; the second one acts
    as it did before.

    Outside the main thread, where Python lets nobody handle signals, it does nothing.
    """

    def __init__(self, signals: Iterable[signal.Signals] = (signal.SIGINT,)) -> None:
        self.came, self.number = False, 0
        self._signals = tuple(signals)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in self._signals:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread: signals stay as they are
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """The signals act as they did before; more than once does no harm."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came, self.number = True, number
        self.end()
