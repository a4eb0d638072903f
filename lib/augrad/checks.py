"""Values held against the types of what takes them: one check for calls from Python and for configurations."""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, wraps
from numbers import Integral, Real
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import AbstractArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from augrad.errors import UserError

Made = TypeVar("Made", bound=Callable[..., Any])

Seed = Annotated[int, Field(ge=0, lt=2**64)]
"""Of a `torch.Generator`."""
Draws = Annotated[int, Field(ge=1, le=10_000)]
"""How many for each image: more would be no better, and need more memory than there is."""
PathName = Annotated[str, Field(min_length=1)] | os.PathLike[str]

_NAMED = 5
"""How many names a message has."""
_VALUES = (bool, int, float, str)
_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "sequence_str": "a list",
    "missing": "one more number",
    "string_too_short": "a name that is not empty",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "dict_type": "values by name",
    "too_short": "at least one",
    "finite_number": "a finite number",
    "unexpected_keyword_argument": "no such key",
}
"""For what pydantic calls by these names."""
_TYPES = "int", "float", "bool", "str", "none"
"""How pydantic calls the simplest types."""
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
"""The same for limits: words, and where pydantic has the number."""
_EXPECTS = "Input should be "
"""How pydantic's other messages begin, if they say what was expected."""


def checked(made: Made) -> Made:
    """A function or a class whose arguments are held against its annotations at every call.

    Numbers of other libraries, such as NumPy's scalars, arrive as Python's. What `check_value` refuses is refused
    with the argument's name.
    """
    if inspect.isclass(made):
        made.__init__ = _checked(made.__init__)
    return cast(Made, made if inspect.isclass(made) else _checked(made))


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*positional, **named)
        except TypeError:
            return function(*positional, **named)  # Python says what is wrong with such a call
        types = annotations_of(function)
        for name, value in bound.arguments.items():
            bound.arguments[name] = check_value(value, types[name], name) if name in types else value
        return function(*bound.args, **bound.kwargs)

    return call


@lru_cache(maxsize=1024)
def annotations_of(made: Callable[..., Any]) -> dict[str, Any]:
    """The types of the arguments that a function or a class takes, by name; empty where they cannot be told."""
    try:
        hints = get_type_hints(made.__init__ if inspect.isclass(made) else made, include_extras=True)
        names = inspect.signature(made).parameters
    except (AttributeError, TypeError, NameError, ValueError):
        return {}
    return {name: hints[name] for name in names if name in hints}


def check_value(value: Any, annotation: Any, place: str) -> Any:
    """The value, numbers in it as Python's. Raises UserError, which begins with `place`, for one of another type.

    A whole number may stand for any number and a list for a tuple, but a word is no number, true is not 1, and numbers
    are finite. An annotation that is one class, or an array of a shape, says nothing here: who takes such an object can
    say how to make one.
    """
    value = plain(value)
    as_tuple = next((part for part in (annotation, *get_args(annotation)) if get_origin(part) is tuple), None)
    problems = _problems(tuple(value) if as_tuple and isinstance(value, list) else value, annotation)
    if not problems:
        return value
    within = [problem for problem in problems if any(isinstance(step, int) for step in problem["loc"])][:1]
    plainer = [problem for problem in problems if problem["type"] != "is_instance_of" or _worded(problem) == "a list"]
    words = " or ".join(dict.fromkeys(map(_worded, within or plainer or problems))).removesuffix(" or a whole number")
    if as_tuple and not within:
        words = f"a list of {len(get_args(as_tuple))}"
    for problem in within:
        place = f"{place}[{next(step for step in problem['loc'] if isinstance(step, int))}]"
        value = value if problem["type"] == "missing" else problem["input"]
    raise UserError(f"{place}: expected {words}, got {value!r}")


def refused(error: ValidationError, *place: str) -> UserError:
    """What pydantic found in the values at `place`, a line for each, in the words of `check_value`.

    Where it does not say what it expected, in its own.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    every = error.errors(include_url=False)
    for problem in every:
        within = (one["loc"][: len(problem["loc"])] == problem["loc"] for one in every if one is not problem)
        if problem["type"] == "too_short" and any(within):
            continue  # items that are none do not count
        # What has one of several types is told of each of them, with a word for the type behind the key.
        steps = [str(step) for step in problem["loc"] if not _names_a_type(step)]
        found.setdefault(".".join([*place, *steps]) or error.title, []).append(problem)
    return UserError("\n".join(f"{key}: {_sentence(problems)}" for key, problems in found.items()))


def _names_a_type(step: int | str) -> bool:
    """Whether a step to a value is pydantic's name of a type, as in "literal['auto']" and "function-after[...]"."""
    return isinstance(step, str) and (step in _TYPES or ("[" in step and step.endswith("]")))


def _sentence(problems: Sequence[Mapping[str, Any]]) -> str:
    first = problems[0]
    if first["type"] == "missing":
        return "expected a value, got none"
    told = [p for p in problems if p["type"] in _WORDS or p["type"] in _LIMITS or p["msg"].startswith(_EXPECTS)]
    expected = " or ".join(dict.fromkeys(map(_worded, told)))
    return f"{f'expected {expected}' if told else first['msg']}, got {first['input']!r:.80}"


def _worded(problem: Mapping[str, Any]) -> str:
    if problem["type"] in _LIMITS:
        words, key = _LIMITS[problem["type"]]
        limit = problem["ctx"][key]
        return f"{words} {f'{limit:g}' if isinstance(limit, float) else limit}"
    words = _WORDS.get(problem["type"]) or problem["msg"].removeprefix(_EXPECTS)
    return words.replace("an instance of Sequence", "a list")


def plain(value: Any) -> Any:
    """Numbers, alone and in lists, tuples and dictionaries, as Python's own; everything else as it is."""
    match value:
        case bool() | str() | None:
            return value
        case np.bool_():
            return bool(value)
        case Integral():
            return int(value)
        case Real() | Decimal():
            return float(value)
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return {key: plain(item) for key, item in value.items()} if type(value) is dict else value


def few(names: Iterable[str]) -> str:
    """For a message: the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def name_of(part: object) -> str:
    """What a part is called: a function by its name, an object by its class's."""
    return getattr(part, "__name__", type(part).__name__)


def require_returned(found: object, kind: type, part: str, returned_by: object) -> None:
    """Raise UserError unless what a part of a search has returned is a `kind`. part: what it is, as "estimator"."""
    if not isinstance(found, kind):
        raise UserError(
            f"{part} {name_of(returned_by)}: expected {kind.__module__}.{kind.__qualname__} from it, got "
            f"{type(found).__name__}; return one"
        )


def require_number(value: object, name: str, above: float = -math.inf) -> None:
    """Raise UserError unless `value` is a finite number, larger than `above`."""
    fits = isinstance(value, Real) and not isinstance(value, bool)
    if not fits or not above < float(value) < math.inf:  # type: ignore[arg-type]
        bound = f" above {above:g}" if above > -math.inf else ""
        raise UserError(f"expected {name}, a finite number{bound}, got {value!r}")


_MOST = 2**31 - 1
"""What is counted goes into memory."""


def require_count(value: object, name: str) -> None:
    """Raise UserError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer | torch.SymInt) or value < 1:
        got = f"a {type(value).__name__}" if isinstance(value, torch.Tensor) else repr(value)
        raise UserError(f"expected {name}, a whole number of at least 1, got {got}")
    if not isinstance(value, torch.SymInt) and value > _MOST:
        raise UserError(f"expected {name}, a whole number of at most {_MOST}, got {value}")


def require_flag(value: object, name: str) -> None:
    """Raise UserError unless `value` is true or false."""
    if not isinstance(value, bool | np.bool_):
        got = f"a {type(value).__name__}" if isinstance(value, torch.Tensor) else repr(value)
        raise UserError(f"{name}: expected true or false, got {got}")


def _problems(value: Any, annotation: Any) -> Any:
    """Those that pydantic finds."""
    try:
        adapter = _adapter(annotation)
        if adapter is not None:
            adapter.validate_python(value, strict=True)
    except ValidationError as error:
        return error.errors(include_url=False)
    except TypeError:  # an annotation that has no hash
        return []
    return []


@lru_cache(maxsize=1024)
def _adapter(annotation: Any) -> Any:
    parts = get_args(annotation)
    if inspect.isclass(annotation) and annotation not in _VALUES:
        return None
    if any(inspect.isclass(part) and issubclass(part, AbstractArray) for part in parts):
        return None
    try:
        return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None  # no type that a value can be held against
