"""The errors that a user's input can cause. Everything else is a defect and keeps its traceback."""


class UserError(ValueError):
    """What came is not what was expected; the message says both, and what to do. The command line exits with 2."""


class PolicyFileError(UserError):
    """A policy document that cannot be accepted.

    The message begins with the place, e.g. `subpolicies[3].stages[0][1].magnitude`.
    """


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite during a run; the message names the step and the quantity."""


class ImageRangeWarning(UserWarning):
    """Images lie far outside [0, 1]; said once in a process."""
