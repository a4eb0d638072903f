"""From a document to text: deterministic, one operation a line, numbers with at most 12 significant digits."""

import json
from typing import Any

from augrad.policy_file.decode import LARGEST_FILE
from augrad.policy_file.model import VERSION, Entry, PolicyDocument, SubPolicy
from augrad.policy_file.numbers import rounded
from augrad.policy_file.refusals import refusal


def format_policy(document: PolicyDocument) -> str:
    """The document as JSON text, the same for equal documents: fixed order of keys, those of `provenance` sorted.

    `parse_policy` gives back an equal document, up to rounding to 12 significant digits, and formatting that one gives
    back the same text. Raises PolicyFileError if the text would exceed 16 MiB.
    """
    subpolicies = ",\n".join(_subpolicy(subpolicy) for subpolicy in document.subpolicies)
    provenance = json.dumps(_rounded_json(document.provenance), indent=2, sort_keys=True, ensure_ascii=False)
    text = (
        "{\n"
        f'  "format": {_json(document.format)},\n'
        f'  "version": {VERSION},\n'
        f'  "interpolation": {_json(document.interpolation)},\n'
        f'  "fill": {_json(document.fill)},\n'
        f"{_definitions(document)}"
        '  "subpolicies": [\n'
        f"{subpolicies}\n"
        "  ],\n"
        # Strings hold no line breaks in JSON, so every line break is layout.
        f'  "provenance": {provenance.replace(chr(10), chr(10) + "  ")}\n'
        "}\n"
    )
    if (size := len(text.encode())) > LARGEST_FILE:
        raise refusal(
            (),
            f"at most {LARGEST_FILE} bytes (16 MiB)",
            str(size),
            "shorten provenance, or leave out sub-policies of no weight",
        )
    return text


def _definitions(document: PolicyDocument) -> str:
    """One a line, in the order of their names; nothing at all without any."""
    if not document.definitions:
        return ""
    lines = [
        f"    {json.dumps(name)}: {json.dumps(_rounded_json(_sorted(definition.given())))}"
        for name, definition in sorted(document.definitions.items())
    ]
    return '  "definitions": {\n' + ",\n".join(lines) + "\n  },\n"


def _sorted(given: dict[str, Any]) -> dict[str, Any]:
    """Options in their own order; the keys of `arguments`, which have none, by name."""
    return {key: json.loads(json.dumps(value, sort_keys=True)) for key, value in given.items()}


def _subpolicy(subpolicy: SubPolicy) -> str:
    stages = ",\n".join("      [" + ",\n       ".join(map(_entry, stage)) + "]" for stage in subpolicy.stages)
    return f'    {{"weight": {_json(subpolicy.weight)}, "stages": [\n{stages}\n    ]}}'


def _entry(entry: Entry) -> str:
    keys: dict[str, Any] = {"op": entry.op}
    if entry.magnitude is not None:
        keys |= {"unit": entry.unit, "magnitude": entry.magnitude.model_dump(), "signed": entry.signed}
    return _json(keys | {"probability": entry.probability, "weight": entry.weight})


def _json(value: Any) -> str:
    return json.dumps(_rounded_json(value))


def _rounded_json(value: Any) -> Any:
    """The same JSON value with every float rounded."""
    match value:
        case float():
            return rounded(value)
        case list():
            return [_rounded_json(item) for item in value]
        case dict():
            return {key: _rounded_json(item) for key, item in value.items()}
    return value
