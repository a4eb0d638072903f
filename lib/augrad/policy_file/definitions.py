"""Operations that are not augrad's own, as a policy file carries them: dotted names, and the options beside them.

Nothing here imports what a name stands for: `augrad.policy_file.convert` does, if the user allows it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator, BeforeValidator

from augrad.ops.definition import LONGEST_NAME, OPTIONS, Definition, conflict, is_dotted
from augrad.policy_file.magnitude import Magnitude
from augrad.policy_file.provenance import copy_provenance
from augrad.policy_file.refusals import EXPECTED, MOST_OPS, Place, describe, problem, suggestion

_TOLERANCE = 1e-9
"""Relative: a magnitude at the end of its range may be rounded past it."""


def _own_copy(data: Any) -> Any:
    """An object with no other keys than the options, none of them null, `arguments` a copy that is JSON."""
    data = data.given() if isinstance(data, Definition) else data
    if not isinstance(data, dict):
        return data
    for key, value in data.items():
        if key not in OPTIONS:
            advice = partial(suggestion, str(key), OPTIONS)
            raise problem(f"no key but {', '.join(OPTIONS)}", "an unknown one", str(key), advice=advice)
        if value is None:
            raise problem(f"{EXPECTED[key]}, or no such key", "null", key)
    copied = copy_provenance({key: value for key, value in data.items() if key == "arguments"})
    assert isinstance(copied, dict)
    return {**data, **copied}


def _fits_together(definition: Definition) -> Definition:
    found = conflict(definition)
    if found is not None:
        raise problem(found.expected, found.got, found.option, advice=found.advice)
    return definition


def _proper_names(data: Any) -> Any:
    if isinstance(data, dict):
        if len(data) > MOST_OPS:
            raise problem(EXPECTED["definitions"], f"{len(data)} definitions")
        for name in data:
            if not isinstance(name, str) or not is_dotted(name):
                expected = f"a name of at most {LONGEST_NAME} characters as in package.module.function"
                raise problem(expected, describe(name))
    return data


Definitions = Annotated[
    dict[str, Annotated[Definition, BeforeValidator(_own_copy), AfterValidator(_fits_together)]],
    BeforeValidator(_proper_names),
]


@runtime_checkable
class EntryOf(Protocol):
    """What is checked of an entry of a stage."""

    @property
    def op(self) -> str: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def magnitude(self) -> Magnitude | None: ...
    @property
    def signed(self) -> bool: ...


def check_entry(entry: EntryOf, definitions: Mapping[str, Definition], place: Place) -> None:
    """Raises a validation problem at `place` unless the entry of a dotted operation is as its definition says."""
    op, magnitude = entry.op, entry.magnitude
    if op not in definitions:
        advice = f"an operation that is not augrad's own needs its definition, in definitions[{describe(op)}]"
        raise problem("the name of an operation", describe(op), *place, "op", advice=advice)
    definition = definitions[op]
    if magnitude is None:
        if definition.has_magnitude:
            raise problem(EXPECTED["magnitude"], "nothing", *place, "magnitude", advice=f"{op} is defined with one")
        return
    if not definition.has_magnitude:
        raise problem(
            "no such key", describe(entry.unit), *place, "unit", advice=f"{op} is defined without a magnitude"
        )
    if entry.unit != definition.unit:
        raise problem(f'"{definition.unit}", the unit of {op}', describe(entry.unit), *place, "unit")
    if entry.signed and not definition.signed:
        raise problem("false", "true", *place, "signed", advice=f"{op} is defined without a sign")
    lowest, highest = definition.reach()
    slack = _TOLERANCE * max(1.0, abs(lowest), abs(highest))
    for key in ("value", "low", "high"):
        number = getattr(magnitude, key, lowest)
        if not lowest - slack <= number <= highest + slack:
            expected = f"a number from {lowest:g} to {highest:g}, the range of {op}"
            raise problem(expected, describe(number), *place, "magnitude", key)
