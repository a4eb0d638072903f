"""Settings that a command does not have: adding one with + would change nothing, and is refused."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from augrad.cli.configs import config_directory
from augrad.errors import UserError

_COMMANDS = "search", "train", "compare"


@cache
def settings_of(command: str) -> frozenset[str]:
    """The names at the top of a command's configuration, groups among them; none of a command that is not ours."""
    folder = Path(config_directory())
    if not (folder / f"{command}.yaml").is_file():
        return frozenset()
    groups = {path.name for path in folder.iterdir() if path.is_dir()}
    files = (folder / f"{name}.yaml" for name in (command, "parts", "recipe"))
    return frozenset(groups.union(*(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)))


@cache
def groups_and_settings(command: str) -> tuple[frozenset[str], frozenset[str]]:
    """The groups of all commands, and what else a command has at the top of its configuration."""
    groups = frozenset(path.name for path in Path(config_directory()).iterdir() if path.is_dir())
    return groups, settings_of(command) - groups


def require_read(config: DictConfig) -> None:
    """Raises UserError for a setting that the command line adds at the top, and that neither the command nor another
    setting reads."""
    command, given = HydraConfig.get().job.config_name or "", list(HydraConfig.get().overrides.task)
    if not (known := settings_of(command)):
        return
    text = ""
    for override in OverridesParser.create().parse_overrides(given):
        top = re.split(r"[./@]", override.key_or_group)[0]
        if top not in known and (override.is_add() or override.is_force_add()):
            text = text or OmegaConf.to_yaml(config, resolve=False)
            if not re.search(rf"\$\{{([\w.]+:[^}}]*?)?\.*\b{re.escape(top)}\b", text):
                raise UserError(no_such_setting(str(override.input_line), top, command))


def no_such_setting(override: str, top: str, command: str) -> str:
    """What to say of an override of what `command` has not."""
    others = [f"augrad {other}" for other in _COMMANDS if other != command and top in settings_of(other)]
    close = get_close_matches(top, settings_of(command) - {"hydra", "defaults"}, n=1)
    hint = f"; it belongs to {' and '.join(others)}" if others else f"; did you mean {close[0]}?" if close else ""
    hint = hint or did_you_mean(paths_that_end_in(top, command))
    return f"{override}: augrad {command} has no setting {top}{hint}"


def paths_that_end_in(name: str, command: str) -> list[str]:
    """The settings of a command, below groups that are no choice, whose last part is this one."""
    folder, found = Path(config_directory()), dict[str, None]()
    for file in (folder / f"{one}.yaml" for one in (command, "recipe")):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
        content.pop("hydra", None)
        found |= dict.fromkeys(path for path in names_in(content) if path.endswith(f".{name}"))
    return list(found)


def did_you_mean(paths: Sequence[str]) -> str:
    """The end of a message that names what may have been meant; empty without any."""
    return f"; did you mean {' or '.join(paths)}?" if paths else ""


def names_in(content: Any, before: str = "") -> list[str]:
    """Every key of nested mappings, by its path."""
    found = []
    for key, value in content.items() if isinstance(content, Mapping) else ():
        found += [f"{before}{key}", *names_in(value, f"{before}{key}.")]
    return found


def refused_setting(message: str, overrides: Sequence[str], command: str) -> str | None:
    """The same of an override that Hydra has refused with `message`; None where the command has its first name."""
    refused = re.match(r"Could not override '(\w+)", message)
    if refused is None or not settings_of(command) or refused[1] in settings_of(command):
        return None
    given = next((one for one in overrides if re.match(rf"[+~]*{refused[1]}\b", one)), refused[1])
    return no_such_setting(given, refused[1], command)
