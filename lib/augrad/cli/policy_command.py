"""augrad policy: look at policy files, check them, change them, and translate them."""

import argparse
import json
from collections.abc import Callable, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

from augrad.atomic import write_text
from augrad.cli.policy_show import add_show_arguments, require_page, show
from augrad.cli.status import exit_status, require_printed
from augrad.errors import UserError
from augrad.interop.losses import Converted, in_words
from augrad.interop.sources import in_file
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument, format_policy, write_policy
from augrad.policy_file.convert import (
    builtin_policies,
    document_of,
    load_policy,
    policy_from_document,
    read_document,
)
from augrad.policy_file.edit import merged, pruned
from augrad.policy_file.files import require_place
from augrad.show.agreement import agreement_in_words, write_agreement
from augrad.show.difference import difference_in_words
from augrad.terminal.console import say
from augrad.terminal.output import visible

_IN_PIXELS = "albumentations", "timm"
_TOLD = "paper", "source", "searched on"
_ALLOW = "a module, or a package with its modules, that the file may take operations from; can be repeated"
_SOURCE = "a policy file, or the name of a built-in policy"


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `augrad policy`: for diff 1 when the policies differ."""
    options = _parser().parse_args(arguments)
    status = 0

    def run() -> None:
        nonlocal status
        status = options.run(options) or 0
        require_printed()

    return exit_status(run, f"augrad policy {options.command}") or status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("augrad policy", description="Look at policy files, check and translate them.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("list", _list, "the built-in policies: what each is, and where it comes from")
    show_parser = command("show", show, "the policy in words and absolute units")
    show_parser.add_argument("policy", help=_SOURCE)
    add_show_arguments(show_parser, _ALLOW)

    text = "whether a file can be loaded: silent and status 0, or the first problem and status 2"
    validate = command("validate", _validate, text)
    validate.add_argument("policy", nargs="+", help=_SOURCE)
    validate.add_argument("--allow", metavar="MODULE", action="append", default=[], help=_ALLOW)

    text = "a policy for another library, or one of another library for augrad"
    convert = command("convert", _convert, text)
    text = f"{_SOURCE}; with --from that library's file, or a configuration of timm"
    convert.add_argument("policy", help=text)
    convert.add_argument("--from", dest="source", choices=_READERS, help="what it is, if it is not augrad's")
    text = "for what (default: %(default)s); torchvision, Kornia and timm take objects, not files: augrad.interop has "
    text += "to_torchvision, to_kornia and to_timm for Python"
    convert.add_argument("--to", choices=_WRITERS, default="augrad", help=text)
    convert.add_argument("--allow", metavar="MODULE", action="append", default=[], help=_ALLOW)
    convert.add_argument("--side", type=int, help="of the images in pixels, where the source counts in pixels")
    convert.add_argument(
        "--strict", action="store_true", help="refuse to lose anything, instead of saying what is lost"
    )
    _add_output(convert)

    text = "how two policies differ, in shares and in units; provenance is left out"
    diff = command("diff", _diff, text)
    diff.add_argument("policy", nargs=2, help=_SOURCE)
    diff.add_argument("--text", action="store_true", help="the lines of the documents that differ")
    text = "several policies as one, which chooses among them for each image; and what they agree on"
    merge = command("merge", _merge, text)
    merge.add_argument("policy", nargs="+", help=_SOURCE)
    merge.add_argument("--weights", type=float, nargs="+", help="of the policies (default: all alike)")
    merge.add_argument("--html", metavar="FILE", help="write a page with what the policies agree on")
    _add_output(merge)
    prune = command("prune", _prune, "a policy without what it does to less than a share of the images")
    prune.add_argument("policy", help=_SOURCE)
    prune.add_argument("--below", type=float, default=0.01, help="the share (default: %(default)s)")
    _add_output(prune)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")


def _list(options: argparse.Namespace) -> None:
    for name in builtin_policies():
        provenance = read_document(name).provenance
        say("\n    ".join([name, *(f"{key}: {provenance[key]}" for key in _TOLD if key in provenance)]))


def _validate(options: argparse.Namespace) -> None:
    for source in options.policy:
        load_policy(source, options.allow)


def _diff(options: argparse.Namespace) -> int:
    documents = [read_document(source) for source in options.policy]
    names = [visible(name).replace("\n", "\\n") for name in options.policy]
    before, after = map(_lines, documents)
    lines = list(unified_diff(before, after, *names, lineterm="", n=1))
    if not lines or _do_the_same(documents):
        say("the policies do the same")
        return 0
    if options.text:
        say("\n".join(lines))
    else:
        for part in difference_in_words(documents, names):
            say(part)
    return 1


def _do_the_same(documents: Sequence[PolicyDocument]) -> bool:
    """Whether two documents are one policy: a magnitude that is always the same may be written in several ways."""
    if any(document.definitions for document in documents):
        return False  # making a policy of these would import what they name
    first, second = (_lines(document_of(policy_from_document(document))) for document in documents)
    return first == second


def _lines(document: PolicyDocument) -> list[str]:
    return format_policy(document.model_copy(update={"provenance": {}})).splitlines()


def _merge(options: argparse.Namespace) -> None:
    documents = [read_document(source) for source in options.policy]
    together = merged(documents, options.weights)
    if options.html is not None:
        require_page(options.html, options.output)
    if options.output is not None:
        require_place(options.output)
    for part in agreement_in_words(documents, together):
        say(part, stderr=True)
    if options.html is not None:
        write_agreement(options.html, documents, together, options.policy, options.weights)
    _put_document(together, options.output)


def _prune(options: argparse.Namespace) -> None:
    _put_document(pruned(read_document(options.policy), options.below), options.output)


def _convert(options: argparse.Namespace) -> None:
    _require_used(options)
    if options.source is None:
        read = Converted(load_policy(options.policy, options.allow), ())
        if options.allow and not document_of(read.result).definitions:
            raise UserError(
                f"--allow: expected it for a policy with operations of other modules, which {options.policy} has not; "
                "leave it out"
            )
    else:
        read = _READERS[options.source](options)
    # Only now: what is refused leaves no file.
    text, losses = _WRITERS[options.to](read.result, options)
    for sentence in in_words((*read.losses, *losses)):
        say(f"lost: {sentence}", stderr=True)
    if options.output is None:
        say(text.rstrip("\n"))
    else:
        require_place(options.output)
        write_text(options.output, text)


def _require_used(options: argparse.Namespace) -> None:
    """Raise UserError for an option that would say nothing about such a policy."""
    if options.side is not None and options.source not in _IN_PIXELS:
        raise UserError(
            f"--side: expected it with --from {' or '.join(_IN_PIXELS)}, which can count in pixels; leave it out"
        )
    if options.allow and options.source is not None:
        raise UserError("--allow: expected it for a policy file of augrad, without --from; leave it out")


def _from_genotype(options: argparse.Namespace) -> Converted[Policy]:
    from augrad.interop.genotype import from_genotype, read_genotype

    listed = read_genotype(options.policy)
    with in_file(options.policy):
        return from_genotype(listed, options.strict, Path(options.policy).name)


def _from_albumentations(options: argparse.Namespace) -> Converted[Policy]:
    from augrad.interop.albumentations import from_albumentations

    return from_albumentations(options.policy, options.side, options.strict)


def _from_timm(options: argparse.Namespace) -> Converted[Policy]:
    from augrad.interop.timm import from_timm

    return from_timm(options.policy, options.side, options.strict)


def _to_augrad(policy: Policy, options: argparse.Namespace) -> tuple[str, Any]:
    return format_policy(document_of(policy)), ()


def _to_genotype(policy: Policy, options: argparse.Namespace) -> tuple[str, Any]:
    from augrad.interop.genotype import to_genotype

    found = to_genotype(policy, strict=options.strict)
    return "[\n" + ",\n".join(json.dumps(one) for one in found.result) + "\n]\n", found.losses


def _to_albumentations(policy: Policy, options: argparse.Namespace) -> tuple[str, Any]:
    from augrad.interop.albumentations import serialized, to_albumentations

    found = to_albumentations(policy, strict=options.strict)
    as_yaml = options.output is not None and Path(options.output).suffix.lower() in (".yaml", ".yml")
    return serialized(found.result, "yaml" if as_yaml else "json"), found.losses


_READERS: dict[str, Callable[[argparse.Namespace], Converted[Policy]]] = {
    "albumentations": _from_albumentations,
    "genotype": _from_genotype,
    "timm": _from_timm,
}
_WRITERS: dict[str, Callable[[Policy, argparse.Namespace], tuple[str, Any]]] = {
    "augrad": _to_augrad,
    "genotype": _to_genotype,
    "albumentations": _to_albumentations,
}


def _put_document(document: PolicyDocument, output: str | None) -> None:
    if output is None:
        say(format_policy(document).rstrip("\n"))
    else:
        write_policy(document, output)
