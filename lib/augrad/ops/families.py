"""What policies that were pickled by version 0.1.0 name beside their operations; it is worked out anew when they are
loaded (`augrad.policy.Policy.__setstate__`)."""


class Arrangement:
    """Holds whatever was pickled."""


class Family(Arrangement):
    """The same."""
