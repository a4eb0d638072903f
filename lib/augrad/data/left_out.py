"""What is left out of a folder of pictures, and how that is told: once, counted, the first few by name."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from augrad.checks import few
from augrad.errors import AugradWarning, UserError
from augrad.terminal.output import visible, writable


@dataclass(frozen=True)
class LeftOut:
    """kind: of what, in the plural, e.g. "files of other kinds". path: which. why: more about this one."""

    kind: str
    path: Path
    why: str = ""

    def told(self, root: Path) -> str:
        """Its path below `root`, on one line."""
        name = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        return f"{one_line(name)}{f' ({self.why})' if self.why else ''}"


def one_line(name: object) -> str:
    """A name for a message: no line break, nothing that a terminal takes for an order."""
    return writable(visible(str(name))).replace("\n", "\\n").replace("\t", "\\t")


def told(left_out: Iterable[LeftOut], root: Path) -> str:
    """Every kind with its number and its first names; empty if nothing is left out."""
    kinds = dict[str, list[LeftOut]]()
    for one in left_out:
        kinds.setdefault(one.kind, []).append(one)
    words = (f"{len(those)} {kind}: {few(one.told(root) for one in those)}" for kind, those in kinds.items())
    return "; ".join(words)


@contextmanager
def telling(left_out: Sequence[LeftOut], root: Path, copies: int = 0) -> Iterator[None]:
    """Tells what was left out in one warning, or in the UserError that ends what is done within.

    copies: how many pictures are copies of others, which an error may come from.
    """
    words = told(left_out, root)
    try:
        yield
    except UserError as error:
        beside = [f"left out: {words}"] if words else []
        beside += [f"{copies} images are copies of others, pixel for pixel, and count once"] if copies else []
        raise UserError(" | ".join([str(error), *beside])) from error
    if words:
        warnings.warn(f"{one_line(root)}: left out {words}", AugradWarning, stacklevel=4)
