"""That what a function is given is a policy."""

from augrad.errors import UserError
from augrad.policy.policy import Policy


def require_policy(policy: object, taker: str) -> None:
    """Raise UserError, which begins with `taker`, for what is no policy."""
    if not isinstance(policy, Policy):
        raise UserError(f"{taker}: expected a policy, got {type(policy).__name__}; augrad.load_policy gives one")
