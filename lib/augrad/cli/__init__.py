"""The commands: `augrad search`, `train`, `compare` and `policy`. Only they know Hydra.

`main` is the console script: it finds the command and leaves the rest of the line to it.
"""

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import cast

from augrad import __version__
from augrad.cli.signals import sigterm_raised, status_of, words_of
from augrad.terminal.output import guarded_output, lost_output

_COMMANDS = {
    "search": ("augrad.cli.search", "learn a policy", "augrad search data=digits search.steps=500"),
    "train": (
        "augrad.cli.train",
        "train a classifier with a policy",
        "augrad train policy.file=policy.json train.epochs=20",
    ),
    "compare": (
        "augrad.cli.compare",
        "judge several policies under one recipe, with intervals",
        "augrad compare data=digits",
    ),
    "policy": (
        "augrad.cli.policy_command",
        "show, validate, convert or compare policy files",
        "augrad policy show policy.json",
    ),
}

_USAGE = "usage: augrad COMMAND [arguments]   |   augrad --help   |   augrad --version"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; `arguments` None stands for `sys.argv[1:]`."""
    given = (sys.argv[1:] if arguments is None else arguments) or [""]
    with guarded_output(), sigterm_raised():
        try:
            return _main(given)
        except KeyboardInterrupt as error:  # while the command's libraries are loaded
            print(f"augrad {given[0]}: {words_of(error)}", file=sys.stderr)
            return status_of(error)


def _main(arguments: list[str]) -> int:
    command, *rest = arguments
    if command in ("-h", "--help", "-V", "--version"):
        print(_help() if command in ("-h", "--help") else f"augrad {__version__}")
        if reason := lost_output():
            print(f"augrad: standard output cannot be written: {reason}", file=sys.stderr)
        return int(reason is not None)
    if command in _COMMANDS:
        # Imported here: a command's libraries take seconds to load, and `augrad --help` needs none of them.
        run = cast(Callable[[list[str]], int], import_module(_COMMANDS[command][0]).main)
        return run(rest)
    if command:
        close = get_close_matches(command, _COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(_COMMANDS)}"
        print(f"augrad: error: there is no command {command!r}: {hint}\n{_USAGE}", file=sys.stderr)
    else:
        print(_help(), file=sys.stderr)
    return 2


def _help() -> str:
    lines = [f"  {name:<9}{text}\n{'':11}{example}" for name, (_, text, example) in _COMMANDS.items()]
    return "\n".join(
        [
            _USAGE,
            "",
            "Learns image-augmentation policies by gradient.",
            "",
            *lines,
            "",
            "augrad COMMAND --help tells what a command understands.",
        ]
    )
