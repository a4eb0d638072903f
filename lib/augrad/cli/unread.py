"""Settings that a command does not have: adding one with + would change nothing, and is refused."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

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
    return f"{override}: augrad {command} has no setting {top}{hint}"


def refused_setting(message: str, overrides: Sequence[str], command: str) -> str | None:
    """The same of an override that Hydra has refused with `message`; None where the command has its first name."""
    refused = re.match(r"Could not override '(\w+)", message)
    if refused is None or not settings_of(command) or refused[1] in settings_of(command):
        return None
    given = next((one for one in overrides if re.match(rf"[+~]*{refused[1]}\b", one)), refused[1])
    return no_such_setting(given, refused[1], command)
