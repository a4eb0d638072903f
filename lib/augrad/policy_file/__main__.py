"""`python -m augrad.policy_file` prints the JSON Schema of a policy file."""

import sys

from augrad.policy_file.schema import json_schema
from augrad.terminal.output import guarded_output

with guarded_output():  # a reader may leave early
    sys.stdout.write(json_schema())
