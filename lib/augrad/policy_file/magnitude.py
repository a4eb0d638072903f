"""How the magnitude of an operation is drawn: four kinds, told apart by their keys."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from augrad.policy_file.refusals import LARGEST, describe, problem, suggestion

Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, le=LARGEST, allow_inf_nan=False)]


class Record(BaseModel):
    """An object of the file: frozen, and with no other keys than its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        # One problem however many unknown keys there are, with the closest allowed key.
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown:
            key, allowed = str(unknown[0]), ", ".join(cls.model_fields)
            raise problem(
                f"no key but {allowed}", "an unknown one", key, advice=lambda: suggestion(key, cls.model_fields)
            )
        return data


class Value(Record):
    """The magnitude is `value`, in the unit of the operation."""

    value: Number


class Uniform(Record):
    """The magnitude is uniform between `low` and `high`; `low` may be the larger (solarize: 1 to 0)."""

    low: Number
    high: Number


class LogitNormal(Record):
    """The magnitude is low + (high - low) * sigmoid(location + scale * n), n standard normal; scale >= 0."""

    low: Number
    high: Number
    location: Number
    scale: NonNegative


def _true(value: object) -> object:
    # A literal true alone would accept 1 as well.
    if value is not True:
        raise problem("true (without the key, the magnitude is logit-normal)", describe(value))
    return value


def _require_uniform(schema: dict[str, Any]) -> None:
    schema["required"].append("uniform")
    del schema["properties"]["uniform"]["default"]


class UniformUpTo(Record):
    """The magnitude is uniform between `low` and a value drawn as for `LogitNormal`; `uniform` tells the two apart."""

    model_config = ConfigDict(json_schema_extra=_require_uniform)

    low: Number
    high: Number
    location: Number
    scale: NonNegative
    uniform: Annotated[Literal[True], BeforeValidator(_true)] = True


_KIND_OF_KEY = {
    "value": "Value",
    "uniform": "UniformUpTo",
    "location": "LogitNormal",
    "scale": "LogitNormal",
    "low": "Uniform",
    "high": "Uniform",
}
"""The first of these keys that is there decides."""


def _kind(value: object) -> str | None:
    """Which kind of magnitude the keys say; None if they say nothing."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    return next((kind for key, kind in _KIND_OF_KEY.items() if key in value), None) if isinstance(value, dict) else None


Magnitude = Annotated[
    Annotated[Value, Tag("Value")]
    | Annotated[Uniform, Tag("Uniform")]
    | Annotated[LogitNormal, Tag("LogitNormal")]
    | Annotated[UniformUpTo, Tag("UniformUpTo")],
    Discriminator(_kind),
]
