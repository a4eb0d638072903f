"""The numbers of a policy file: at most 12 significant digits, so that they are short and the same on every machine."""


def rounded(number: float) -> float:
    """`number` to 12 significant digits; the negative zero becomes zero."""
    return float(f"{number:.12g}") + 0.0
