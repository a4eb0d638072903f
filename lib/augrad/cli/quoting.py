"""Texts of any kind on the command line: quoted for Hydra's grammar, and around that for a POSIX shell."""

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from augrad.errors import UserError
from augrad.paths import expanded
from augrad.terminal.output import visible, writable

_PATHS = (
    "policy.file",
    "data.root",
    "data.path",
    "data.store",
    "resume",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
)
_MADE_BY_HYDRA = ("hydra.run.dir", "hydra.sweep.dir")
"""Hydra makes these folders and would call one `~`; the other paths are expanded where they are used."""


def shell_quoted(text: str) -> str:
    """`text` as one word of a POSIX shell, in characters that both streams can write and a terminal can show."""
    encodings = {getattr(stream, "encoding", None) or "utf-8" for stream in (sys.stdout, sys.stderr)}
    plain = visible(text) == text and all(writable(text, encoding) == text for encoding in encodings)
    if plain or text.endswith("\n"):  # $(...) would drop a line break at the end
        return shlex.quote(text)
    told = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\0{byte:03o}" for byte in _bytes(text))
    return f"\"$(printf '%b' '{told}')\""


def _bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def hydra_quoted(text: str, quote: Quote = Quote.double) -> str:
    """`text` as a string of Hydra's grammar, in quotes; nothing in it is an interpolation."""
    # OmegaConf reads \${ as ${, and a backslash before that as two.
    literal = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)
    return QuotedString(literal, quote).with_quotes()


def override(key: str, text: str) -> str:
    """`key=text` as Hydra takes it: bare where that means this text, else with quotes."""
    bare = f"{key}={text}"
    read = _read(bare)
    means_it = isinstance(read, Override) and read.value() == text and "${" not in text
    return bare if text and means_it else f"{key}={hydra_quoted(text)}"


def command_line(*words: str) -> str:
    """The words as a line to paste into a shell."""
    return " ".join(map(shell_quoted, words))


def understood(given: str) -> str:
    """An override in Hydra's grammar: as it was given, or with quotes around what can mean only one thing.

    That is a `~` (the user's home) at the beginning of a value or of an item of a list, and a number or the like where
    a path stands. Raises UserError, with the override to type, for what Hydra cannot read, or reads as several paths;
    and for an empty path.
    """
    read = _read(given)
    if not isinstance(read, Override):
        at_home = _with_homes_quoted(given)
        given, read = (at_home, tried) if isinstance(tried := _read(at_home), Override) else (given, read)
    if not isinstance(read, Override):
        quoted = _quoted(given)
        if "=" not in given:
            whole = shell_quoted('data.root="my pictures"')
            raise UserError(
                f"{given}: expected an override, KEY=VALUE; a value with a space in it is quoted whole, as in {whole}"
            )
        if quoted is None:
            raise UserError(f"{given}: Hydra cannot read this override: {read}")
        raise UserError(
            f"{given}: Hydra cannot read this value; if it is meant as it stands, quote it: {shell_quoted(quoted)}\n"
            f"({read})"
        )
    if read.key_or_group not in _PATHS or read.is_delete() or read.value_type != ValueType.ELEMENT:
        return given
    key, _, typed = given.partition("=")
    value = read.value()
    if isinstance(value, list | dict):
        raise UserError(f"{given}: expected one path; quote what is its name: {shell_quoted(_quoted(given) or given)}")
    if value == "":
        raise UserError(f"{given}: expected a path, got an empty name; the current folder is .")
    if isinstance(value, int | float):  # bool, too
        return f"{key}={hydra_quoted(typed)}"
    if read.key_or_group in _MADE_BY_HYDRA and isinstance(value, str) and value.startswith("~"):
        # An interpolation stays one: only the beginning changes.
        return f"{key}={QuotedString(str(expanded(value)), Quote.double).with_quotes()}"
    return given


def is_override(given: object) -> bool:
    """Whether it is a text that Hydra can read."""
    return isinstance(given, str) and isinstance(_read(given), Override)


def text_of(given: str) -> str | None:
    """The text that an override sets, as Hydra's grammar reads it or, where that takes it for none, as it was typed.

    None for null.
    """
    typed, read = given.partition("=")[2], _read(given)
    value = read.value() if isinstance(read, Override) else typed
    if value is None:
        return None
    if not isinstance(value, str):
        return typed
    try:
        return str(OmegaConf.create({"text": value}).text)
    except OmegaConfBaseException:  # an interpolation of the configuration, which is not there yet
        return value


def no_names(overrides: Iterable[str], groups: Collection[str]) -> list[str]:
    """The overrides of one of `groups` with anything but a text, and all with a list of anything but texts."""
    read = {given: _read(given) for given in overrides}
    values = {
        given: (one.key_or_group, one.value())
        for given, one in read.items()
        if isinstance(one, Override) and not one.is_delete()
    }
    return [
        given
        for given, (key, value) in values.items()
        if (isinstance(value, list) and not all(isinstance(v, str) for v in value))
        or (key in groups and not isinstance(value, list | str))
    ]


def notes(overrides: Iterable[str], multirun: bool = False) -> Iterator[str]:
    """What may have been meant by overrides that Hydra reads, but not as one text.

    multirun: whether commas are for a sweep.
    """
    for given in overrides:
        read = _read(given)
        if isinstance(read, Override) and read.value_type == ValueType.SIMPLE_CHOICE_SWEEP and not multirun:
            yield f"(if the commas in {given} are part of one value, quote it: {shell_quoted(_quoted(given) or given)})"
        if isinstance(read, Override) and read.key_or_group in _PATHS:
            for name in re.findall(r"\$(\w+)", given):
                if name in os.environ:
                    yield f"(${name} is not expanded in {given}; write ${{oc.env:{name}}}, or let the shell do it)"


def _with_homes_quoted(given: str) -> str:
    """With quotes around every `~...` that begins a value or an item of a list; interpolations stay what they are."""
    at_home = r"(?<=[=\[,])~(?:\$\{[^}]*\}|[^,\[\]{}()'\"])*"
    return re.sub(at_home, lambda found: QuotedString(found[0], Quote.double).with_quotes(), given)


def _quoted(given: str) -> str | None:
    """The override with its value in quotes, of a list the items that need them; None where that does not help."""
    key, equals, typed = given.partition("=")
    if not equals:
        return None
    tries = [f"{key}={hydra_quoted(typed)}"]
    if typed.startswith("[") and typed.endswith("]") and key.lstrip("+") not in _PATHS:
        items = (item.strip() for item in typed[1:-1].split(","))
        listed = (item if isinstance(_read(f"x={item}"), Override) else hydra_quoted(item) for item in items)
        tries.insert(0, f"{key}=[{','.join(listed)}]")
    return next((quoted for quoted in tries if isinstance(_read(quoted), Override)), None)


def _read(given: str) -> Override | str:
    """What Hydra reads, or why it cannot."""
    try:
        return OverridesParser.create().parse_override(given)
    except HydraException as error:
        return " ".join(re.sub(r"^\w+ while evaluating .*?: ", "", str(error), flags=re.DOTALL).split())
