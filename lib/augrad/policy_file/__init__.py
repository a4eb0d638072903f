"""The versioned policy document: what a policy does to an image, in absolute units, as JSON that a person can read.

`read_policy` and `parse_policy` accept a document or raise `PolicyFileError` with the place of the first problem;
`format_policy` and `write_policy` are deterministic, and what they write is always accepted again. Reading never runs
code: operations are looked up by name in `augrad.ops`, nothing is imported or unpickled.
"""

from augrad.policy_file.files import read_policy, write_policy
from augrad.policy_file.format import format_policy
from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.parse import parse_policy
from augrad.policy_file.schema import json_schema

__all__ = [
    "Entry",
    "LogitNormal",
    "Magnitude",
    "PolicyDocument",
    "SubPolicy",
    "Uniform",
    "UniformUpTo",
    "Value",
    "format_policy",
    "json_schema",
    "parse_policy",
    "read_policy",
    "write_policy",
]
