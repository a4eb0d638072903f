"""augrad policy: look at policy files and check them."""

import argparse
from difflib import unified_diff

from augrad.cli.status import exit_status, require_printed
from augrad.policy_file import PolicyDocument, format_policy
from augrad.policy_file.convert import load_policy, read_document
from augrad.show.table import policy_table
from augrad.terminal.console import say


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad policy`: for diff 1 when the policies differ."""
    parser = argparse.ArgumentParser("augrad policy", description="Look at policy files and check them.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text, count in (
        ("show", "the policy in words and absolute units", 1),
        ("validate", "whether a file can be loaded: silent and status 0, or the first problem and status 2", "+"),
        ("diff", "what two policies do differently; provenance is left out", 2),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("policy", nargs=count, help="a policy file, or the name of a built-in policy")
        if name == "validate":
            text = "a module, or a package with its modules, that the file may take operations from; can be repeated"
            command.add_argument("--allow", metavar="MODULE", action="append", default=[], help=text)
    options = parser.parse_args(arguments)
    different = False

    def run() -> None:
        nonlocal different
        if options.command == "validate":
            for source in options.policy:
                load_policy(source, options.allow)
            return
        documents = [read_document(source) for source in options.policy]  # what they name is not imported
        if options.command == "show":
            say(policy_table(documents[0]))
        else:
            first, second = options.policy
            before, after = map(_lines, documents)
            lines = list(unified_diff(before, after, first, second, lineterm="", n=1))
            different = bool(lines)
            say("\n".join(lines) if lines else "the policies do the same")
        require_printed()

    return exit_status(run, f"augrad policy {options.command}") or int(different)


def _lines(document: PolicyDocument) -> list[str]:
    return format_policy(document.model_copy(update={"provenance": {}})).splitlines()
