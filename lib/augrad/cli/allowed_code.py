"""What a configuration may name with `_target_`: what augrad brings for it, and code that the command line allows."""

import pkgutil
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from hydra.core.hydra_config import HydraConfig

from augrad.errors import UserError

ALLOW = "allow_code=true"
"""What the command line says where a configuration names code of its own. A configuration file cannot say it: who
wrote that may be somebody else."""

_MODULES = (
    *(
        f"augrad.{name}"
        for name in ("data", "estimators", "hypergradients", "models", "objectives", "policy", "regularizers")
    ),
    *("augrad.runs.trackers", "augrad.runs.tensorboard_tracker", "augrad.runs.wandb_tracker"),  # others write files
    *("augrad.ops.space", "augrad.search.normalized_momentum", "augrad.settings", "torch.optim"),
)


def code_allowed() -> bool:
    """Whether the command line of the job in hand says `ALLOW`."""
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    said = [re.fullmatch(r"\+{0,2}allow_code=(\w+)", one) for one in given]
    return [found[1].lower() for found in said if found][-1:] == ["true"]


def require_allowed(part: Any, place: str) -> None:
    """Raises UserError where a part of the configuration, at `place`, names code that must not be run.

    part: dictionaries, lists and values. Nothing that is not allowed is imported, and a name that leads out of an
    allowed module, as `torch.optim.sgd.torch.hub.load` does, is not allowed.
    """
    if code_allowed():
        return
    for key, target in _targets(part, place):
        if not (_is_in(target) and _is_in(_home(target))):
            raise UserError(
                f"{key}: {target} is code that does not come with augrad, and would be run; where it is yours, or you "
                f"trust it, add {ALLOW} to the command"
            )


def require_inside(overrides: Iterable[str], groups: Collection[str], settings: Collection[str]) -> None:
    """Raises UserError for an override that takes the option of a group from outside of the folders of configurations.

    A run that is resumed could bring a file for Hydra so. groups: their names. settings: what is no group.
    """
    for one in overrides:
        key, _, value = one.lstrip("+~").partition("=")
        name = re.split(r"[@.]", key)[0]
        added = bool(settings) and "." not in key and name not in settings
        is_group = "@" in key or "/" in key or key in groups or added
        if is_group and ".." in value:
            raise UserError(
                f"{one}: expected the name of an option; a folder with options of your own is given by --config-dir"
            )


def _targets(part: Any, place: str) -> Iterator[tuple[str, str]]:
    """The names in `_target_` at any depth, each with its key."""
    if isinstance(part, dict):
        if "_target_" in part:
            yield f"{place}._target_", str(part["_target_"])
        for key, value in part.items():
            yield from _targets(value, f"{place}.{key}")
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _targets(value, f"{place}[{index}]")


def _is_in(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in _MODULES)


def _home(target: str) -> str:
    """The module that defines what an allowed name leads to; the name itself where it leads nowhere."""
    try:
        found = pkgutil.resolve_name(target)
    except Exception:  # what is wrong with it is said when it is built
        return target
    return str(getattr(found, "__module__", None) or "")
