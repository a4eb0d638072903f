"""augrad policy show: a policy as a table in the terminal, or as a page with pictures."""

import argparse
import os
from pathlib import Path

from augrad.cli.quoting import shell_quoted
from augrad.errors import PolicyFileError, UserError
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument
from augrad.policy_file.convert import policy_from_document, read_document
from augrad.show.policy_table import policy_table
from augrad.terminal.console import say

_BEGINNING = 200
"""Bytes in which a page says that it is one."""
_MOST_OPERATIONS = 30
"""Of the table, unless it is to have all."""


def add_show_arguments(parser: argparse.ArgumentParser, allow: str) -> None:
    """What `augrad policy show` takes besides the policy. allow: the help of --allow."""
    parser.add_argument("--all", action="store_true", help="every operation, not only the heaviest")
    parser.add_argument(
        "--html", metavar="OUT", help="write a page with pictures there instead, which needs no other file"
    )
    parser.add_argument("--images", metavar="FOLDER", help="of pictures for the page (default: two photographs)")
    parser.add_argument("--allow", metavar="MODULE", action="append", default=[], help=f"for the page: {allow}")


def show(options: argparse.Namespace) -> None:
    """Print the policy's table, or write its page; what the policy names is imported only for pictures, if allowed."""
    for name in ("images", "allow"):
        if getattr(options, name) and options.html is None:
            raise UserError(f"--{name}: expected it with --html, because it is for the page; add --html OUT.html")
    document = read_document(options.policy)
    if options.html is not None:
        require_page(options.html)
        _write_page(document, options)
        return
    limit = None if options.all else _MOST_OPERATIONS
    say(policy_table(document, limit, name=options.policy, advice="--all shows them"))


def require_page(path: str, output: str | None = None) -> None:
    """Raise UserError where a page written to `path` would replace something that is no page.

    A name given by mistake is often that of the policy itself. output: what else the command writes.
    """
    place = expanded(path)
    if output is not None and os.path.realpath(expanded(output)) == os.path.realpath(place):
        raise UserError(f"--html: expected another file than that of --output, got {path} for both")
    if place.is_file() and place.stat().st_size and not _is_page(place):
        raise UserError(f"--html: expected a new file or a page, and {path} is something else, which would be lost")


def _is_page(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(_BEGINNING).lstrip().lower().startswith(b"<!doctype html")


def _write_page(document: PolicyDocument, options: argparse.Namespace) -> None:
    # Imported here: the table needs none of it.
    from augrad.data.examples import examples_of, photographs
    from augrad.data.left_out import told
    from augrad.show.policy_page import write_policy_page

    policy = _policy_of(document, options)
    pictures = photographs() if options.images is None else examples_of(options.images)
    write_policy_page(options.html, Path(options.policy).name, document, policy, pictures, options.all)
    if pictures.left_out:
        say(f"{options.images}: left out {told(pictures.left_out, expanded(options.images))}", stderr=True)
    say(f"page: {shell_quoted(options.html)}")


def _policy_of(document: PolicyDocument, options: argparse.Namespace) -> Policy | None:
    """None where the document names operations from elsewhere, and none are allowed."""
    if document.definitions and not options.allow:
        return None
    try:
        return policy_from_document(document, options.allow)
    except PolicyFileError as error:
        raise PolicyFileError(f"{error} [in {options.policy}]") from error.__cause__
