"""Standard output and standard error as a run needs them: what cannot be written there never stops the work."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

_SPELLINGS = {
    "±": "+-",
    "−": "-",
    "–": "-",
    "°": " deg",
    "×": "x",
    "·": "-",
    "≤": "<=",
    "≥": ">=",
    "…": "...",
}
"""Characters of our own texts, for encodings that lack them."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BYTES = range(0xDC80, 0xDD00)
"""How Python holds the bytes of a file name that are not in the encoding of the file system."""


def writable(text: str, encoding: str = "utf-8") -> str:
    """`text` in characters that `encoding` has: others are spelled, as "+-" for "±", or escaped, as "\\xe9" for "é"."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(character if _has(encoding, character) else _spelled(character) for character in text)
    return text


def visible(text: str) -> str:
    """`text` with its control characters (other than tabs and line breaks) escaped: a terminal would obey them."""
    return _CONTROLS.sub(lambda found: _spelled(found[0]), text)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _spelled(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if character in _SPELLINGS:
        return _SPELLINGS[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Guarded:
    """A text stream that raises nothing: what it cannot take is spelled, escaped or dropped.

    lost: why something was dropped, the first time; None where nothing was.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with self._noted():
            self._given().write(writable(text, self.encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._stream is not None:
            with self._noted():
                self._stream.flush()

    def isatty(self) -> bool:
        try:
            return self._given().isatty()
        except (OSError, ValueError):
            return False

    def drain(self) -> None:
        """Write out what is held back; where that fails, drop it: the interpreter would fail over it at its end."""
        self.flush()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if self.lost is not None:
                descriptor = self._given().fileno()
                kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
                try:
                    os.dup2(nowhere, descriptor)
                    self._given().flush()
                finally:
                    os.dup2(kept, descriptor)
                    os.close(kept)
                    os.close(nowhere)

    def _given(self) -> Any:
        if self._stream is None:  # closed before Python began
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: of a closed file
            self.lost = self.lost or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__.get("_stream"), name)


def guarded(stream: Any) -> Any:
    """The text stream (None: there is none) as one whose `write` and `flush` never raise."""
    return stream if isinstance(stream, _Guarded) else _Guarded(stream)


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Within it, nothing that is written to `sys.stdout` or `sys.stderr` raises an error, whoever writes it.

    An encoding without a character, a closed pipe, a full disk, a stream that was closed from the start: what cannot
    be written is spelled, escaped or dropped. Afterwards the streams are as before.
    """
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = guards = guarded(sys.stdout), guarded(sys.stderr)
    try:
        yield
    finally:
        for guard in guards:
            guard.drain()
        sys.stdout, sys.stderr = before


def lost_output() -> str | None:
    """Why some of what was written to standard output is lost; None where nothing is, or where a reader left early."""
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if lost is None or isinstance(lost, BrokenPipeError):
        return None
    return getattr(lost, "strerror", None) or str(lost)


def _occupy_standard_descriptors() -> None:
    """Opens the null device where a standard stream was closed: else the next file would take its number.

    Then what a library or another process prints would end up in that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
