"""What a reader of documents does with thousands of bad ones: the errors, the time and memory, and what it touches.

For processes of their own: what listens to the interpreter (`sys.addaudithook`) cannot be taken away again.
"""

import gc
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEMORY = 100 * 2**20
"""Bytes that a document may take, see `memory_for`."""
SECONDS = 0.1
"""Processor time that a document may take, see `seconds_for`."""
LONGEST_MESSAGE = 500

_HARMLESS = {
    *("object.__getattr__", "object.__setattr__", "sys._getframe", "builtins.id", "sys.unraisablehook", "gc.collect"),
    *("os.listdir", "os.scandir", "os.putenv", "resource.setrlimit"),
}
"""Events of the interpreter that run nothing and touch no file."""
_WRITES = {
    "os.rename",
    "os.remove",
    "os.chmod",
    "os.open",
    "tempfile.mkstemp",
    "os.truncate",
    "os.mkdir",
    "fcntl.fcntl",
}


def seconds_for(size: int) -> float:
    """What a document of this many bytes may take: a tenth of a second, and beyond 50 kB two seconds for a megabyte."""
    return max(SECONDS, size / 5e5)


def memory_for(size: int) -> int:
    """What a document of this many bytes may take: 100 MiB, and 48 times its size if that is more, for the shortest
    values and operations are so much larger as objects."""
    return max(MEMORY, 48 * size)


@dataclass
class Watch:
    """Whatever the interpreter does besides computing, as (event, arguments), unless it is with files in `folder`."""

    folder: Path
    on: bool = False
    seen: list[str] = field(default_factory=list)

    def install(self) -> "Watch":
        sys.addaudithook(self._hear)
        return self

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event in _HARMLESS:
            return
        if (event == "open" or event in _WRITES) and self._is_inside(arguments[0]):
            return
        self.seen.append(f"{event} {arguments!r:.200}")

    def _is_inside(self, path: Any) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).is_relative_to(self.folder)


@dataclass
class Report:
    """What became of the documents. slowest: processor time, bytes and label."""

    documents: int = 0
    accepted: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: list[tuple[float, int, str]] = field(default_factory=list)
    largest: list[tuple[int, int, str]] = field(default_factory=list)
    longest: str = ""


def _resident(name: str = "VmRSS") -> int:
    """Bytes of memory in use, or with "VmHWM" at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def limited(size: int) -> None:
    """From now on the process may have so much more memory than it has, and gets a MemoryError for more."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size, resource.RLIM_INFINITY))


def run(
    documents: Iterable[tuple[str, bytes]],
    read: Callable[[Path], Any],
    works: Callable[[Path, Any], str],
    refusals: tuple[type[Exception], ...],
    watch: Watch,
    tried: int = 1,
    measure_memory: bool = False,
    allowed: Callable[[int], float] = seconds_for,
) -> Report:
    """Each document, written into a file of the watched folder, goes through `read`.

    Every one in `tried` of what it takes has to satisfy `works`, which says what is wrong. Other errors than
    `refusals`, warnings, long messages, and events that `watch` hears are failures. Processor time of what was too slow
    is the least of three.
    """
    report, path = Report(), watch.folder / "policy.json"
    for label, content in documents:
        path.write_bytes(content)
        report.documents += 1
        problems: list[str] = []
        seconds, grown, result = _read(path, read, watch, len(content), measure_memory)
        most = allowed(len(content))
        for _ in range(2):
            if seconds > most:
                seconds = min(seconds, _read(path, read, watch, len(content))[0])
        if seconds > most:
            problems.append(f"{seconds:.3f} s of processor time")
        if isinstance(result, refusals):
            message = str(result).replace(str(path), path.name)  # of any length, as the folder is
            problems += wrong_message(message)
            report.longest = max(report.longest, message, key=len)
        elif isinstance(result, BaseException):
            problems.append(f"{type(result).__name__}: {result!s:.300}")
        else:
            report.accepted += 1
            try:
                problems += filter(None, [works(path, result)] if report.accepted % tried == 0 else [])
            except Exception as error:
                problems.append(f"accepted, and then {type(error).__name__}: {error!s:.300}")
        problems += watch.seen
        watch.seen.clear()
        del result
        report.failures += [f"{label}: {problem} [{len(content)} bytes: {content[:300]!r}]" for problem in problems]
        report.slowest = sorted([*report.slowest, (seconds, len(content), label)], reverse=True)[:3]
        report.largest = sorted([*report.largest, (grown, len(content), label)], reverse=True)[:3]
    return report


def _read(
    path: Path, read: Callable[[Path], Any], watch: Watch, size: int, measure_memory: bool = False
) -> tuple[float, int, Any]:
    """Processor time, growth of memory, and the result or the error."""
    grown = 0
    if measure_memory:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        grown = -_resident()
    limited(memory_for(size))
    watch.on = True
    begin = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = read(path)
    except BaseException as error:
        result = error.with_traceback(None)
    seconds = time.process_time() - begin
    watch.on = False
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if measure_memory:
        grown += _resident("VmHWM")
    return seconds, grown, result


def wrong_message(message: str) -> list[str]:
    """What is wrong with a refusal's message: it is one short printable line that says what was expected and came."""
    wrong = []
    if len(message) > LONGEST_MESSAGE:
        wrong.append(f"a message of {len(message)} characters: {message[:200]}")
    if not message.isprintable():
        wrong.append(f"a message that is not printable: {message!r:.300}")
    if "expected " not in message:
        wrong.append(f"a message that does not say what was expected: {message:.300}")
    return wrong
