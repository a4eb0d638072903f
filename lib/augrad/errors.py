"""The errors that a user's input can cause. Everything else is a defect and keeps its traceback."""

from typing import Any


class UserError(ValueError):
    """What came is not what was expected; the message says both, and what to do. The command line exits with 2.

    As text it can be printed and written everywhere: bytes of a file's name that are no characters are escaped.
    """

    def __str__(self) -> str:
        text = super().__str__()
        try:
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # half a surrogate pair that is no such byte
            return text.encode("utf-8", "backslashreplace").decode()


class PolicyFileError(UserError):
    """A policy document that cannot be accepted.

    The message begins with the place, e.g. `subpolicies[3].stages[0][1].magnitude`.
    """


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite during a run; the message names the step and the quantity.

    result: where `augrad.learn` raised it, the `augrad.SearchResult` of what was learned before; otherwise None.
    """

    result: Any = None


class RankLostError(RuntimeError):
    """Another process of a distributed run has ended, or is not heard of."""


class Stopped(Exception):
    """What was going on was asked to stop, and did so before it was done. What called it knows how to end."""


class AugradWarning(UserWarning):
    """Something that a user should know of. The command line prints it as one line, and keeps it in the run's log."""


class ImageRangeWarning(AugradWarning):
    """Images lie far outside [0, 1]; said once in a process."""
