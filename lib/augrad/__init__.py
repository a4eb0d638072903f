"""Learns image-augmentation policies by gradient, and applies them: each image of a batch with its own draw."""

from augrad import ops
from augrad.engines.choice import engine
from augrad.errors import ImageRangeWarning, NonFiniteError, PolicyFileError, UserError
from augrad.policy import Policy
from augrad.policy_file.convert import builtin_policies, load_policy, save_policy
from augrad.types import PolicyParams, PolicySample, RelaxedSample

__version__ = "0.1.0"

__all__ = [
    "ImageRangeWarning",
    "NonFiniteError",
    "Policy",
    "PolicyFileError",
    "PolicyParams",
    "PolicySample",
    "RelaxedSample",
    "UserError",
    "__version__",
    "builtin_policies",
    "engine",
    "load_policy",
    "ops",
    "save_policy",
]
