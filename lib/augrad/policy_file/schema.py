"""The JSON Schema of a policy file, for editors and other languages."""

import json

from augrad.policy_file.model import PolicyDocument

SCHEMA_FILE = "policy_file.schema.json"
"""Its published copy, in this package."""


def json_schema() -> str:
    """The JSON Schema (draft 2020-12) as text, made from the models.

    It knows shapes, types and ranges. That weights sum to 1, that an operation exists, that a unit is its unit, and
    what it accepts, is checked by `parse_policy` alone. `python -m augrad.policy_file` prints it.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PolicyDocument.model_json_schema()}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
