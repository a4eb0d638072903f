"""Where a policy of another library is from: for its provenance, and for messages."""

import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from augrad.errors import UserError
from augrad.interop.losses import ConversionError, Loss, differences
from augrad.paths import expanded
from augrad.policy_file import PolicyDocument
from augrad.policy_file.files import start_of

_LARGEST = 64 * 2**20
"""Bytes of a document: far more than any."""
_LONGEST, _MOST = 300, 100
"""Characters of a text in the provenance, and differences: a document may have far more of its own."""


def with_source(document: PolicyDocument, source: str, losses: Sequence[Loss]) -> PolicyDocument:
    """`document` with a provenance that says where it is from, and what is done otherwise here, if anything is."""
    provenance: dict[str, str | list[str]] = {"source": _told(source)}
    if found := differences(losses)[:_MOST]:
        provenance["differences"] = [_told(what) for what in found]
    return document.model_copy(update={"provenance": provenance})


def _told(text: str) -> str:
    # Half a surrogate pair, which JSON can name and UTF-8 cannot hold, as its escape.
    return f"{text:.{_LONGEST}}".encode("utf-8", "backslashreplace").decode()


@contextmanager
def in_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside, what is wrong with the content of a file names the file, at the end of the message."""
    try:
        yield
    except ConversionError:
        raise
    except UserError as error:
        raise UserError(f"{error} [in {os.fspath(path)}]") from None


def hint(content: object) -> str:
    """What to do with the content of a file that is a policy of augrad; nothing for any other."""
    if isinstance(content, Mapping) and content.get("format") == "augrad.policy":
        return "; it is a policy file of augrad: read it with augrad.load_policy, or without --from"
    return ""


def text_of(path: str | os.PathLike[str]) -> str:
    """The text of a document. Raises UserError where it is far too large, and OSError and ValueError."""
    content = start_of(expanded(path), _LARGEST)
    if len(content) > _LARGEST:
        raise UserError(f"{os.fspath(path)}: expected a document of at most {_LARGEST >> 20} MiB, got more")
    return content.decode("utf-8")


class _Shortly(reprlib.Repr):
    """As `repr`, but never of more than a few entries and characters: a few lines of YAML can stand for gigabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 2, 4, 4, 4
        self.maxstring = self.maxlong = self.maxother = 60

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**60 else f"a number of {x.bit_length()} bits"


_SHORTLY = _Shortly()


def shortly(value: Any) -> str:
    """A value that came, for a message."""
    told = _SHORTLY.repr(value)
    return told if len(told) <= 120 else f"{told[:117]}..."
