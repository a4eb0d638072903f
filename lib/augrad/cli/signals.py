"""How Ctrl-C and SIGTERM end a command: the same words, and the statuses that a shell gives for them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal ends the command; the message says what is kept. number: of the signal."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def words_of(error: KeyboardInterrupt) -> str:
    """What to tell of it."""
    return str(error) or "interrupted"


def status_of(error: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number_of(error)


def number_of(error: KeyboardInterrupt) -> int:
    """Of the signal."""
    return error.number if isinstance(error, Interrupted) else signal.SIGINT


@contextmanager
def sigterm_raised() -> Iterator[None]:
    """Within it SIGTERM raises Interrupted, unless another handler is there already, or this is not the main thread."""
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    try:
        signal.signal(signal.SIGTERM, _raise)
    except ValueError:  # another thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number=number)
