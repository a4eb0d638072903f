"""Learns image-augmentation policies by gradient, and applies them: each image of a batch with its own draw."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from augrad import ops
from augrad.engines.choice import engine
from augrad.errors import ImageRangeWarning, NonFiniteError, PolicyFileError, UserError
from augrad.ops.space import Space
from augrad.policy import Policy
from augrad.policy_file.convert import builtin_policies, load_policy, save_policy
from augrad.types import PolicyParams, PolicySample, RelaxedSample

if TYPE_CHECKING:
    from augrad import estimators, hypergradients, interop, objectives, regularizers
    from augrad.data.types import Splits
    from augrad.search import SearchResult, learn
    from augrad.settings import ChoiceSettings, CompareSettings, SearchSettings, TrainSettings

__version__ = "0.1.0"

__all__ = [
    "ChoiceSettings",
    "CompareSettings",
    "ImageRangeWarning",
    "NonFiniteError",
    "Policy",
    "PolicyFileError",
    "PolicyParams",
    "PolicySample",
    "RelaxedSample",
    "SearchResult",
    "SearchSettings",
    "Space",
    "Splits",
    "TrainSettings",
    "UserError",
    "__version__",
    "builtin_policies",
    "engine",
    "estimators",
    "hypergradients",
    "interop",
    "learn",
    "load_policy",
    "objectives",
    "ops",
    "regularizers",
    "save_policy",
]

_LATER = {
    "ChoiceSettings": "augrad.settings",
    "CompareSettings": "augrad.settings",
    "SearchResult": "augrad.search",
    "SearchSettings": "augrad.settings",
    "Splits": "augrad.data.types",
    "TrainSettings": "augrad.settings",
    "estimators": "",
    "hypergradients": "",
    "interop": "",
    "learn": "augrad.search",
    "objectives": "",
    "regularizers": "",
}
"""What is imported when it is first asked for, and from where: who applies a policy does not wait for a search."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'augrad' has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name) if _LATER[name] else import_module(f"augrad.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
