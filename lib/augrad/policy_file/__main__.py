"""`python -m augrad.policy_file` prints the JSON Schema of a policy file."""

import sys

from augrad.policy_file.schema import json_schema

sys.stdout.write(json_schema())
