"""The options of an operation that is not augrad's own, as a search space or a policy file gives them with its name.

The name is dotted, as in `mypackage.ops.gamma`. Nothing is imported here: `augrad.ops.external` does that.
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from augrad.checks import plain
from augrad.errors import UserError
from augrad.ops.meaning import LARGEST
from augrad.ops.spec import MagnitudeGradient, Unit

LONGEST_NAME = 200
FINITE_DIFFERENCE = "finite_difference"
"""The surrogate without a function of the user's, see `augrad.ops.external.External`."""

Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]


def _described(meaning: str) -> Any:
    return Field(default=None, description=meaning)


def _absent_not_null(schema: dict[str, Any]) -> None:
    """In a file options are absent, never null; low, high and unit come together."""
    for name, option in schema["properties"].items():
        kept = next(choice for choice in option["anyOf"] if choice.get("type") != "null")
        schema["properties"][name] = {**kept, "title": option["title"], "description": option["description"]}
    schema["dependentRequired"] = {"low": ["high", "unit"], "high": ["low", "unit"], "unit": ["low", "high"]}


class Definition(BaseModel):
    """The options of one operation. An option that was not given is None.

    low, high: the weak and the strong end of the magnitude's range. unit: what the magnitude is measured in. An
    operation without a magnitude has none of the three. signed: whether the magnitude is multiplied by a random sign.
    kind: what the operation does to masks, boxes and key points. "color", "filter" and "erase" leave them as they are.
    "geometric" means that the operation moves pixels; a policy with such an operation refuses masks, boxes and key
    points. Default: for a function "geometric", because it may do anything; for a kornia operation, what its base class
    tells.
    magnitude_grad: where the derivative with respect to the magnitude comes from. "exact": from autograd, whose result
    is compared with finite differences when the operation is checked. "straight_through": from the surrogate, or from
    what the operation itself returns in place of a derivative. "none": there is no derivative; estimators that learn
    magnitudes by their score need none. Default: "straight_through" with a surrogate, otherwise "exact".
    surrogate: the name of a function that is called with the operation's arguments and returns d pixel / d magnitude
    [B, C, H, W]; or "finite_difference".
    image_grad: where the derivative with respect to the images comes from: "exact" (the default), autograd;
    "straight_through", the derivative of the identity.
    draws: of a function, how many uniform numbers in [0, 1) it takes for each image, as its third argument [B, draws].
    parameter, neutral, arguments: of a kornia operation, the name of the parameter that is set to neutral + magnitude,
    and further arguments of its constructor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_absent_not_null)

    low: Number | None = _described("a number, the weak end of the magnitude's range")
    high: Number | None = _described("a number, the strong end of the magnitude's range")
    unit: Unit | None = _described(
        "the unit of the magnitude: factor, fraction, degree, strength, threshold, addend, bits, pixel or weight"
    )
    signed: StrictBool | None = _described("true or false")
    kind: Literal["geometric", "color", "filter", "erase"] | None = _described("geometric, color, filter or erase")
    magnitude_grad: MagnitudeGradient | None = _described("exact, straight_through or none")
    image_grad: Literal["exact", "straight_through"] | None = _described("exact or straight_through")
    surrogate: StrictStr | None = _described("finite_difference, or the name of a function as in package.module.slope")
    draws: Annotated[int, Field(strict=True, ge=1, le=64)] | None = _described("a whole number from 1 to 64")
    parameter: StrictStr | None = _described("the name of a parameter of the kornia operation")
    neutral: Number | None = _described("a number, the parameter's value at magnitude 0")
    arguments: dict[str, Any] | None = _described("an object, arguments of the kornia operation by name")

    @property
    def has_magnitude(self) -> bool:
        """Whether the operation has a magnitude."""
        return self.low is not None

    def reach(self) -> tuple[float, float]:
        """The smallest and the largest magnitude, signs included, of an operation that has one."""
        assert self.low is not None
        assert self.high is not None
        ends = [self.low, self.high, *([-self.low, -self.high] if self.signed else [])]
        return min(ends), max(ends)

    def given(self) -> dict[str, Any]:
        """The options that were given, by name; `Definition(**definition.given())` equals this definition."""
        return self.model_dump(exclude_none=True)

    def other_names(self) -> tuple[str, ...]:
        """The dotted names that have to be imported besides the operation's own."""
        return (self.surrogate,) if self.surrogate not in (None, FINITE_DIFFERENCE) else ()


OPTIONS = tuple(Definition.model_fields)
EXPECTED: dict[str, str] = {key: field.description or "" for key, field in Definition.model_fields.items()}
"""What is expected of the value of each option."""


class Conflict(NamedTuple):
    """Options that do not fit together: which one is wrong, what was expected there, what came, and what to do."""

    option: str
    expected: str
    got: str
    advice: str


def is_dotted(name: str) -> bool:
    """Whether `name` has the form `package.module.function`."""
    if len(name) > LONGEST_NAME:
        return False
    parts = name.split(".")
    proper = all(part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in parts)
    return len(parts) > 1 and proper


def conflict(definition: Definition) -> Conflict | None:
    """The first conflict between the options that shows without importing the operation; None: there is none."""
    given = definition.given()
    of_range = [key for key in ("low", "high", "unit") if key in given]
    if of_range and len(of_range) < 3:
        missing = next(key for key in ("low", "high", "unit") if key not in given)
        advice = "low, high and unit come together; an operation without a magnitude has none of them"
        return Conflict(missing, EXPECTED[missing], "nothing", advice)
    if not of_range:
        for key in ("signed", "magnitude_grad", "surrogate", "parameter", "neutral"):
            if given.get(key, "none") not in (False, "none"):
                advice = "it says something about a magnitude; give low, high and unit, or remove it"
                return Conflict(key, "no such option", _short(given[key]), advice)
    elif definition.low == definition.high:
        advice = "a magnitude that cannot move is none: write a function of the images alone"
        return Conflict("high", f"a number other than low, {definition.low}", str(definition.high), advice)
    if definition.surrogate is not None:
        if definition.surrogate != FINITE_DIFFERENCE and not is_dotted(definition.surrogate):
            return Conflict(
                "surrogate", EXPECTED["surrogate"], _short(definition.surrogate), "name module and function"
            )
        if definition.magnitude_grad in ("exact", "none"):
            advice = "a surrogate is used straight-through; remove one of the two"
            return Conflict("magnitude_grad", "straight_through", repr(definition.magnitude_grad), advice)
    return None


def _short(value: object) -> str:
    return f"{value!a:.60}"


def make_definition(options: Any) -> Definition:
    """The definition with these options: a mapping, or None for no options. A value of None counts as not given.

    Raises UserError for an option that does not exist, a wrong value, and options that do not fit together.
    """
    if options is not None and not isinstance(options, Mapping):
        raise UserError(f"expected options as in {{low: 0.0, high: 1.0, unit: strength}}, got {options!r}")
    given = {key: _plain(value) for key, value in (options or {}).items() if value is not None}
    unknown = [str(key) for key in given if key not in OPTIONS]
    if unknown:
        raise UserError(f"expected only {', '.join(OPTIONS)}, got {', '.join(sorted(unknown))}")
    try:
        definition = Definition(**given)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise UserError(f"{key}: expected {EXPECTED[key]}, got {given[key]!r}") from None
    found = conflict(definition)
    if found is not None:
        raise UserError(f"{found.option}: expected {found.expected}, got {found.got}; {found.advice}")
    return definition


def _plain(value: Any) -> Any:
    """Mappings as dict, sequences as list: what JSON holds."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return plain(value)
