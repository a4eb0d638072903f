"""Where a policy of another library is from: for its provenance, and for messages."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from augrad.errors import UserError
from augrad.interop.losses import ConversionError, Loss, differences
from augrad.policy_file import PolicyDocument

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
