"""augrad policy show: a policy as a table in the terminal."""

import argparse

from augrad.policy_file.convert import read_document
from augrad.show.policy_table import policy_table
from augrad.terminal.console import say

_MOST_OPERATIONS = 30
"""Of the table, unless it is to have all."""


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """What `augrad policy show` takes besides the policy."""
    parser.add_argument("--all", action="store_true", help="every operation, not only the heaviest")


def show(options: argparse.Namespace) -> None:
    """Print the policy's table; what the policy names is not imported."""
    document = read_document(options.policy)
    limit = None if options.all else _MOST_OPERATIONS
    say(policy_table(document, limit, name=options.policy, advice="--all shows them"))
