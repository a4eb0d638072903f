"""The document as values: frozen, strictly typed, valid by construction.

Building one from Python with something invalid raises `pydantic.ValidationError` (a ValueError).
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictStr,
    field_validator,
    model_validator,
)

from augrad import ops
from augrad.ops.definition import is_dotted
from augrad.ops.spec import Unit
from augrad.policy_file.definitions import Definitions, check_entry
from augrad.policy_file.magnitude import Magnitude, NonNegative, Record
from augrad.policy_file.numbers import written_sum
from augrad.policy_file.provenance import copy_provenance
from augrad.policy_file.refusals import (
    EXPECTED,
    LARGEST,
    MOST_EMPTY_PLACES,
    MOST_OPS,
    MOST_STAGES,
    MOST_SUBPOLICIES,
    STAGE,
    TOLERANCE,
    describe,
    known_names,
    problem,
)

VERSION = 1
FROM_FILE = "from a file"
"""Validation context: keys that say nothing (`"unit": null`) are refused too.

The `info` of validators is a pydantic.ValidationInfo, a protocol that run-time type checks cannot check.
"""

Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


def _entry_schema(schema: dict[str, Any]) -> None:
    # Absent, never null; a magnitude and its unit come together.
    for key in ("unit", "magnitude"):
        choices = schema["properties"][key]["anyOf"]
        schema["properties"][key] = next(choice for choice in choices if choice.get("type") != "null")
    schema["dependentRequired"] = {"unit": ["magnitude"], "magnitude": ["unit"], "signed": ["unit", "magnitude"]}


class Entry(Record):
    """One operation of a stage.

    op: a name of `augrad.ops`, or a dotted one that the document defines. unit, magnitude: None for an operation
    without a magnitude, else its unit and how its magnitude is drawn. signed: a random sign per image. probability: in
    0..1, of being applied when chosen. weight: of being chosen in its stage.
    """

    model_config = ConfigDict(json_schema_extra=_entry_schema)

    op: StrictStr
    unit: Unit | None = None
    magnitude: Magnitude | None = None
    signed: StrictBool = False
    probability: Fraction = 1.0
    weight: NonNegative = 1.0

    @field_validator("op")
    @classmethod
    def _known_op(cls, name: str) -> str:
        if name not in ops.names() and not is_dotted(name):
            raise problem("the name of an operation", describe(name), advice=lambda: known_names(name, ops.names()))
        return name

    @field_validator("unit", mode="before")
    @classmethod
    def _unit_of_op(cls, unit: Any, info: Any) -> Any:
        if "op" in info.data and unit is not None and not is_dotted(info.data["op"]):
            op = ops.get(info.data["op"])
            if op.unit is None:
                raise problem("no such key", describe(unit), advice=f"{op.name} has no magnitude")
            if unit != op.unit:
                raise problem(f'"{op.unit}", the unit of {op.name}', describe(unit))
        return unit

    @model_validator(mode="after")
    def _fits_op(self, info: Any) -> "Entry":
        if is_dotted(self.op):
            return self._check_defined(strictly=info.context == FROM_FILE)
        op = ops.get(self.op)
        if op.unit is None:
            self._check_no_magnitude(strictly=info.context == FROM_FILE)
            return self
        if self.unit is None:
            raise problem(f'"{op.unit}", the unit of {op.name}', self._came("unit"), "unit")
        if self.magnitude is None:
            advice = f"{op.name} needs one, in {op.unit}"
            raise problem(EXPECTED["magnitude"], self._came("magnitude"), "magnitude", advice=advice)
        if self.signed and not op.signed:
            raise problem("false", "true", "signed", advice=f"{op.name} has no opposite direction")
        lowest, highest = op.meaning.within(LARGEST, self.signed)
        for key in ("value", "low", "high"):
            number = getattr(self.magnitude, key, lowest)
            if not lowest <= number <= highest:
                expected = f"a number from {lowest:.0f} to {highest:.0f} ({op.unit} of {op.name})"
                raise problem(expected, describe(number), "magnitude", key)
        return self

    def _check_defined(self, strictly: bool) -> "Entry":
        """What can be said of an operation that is not augrad's own without its definition."""
        if self.unit is None and self.magnitude is None:
            self._check_no_magnitude(strictly)
            return self
        for key in ("unit", "magnitude"):
            if getattr(self, key) is None:
                raise problem(EXPECTED[key], self._came(key), key, advice="unit and magnitude come together")
        return self

    def _check_no_magnitude(self, strictly: bool) -> None:
        """In a file (`strictly`) the keys are absent; in Python they may also hold their defaults."""
        present = {"unit": self.unit is not None, "magnitude": self.magnitude is not None, "signed": self.signed}
        for key, unwanted in present.items():
            if unwanted or (strictly and key in self.model_fields_set):
                raise problem("no such key", self._came(key), key, advice=f"{self.op} has no magnitude")

    def _came(self, key: str) -> str:
        value = getattr(self, key)
        return describe(value.model_dump() if isinstance(value, BaseModel) else value, key in self.model_fields_set)


def _weights_sum_to_one(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # As they will be written, so that a document accepted once is accepted again after writing.
    total = written_sum(item.weight for item in items)
    if abs(total - 1.0) > TOLERANCE:
        raise problem("weights that sum to 1", f"a sum of {total:.9g}", advice="divide each weight by the sum")
    return items


def _at_most(count: int, what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) > count:
            raise problem(what, describe(value))
        return value

    return BeforeValidator(check)


# Counting first, and stopping at the first bad operation or stage, bounds what a large bad file costs.
Stage = Annotated[
    tuple[Entry, ...],
    FailFast(),
    Field(min_length=1, max_length=MOST_OPS),
    AfterValidator(_weights_sum_to_one),
    _at_most(MOST_OPS, STAGE),
]
"""One of its operations is chosen; their weights sum to 1."""


def _fits_a_table(subpolicies: tuple["SubPolicy", ...]) -> tuple["SubPolicy", ...]:
    stages = max(len(subpolicy.stages) for subpolicy in subpolicies)
    width = max(len(stage) for subpolicy in subpolicies for stage in subpolicy.stages)
    operations = sum(len(stage) for subpolicy in subpolicies for stage in subpolicy.stages)
    if len(subpolicies) * stages * width - operations > MOST_EMPTY_PLACES:
        raise problem(
            "sub-policies of like size: a table of sub-policies x stages x operations of which at most "
            f"{MOST_EMPTY_PLACES} places are empty",
            f"{len(subpolicies)} x {stages} x {width} places for {operations} operations",
            advice="leave out sub-policies of weight 0 and operations of weight 0, or divide the largest sub-policy",
        )
    return subpolicies


class SubPolicy(Record):
    """Stages, applied one after another; weight: the probability of being chosen."""

    weight: NonNegative
    stages: Annotated[
        tuple[Stage, ...],
        FailFast(),
        Field(min_length=1, max_length=MOST_STAGES),
        _at_most(MOST_STAGES, EXPECTED["stages"]),
    ]


def _document_schema(schema: dict[str, Any]) -> None:
    for key in ("format", "version"):
        del schema["properties"][key]["default"]
    schema["required"] = ["format", "version", *schema["required"]]


class PolicyDocument(Record):
    """A policy: one sub-policy is chosen for each image. In a file `format` and `version` are required.

    interpolation, fill: how geometric operations resample, and the value in 0..1 of what they uncover. definitions: of
    the operations that are not augrad's own, by their dotted names. provenance: any JSON object; it changes nothing in
    what the policy does.
    """

    model_config = ConfigDict(title="augrad policy", json_schema_extra=_document_schema)

    format: Literal["augrad.policy"] = "augrad.policy"
    version: Literal[1] = VERSION
    interpolation: Literal["bilinear", "nearest"]
    fill: Fraction
    definitions: Definitions = Field(default_factory=dict)
    subpolicies: Annotated[
        tuple[SubPolicy, ...],
        Field(min_length=1, max_length=MOST_SUBPOLICIES),
        AfterValidator(_weights_sum_to_one),
        AfterValidator(_fits_a_table),
        _at_most(MOST_SUBPOLICIES, EXPECTED["subpolicies"]),
    ]
    provenance: dict[str, Any] = Field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """All operations, stage by stage."""
        return (entry for subpolicy in self.subpolicies for stage in subpolicy.stages for entry in stage)

    @field_validator("provenance", mode="before")
    @classmethod
    def _own_provenance(cls, provenance: Any, info: Any) -> Any:
        return copy_provenance(provenance, own=info.context == FROM_FILE)

    @model_validator(mode="after")
    def _defined(self) -> "PolicyDocument":
        """Every dotted name is defined, every definition used, and entries are what their definitions say."""
        unused = dict.fromkeys(self.definitions)
        for s, subpolicy in enumerate(self.subpolicies):
            for stage_index, stage in enumerate(subpolicy.stages):
                for k, entry in enumerate(stage):
                    if is_dotted(entry.op):
                        unused.pop(entry.op, None)
                        check_entry(entry, self.definitions, ("subpolicies", s, "stages", stage_index, k))
        for name in unused:
            raise problem("an operation that the policy uses", "one that it does not use", "definitions", name)
        return self
