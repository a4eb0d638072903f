"""`python -m augrad.interop` prints what libraries can carry of a policy; with a name, that built-in policy's file."""

import argparse
import sys

from augrad.interop.builtin_documents import builtin_documents
from augrad.interop.coverage import coverage
from augrad.policy_file.format import format_policy
from augrad.terminal.output import guarded_output

documents = builtin_documents()
parser = argparse.ArgumentParser("python -m augrad.interop", description=__doc__)
parser.add_argument("policy", nargs="?", choices=sorted(documents), help="a built-in policy")
name = parser.parse_args().policy
with guarded_output():  # a reader may leave early
    sys.stdout.write(format_policy(documents[name]) if name else coverage())
