"""What an override may have meant that was refused."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import yaml
from hydra.errors import HydraException

from augrad.cli import quoting
from augrad.cli.configs import config_directory
from augrad.cli.mistakes import raised_in
from augrad.cli.unread import did_you_mean, names_in, paths_that_end_in, refused_setting
from augrad.errors import UserError

_ALSO_CALLED = {"learning_rate": "lr", "num_steps": "steps", "num_epochs": "epochs", "bs": "batch_size"}
"""Settings by names that other programs have for them."""


@contextmanager
def hints_added(overrides: list[str], multirun: bool, command: str) -> Iterator[None]:
    """Adds to a mistake what its overrides may have meant; command: whose they are, e.g. "search"."""
    try:
        yield
    except (UserError, HydraException) as error:
        told = (
            refused_setting(str(error), overrides, command)
            or _setting_of_another_option(str(error), overrides)
            or _setting_elsewhere(str(error), overrides, command)
        )
        told = error if told is None else UserError(told)
        for note in quoting.notes(overrides, multirun):
            told.add_note(note)
        raise told from error.__cause__
    except (TypeError, ValueError) as error:
        if raised_in(error, ("hydra._internal.defaults_list",)):
            _require_names(error, overrides)
        raise


def _require_names(error: Exception, overrides: list[str]) -> None:
    """Raises UserError for an override of a group with anything but names, if that is what `error` is about."""
    if isinstance(error, TypeError) or "Config group override must be a string or a list" in str(error):
        groups = [folder.name for folder in Path(config_directory()).iterdir() if folder.is_dir()]
        for wrong in quoting.no_names(overrides, groups)[:1]:
            raise UserError(f"{wrong}: expected the name of an option, or a list of names") from error


def _setting_of_another_option(message: str, overrides: list[str]) -> str | None:
    """What to say of an override that the chosen option of a group does not have: another one has it, or its name is
    close to one that some option has. None where neither is so."""
    refused = re.match(r"Could not override '([\w/]+)\.([\w.]*\w)", message)
    if refused is None:
        return None
    group, path = refused.groups()
    options, known = [], set()
    for file in sorted(Path(config_directory(), group).glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = set(names_in(content.get(group) or content))
        known |= names
        if path in names:
            options.append(file.stem)
    given = next((o for o in overrides if o.startswith(f"{group}.{path}")), f"{group}.{path}=...")
    if options:
        choices = " or ".join(f"{group}={option}" for option in options)
        return f"{given}: the chosen option of {group} has no {path}; it belongs to {choices}, so give that, too"
    before, beside = "", _below("", known)
    for name in path.split("."):
        if f"{before}{name}" not in known:  # the first name of the path that no option knows
            close = get_close_matches(name, beside, n=1)
            if not close:
                return None
            return f"{given}: no such setting; did you mean {group}.{before}{close[0]}? To add one: +{given}"
        before = f"{before}{name}."
        beside = _below(before, known)
    return None


def _setting_elsewhere(message: str, overrides: list[str], command: str) -> str | None:
    """What to say of an override of a setting that is not there, but in another place, or of an operation that the
    chosen space has not. None for others."""
    refused = re.match(r"Could not override '([\w.]*\w)'", message)
    if refused is None:
        return None
    path = refused[1]
    given = next((override for override in overrides if override.startswith(path)), f"{path}=...")
    if operation := re.match(r"space\.ops\.(\w+)", path):
        return f"{given}: the chosen space has no {operation[1]}; to add it: +space.ops.{operation[1]}={{}}"
    name = path.rpartition(".")[2]
    every = paths_that_end_in(_ALSO_CALLED.get(name, name), command)
    if path in every:  # the place is there: something around it, or what is put into it, is not
        above, value = path.rpartition(".")[0], given.partition("=")[2]
        if value.startswith("{"):
            return f"{given}: it has no such entry yet; to add one: ++{given.lstrip('+')}"
        return f"{given}: {above} is null here, and nothing of it can be set; leave this out, or give all of {above}"
    near = [one for one in every if one.partition(".")[0] == path.partition(".")[0]]
    meant = did_you_mean(near or every)
    return f"{given}: no such setting{meant}" if meant else None


def _below(before: str, names: set[str]) -> list[str]:
    """The last parts of the paths that stand directly below the path `before`."""
    return [name[len(before) :] for name in names if name.startswith(before) and "." not in name[len(before) :]]
