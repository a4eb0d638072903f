"""The log file of a run, which waits until the run directory is accepted."""

import logging


class RunLog(logging.FileHandler):
    """The log file of a run. Messages wait until `accept` opens it, at the first one."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", errors="backslashreplace", delay=True)
        self._waiting: list[logging.LogRecord] | None = []

    def emit(self, record: logging.LogRecord) -> None:
        if self._waiting is None:
            super().emit(record)
        else:
            self._waiting.append(record)

    def accept(self) -> None:
        """The directory is the run's: write what waited, and from now on at once."""
        waiting, self._waiting = self._waiting or [], None
        for record in waiting:
            super().emit(record)


def logs() -> list[RunLog]:
    """Those of the present run."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, RunLog)]


def keep(message: str) -> None:
    """Writes a warning that was told into the run's log, and nowhere else."""
    for log in logs():
        log.handle(logging.LogRecord("augrad", logging.WARNING, __file__, 0, message, None, None))
