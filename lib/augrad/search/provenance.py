"""What a policy file says of the search that it comes from."""

import math
import os
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import augrad
from augrad.data.types import Splits
from augrad.policy import Policy
from augrad.terminal.output import writable


def search_provenance(seed: int, config: Mapping[str, Any], data: Splits, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a learned policy: when, with what, from which data, and how well it did.

    config: what the search was told, as plain values.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "augrad": augrad.__version__,
        "torch": torch.__version__,
        "git": _git_revision(),
        "seed": seed,
        "config": _unicode(dict(config)),
        "data": {"name": _unicode(data.name), "sha256": data.sha256},
        "metrics": dict(metrics),
    }


@dataclass(frozen=True)
class Origin:
    """What is known of the search that a policy is from; None: not known. data: their digest, before splitting.

    split_seed: of the data's division. division: all settings of the data.
    """

    seed: int | None = None
    split_seed: int | None = None
    data: str | None = None
    division: Mapping[str, Any] = field(default_factory=dict)


def origin_of_policy(policy: Policy) -> Origin:
    """From the policy's provenance, of which a file may hold anything."""
    told = policy.provenance or {}
    config, data = told.get("config"), told.get("data")
    of_data = config.get("data") if isinstance(config, Mapping) else None
    split_seed = of_data.get("seed") if isinstance(of_data, Mapping) else None
    sha256 = data.get("sha256") if isinstance(data, Mapping) else None
    division = of_data if isinstance(of_data, Mapping) else {}
    return Origin(_seed(told.get("seed")), _seed(split_seed), sha256 if isinstance(sha256, str) else None, division)


def _seed(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _unicode(value: Any) -> Any:
    """The same with bytes of file names that are no UTF-8 escaped, and infinity and NaN as words: a policy file is
    Unicode text, and JSON."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return writable(value)
        case list():
            return [_unicode(item) for item in value]
        case dict():
            return {_unicode(key): _unicode(item) for key, item in value.items()}
    return value


def _git_revision() -> str | None:
    """The revision of augrad's own checkout, if the code runs from it; None for a copy, whatever is around it."""
    return own_revision(Path(augrad.__file__).resolve().parent)


def own_revision(package: Path) -> str | None:
    """The revision of the repository of which `package` is lib/augrad, and that says it is augrad's; None otherwise."""
    checkout = package.parents[1]
    # GIT_DIR and the like, which hooks set, speak of another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(checkout), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=environment)
        top, revision = told.stdout.splitlines()
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    is_own = package == checkout / "lib" / "augrad" and project == "augrad" and os.path.realpath(top) == str(checkout)
    return revision if is_own else None
