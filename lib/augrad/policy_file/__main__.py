"""`python -m augrad.policy_file` prints the JSON Schema of a policy file; with a name, that built-in policy's file."""

import argparse
import sys

from augrad.policy_file.builtin_documents import builtin_documents
from augrad.policy_file.format import format_policy
from augrad.policy_file.schema import json_schema
from augrad.terminal.output import guarded_output

documents = builtin_documents()
parser = argparse.ArgumentParser("python -m augrad.policy_file", description=__doc__)
parser.add_argument("policy", nargs="?", choices=sorted(documents), help="a built-in policy")
name = parser.parse_args().policy
with guarded_output():  # a reader may leave early
    sys.stdout.write(format_policy(documents[name]) if name else json_schema())
