"""An extension of Griffe: how the docstrings of augrad, which are plain sentences, become Markdown.

`argument: meaning` of an argument or a field becomes an item of a list, wherever in a paragraph it begins, and so does
`"value": meaning`, one level deeper; what is raised is a paragraph of its own; `augrad.name` in backticks leads to
where the name is documented. Everything else is text: no sign in it is taken for markup.
"""

import re
import textwrap
from dataclasses import fields

from griffe import Attribute, Class, Expr, Extension, Function, Object, Parameter, ParameterKind, Parameters

_CODE = re.compile(r"(`[^`]*`)")
# `low`, as in "low (in degrees), high: the range"; of what stands beside a name, brackets come whole.
_NAME = r"[A-Za-z_]\w*(?: \([^:()]*\)| \[[^:\[\]]*\])?"
_NAMES = rf"{_NAME}(?:, {_NAME})*"


class Sentences(Extension):
    """See the module."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrites the docstring of `obj` once all its members are known."""
        if isinstance(obj, Class):
            _add_signature(obj)
        _strip_shapes(obj)
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, _arguments(obj))


def _add_signature(cls: Class) -> None:
    """A dataclass of pydantic is one, too: Griffe knows those of the standard library."""
    made_by = {decorator.callable_path for decorator in cls.decorators}
    if "__init__" in cls.members or "pydantic.dataclasses.dataclass" not in made_by:
        return
    parameters = [
        Parameter(name, annotation=member.annotation, kind=ParameterKind.positional_or_keyword, default=member.value)
        for name, member in cls.members.items()
        if isinstance(member, Attribute)
    ]
    cls.set_member("__init__", Function("__init__", parameters=Parameters(*parameters), returns="None"))


def _strip_shapes(obj: Object) -> None:
    """A shape of one axis, as in `Float[Tensor, " B"]`, has a space that only the style check needs."""
    if isinstance(obj, Function):
        _stripped([obj.returns, *(parameter.annotation for parameter in obj.parameters)])
    elif isinstance(obj, Attribute):
        _stripped(obj.annotation)


def _stripped(part: object) -> object:
    if isinstance(part, Expr):
        for field in fields(part):
            if field.name != "parent":
                setattr(part, field.name, _stripped(getattr(part, field.name)))
    elif isinstance(part, list):
        return [_stripped(one) for one in part]
    return re.sub(r"^(['\"]) ", r"\1", part) if isinstance(part, str) else part


def _arguments(obj: Object) -> set[str]:
    """The names that a docstring may explain."""
    if isinstance(obj, Function):
        return {parameter.name for parameter in obj.parameters} | _named_fields(obj)
    if isinstance(obj, Class):
        initial = obj.members.get("__init__")
        arguments = _arguments(initial) if isinstance(initial, Function) else set()
        call = obj.members.get("__call__")
        arguments |= _arguments(call) if isinstance(call, Function) else set()
        return arguments | {name for name, member in obj.members.items() if member.is_attribute}
    return set()


def _named_fields(function: Function) -> set[str]:
    """Without the star of `*args`."""
    return {parameter.name.lstrip("*") for parameter in function.parameters}


def as_markdown(docstring: str, arguments: set[str]) -> str:
    """The docstring in Markdown; `arguments`: names whose `name: meaning` becomes an item."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", textwrap.dedent(docstring)):
        for part in _parts(paragraph.splitlines()):
            if part.startswith("    "):  # a formula or an example: as it stands, within the item that it belongs to
                belongs = bool(found) and found[-1].splitlines()[-1].startswith(("- ", "    "))
                found.append(textwrap.indent(textwrap.dedent(part), " " * (8 if belongs else 4)))
            else:
                found.append(_paragraph(part, arguments))
    return "\n\n".join(found)


def _parts(lines: list[str]) -> list[str]:
    """A paragraph, parted where a formula (indented by four) begins and ends, and where a hanging indent ends."""
    parts: list[list[str]] = [[]]
    formula = nested = False
    for line in lines:
        indented = line.startswith("  ")
        nested = indented and (nested or not line.startswith("    ") or line.lstrip().startswith('"'))
        if parts[-1] and (formula != (indented and not nested) or (not indented and parts[-1][-1].startswith("  "))):
            parts.append([])
        formula = indented and not nested
        parts[-1].append(f"    {line.lstrip()}" if formula else line)
    return ["\n".join(part) for part in parts]


def _paragraph(text: str, arguments: set[str]) -> str:
    joined = " ".join(text.split())
    pieces: list[tuple[str, str, str]] = [("text", "", "")]
    for piece in re.split(rf"(?:(?<=[.;?)] )|^)(?=(?:{_NAMES}|\"[a-z_]+\"): |Raises )", joined):
        name, colon, rest = piece.partition(": ")
        kind = pieces[-1][0]
        if colon and re.fullmatch(_NAMES, name) and {one.split()[0] for one in _names(name)} <= arguments:
            pieces.append(("argument", name, rest.strip()))
        elif colon and re.fullmatch(r'"[a-z_]+"', name):
            pieces.append(("value of it" if kind in ("argument", "value of it") else "value", name, rest.strip()))
        elif piece.startswith("Raises ") or kind == "raises":
            pieces.append(("raises", "", piece.strip()))
        else:  # no name of ours: it goes on with the sentence before
            last = pieces.pop()
            pieces.append((last[0], last[1], f"{last[2]} {piece.strip()}".strip()))
    return "\n".join(_line(*piece) for piece in pieces if piece[2]).strip("\n")


def _line(kind: str, name: str, text: str) -> str:
    if name:
        split = [one.partition(" ") for one in _names(name)]
        names = ", ".join(f"`{one}`{space}{_escaped(rest)}" for one, space, rest in split)
        return f"{'    ' if kind == 'value of it' else ''}- {names}: {_escaped(text)}"
    return f"\n{_escaped(text)}\n"


def _names(names: str) -> list[str]:
    return re.findall(_NAME, names) if not names.startswith('"') else [names]


def _escaped(text: str) -> str:
    parts = _CODE.split(text)
    parts[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)
