"""A policy in words: absolute units, plain numbers, the heaviest first."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from augrad.ops.definition import is_dotted
from augrad.ops.spec import Unit
from augrad.policy_file import Entry, LogitNormal, PolicyDocument, Uniform, UniformUpTo, Value
from augrad.policy_file.quantiles import end_at

_QUANTILE_90 = 1.2815515655446004
"""Of the standard normal: four draws in five lie between minus and plus this."""
Spread = Literal["full", "brief", "none"]
"""How the range of four draws in five is told: "(80% between 8° and 22°)", "(8° to 22°)", or not at all."""


@dataclass(frozen=True)
class Row:
    """One operation of a policy. subpolicy, stage: where it stands in the document, counted from 0. entry: itself.

    magnitude: in words; shorter: the same in fewer and fewer. probability: that it is applied once chosen. weight: of
    being chosen in its stage. mass: that an image meets it in that stage = subpolicy_weight * weight * probability.
    """

    subpolicy: int
    subpolicy_weight: float
    stage: int
    op: str
    magnitude: str
    shorter: tuple[str, ...]
    probability: float
    weight: float
    mass: float
    entry: Entry


def policy_rows(document: PolicyDocument) -> list[Row]:
    """Every operation of the policy: the heaviest sub-policies first, and in each the largest masses first.

    Where a sub-policy has one operation a stage, these are in the order in which they are applied.
    """
    order = sorted(enumerate(document.subpolicies), key=lambda item: -item[1].weight)
    rows: list[Row] = []
    for index, subpolicy in order:
        of_subpolicy = [
            Row(
                subpolicy=index,
                subpolicy_weight=subpolicy.weight,
                stage=stage_index,
                op=entry.op,
                magnitude=describe_magnitude(entry),
                shorter=(describe_magnitude(entry, "brief"), describe_magnitude(entry, "none")),
                probability=entry.probability,
                weight=entry.weight,
                mass=subpolicy.weight * entry.weight * entry.probability,
                entry=entry,
            )
            for stage_index, stage in enumerate(subpolicy.stages)
            for entry in stage
        ]
        if any(len(stage) > 1 for stage in subpolicy.stages):
            of_subpolicy.sort(key=lambda row: (-row.mass, -row.weight, row.stage))
        rows += of_subpolicy
    return rows


def heaviest_rows(rows: Sequence[Row], limit: int | None) -> tuple[list[Row], list[Row]]:
    """The `limit` rows with the largest masses (None: all), and the others, both in the order of `rows`.

    Of a list of sub-policies with one operation a stage the first are kept, so that what belongs together stays so.
    """
    places = range(len(rows))
    kept = places if all(row.weight == 1 for row in rows) else sorted(places, key=lambda place: -rows[place].mass)
    chosen = set(kept[:limit])
    return [rows[place] for place in places if place in chosen], [
        rows[place] for place in places if place not in chosen
    ]


def most_stages(*documents: PolicyDocument) -> int:
    """How many stages the longest sub-policy has."""
    return max(len(subpolicy.stages) for document in documents for subpolicy in document.subpolicies)


def operation_masses(document: PolicyDocument, stages: int | None = None) -> dict[str, float]:
    """How often an image meets each operation in a stage, mean over the stages, the largest first; the masses sum to 1.

    An operation that was chosen but not applied counts as identity; so does a stage that a shorter sub-policy lacks.
    stages: how many there are, those of the longest sub-policy (None) or more.
    """
    stages = most_stages(document) if stages is None else stages
    masses: dict[str, float] = defaultdict(float)
    for subpolicy in document.subpolicies:
        masses["identity"] += subpolicy.weight * (1 - len(subpolicy.stages) / stages)
        for stage in subpolicy.stages:
            for entry in stage:
                chosen = subpolicy.weight * entry.weight / stages
                masses[entry.op] += chosen * entry.probability
                masses["identity"] += chosen * (1 - entry.probability)
    return dict(sorted(masses.items(), key=lambda item: -item[1]))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Of each dotted name the shortest end that no other name has: "mypackage.ops.gamma" as "gamma"."""
    names = list(dict.fromkeys(names))
    short = {}
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        short[name] = next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in names) == 1), name)
    return short


def describe_magnitude(entry: Entry, spread: Spread = "full") -> str:
    """The magnitude in words and absolute units, e.g. "±14° (80% between 8° and 22°)"; empty if it has none.

    A drawn magnitude is given by its median and, as `spread` says, the range of four draws in five. Strengths of the
    enhancing operations are given as factors, 1 being the unchanged image.
    """
    if entry.magnitude is None or entry.unit is None:
        return ""
    if _is_factor(entry.op, entry.unit):
        return _describe_factor(entry, spread)
    before, one, after = _wording(entry.op, entry.unit)

    def plain(value: float) -> str:
        text = one(abs(value) if entry.signed else value)
        return "±" + text if entry.signed and text != one(0.0) else text

    def span(low: float, high: float) -> str:
        if entry.signed:  # either sign may be drawn: what counts is how far from 0
            near = 0.0 if low * high < 0 else min(abs(low), abs(high))
            ends = [near, max(abs(low), abs(high))]
            low, high = ends if abs(low) <= abs(high) else ends[::-1]
        first, last = plain(low), plain(high)
        return first if low == high else f"{first} to {'e^' if entry.op in _LOGARITHMS else ''}{last}"

    match entry.magnitude:
        case Value(value=value):
            words, beside = plain(value), ""
        case Uniform(low=low, high=high):
            words, beside = span(low, high), ""
        case UniformUpTo(low=low) as magnitude:
            words, beside = span(low, end_at(magnitude, 0.0)), _spread(magnitude, one, spread)
        case LogitNormal() as magnitude:
            words, beside = plain(end_at(magnitude, 0.0)), _spread(magnitude, one, spread)
    return f"{before}{words}{after}{beside}"


def describe_value(op: str, unit: Unit, value: float) -> str:
    """One magnitude, with its sign, as a bare number: "−14°", "12%", "1.45", which is a factor, "e^0.2"."""
    if _is_factor(op, unit):
        return number(1 + value, 2)
    return f"e^{number(value, 2)}" if op in _LOGARITHMS else describe_amount(op, unit, value)


def describe_amount(op: str, unit: Unit, value: float) -> str:
    """A magnitude, or a difference of two, as a bare number in the operation's unit: "14°", "12%", "0.27"."""
    if unit == "strength":
        return number(value, 2)
    _, one, _ = _wording(op, unit)
    return one(value)


def _is_factor(op: str, unit: Unit) -> bool:
    """Whether a magnitude s is told as the factor 1 + s: a strength of augrad's own, but for those that are logarithms.

    What a strength of somebody else's operation means, nobody but them knows.
    """
    return unit == "strength" and op not in _LOGARITHMS and not is_dotted(op)


def _describe_factor(entry: Entry, spread: Spread) -> str:
    """For strengths s, whose factor is 1 + s, or 1 ± s with a drawn sign."""

    def one(value: float) -> str:
        return number(value, 2)

    def end(strength: float) -> str:
        return f"±{one(abs(strength))}" if entry.signed else one(1 + strength)

    def span(low: float, high: float) -> str:
        if not entry.signed:
            return one(1 + low) if low == high else f"{one(1 + low)}–{one(1 + high)}"
        near, far = sorted((abs(low), abs(high)))
        if low == high:
            return "1" if far == 0 else f"{one(1 - far)} or {one(1 + far)}"
        if near == 0 or low * high < 0:
            return f"{one(1 - far)}–{one(1 + far)}"
        return f"{one(1 - far)}–{one(1 - near)} or {one(1 + near)}–{one(1 + far)}"

    match entry.magnitude:
        case Value(value=value):
            return f"factor {span(value, value)}"
        case Uniform(low=low, high=high):
            return f"factor {span(low, high)}"
        case UniformUpTo(low=low) as magnitude:
            return f"factor {span(low, end_at(magnitude, 0.0))}{_spread(magnitude, end, spread)}"
        case LogitNormal() as magnitude:
            median = end_at(magnitude, 0.0)
            words = f"1 ± {one(abs(median))}" if entry.signed else one(1 + median)
            return f"factor {words}{_spread(magnitude, end, spread)}"
    raise AssertionError(entry)


_LOGARITHMS = {"zoom": "scale", "gamma": "exponent"}
"""Operations whose strength is a logarithm, and of what."""
_SHARES = {"hue": " of the wheel", "gaussian_noise": " of full scale"}
"""What a fraction is one of, where that is not the side of the image."""


def _wording(op: str, unit: Unit) -> tuple[str, Callable[[float], str], str]:
    """What stands before the numbers, how a number is written, what stands after."""
    match unit:
        case "degree":
            return "", lambda value: number(value, 1) + "°", ""
        case "fraction":
            of = "" if is_dotted(op) else _SHARES.get(op, " of the side")
            return ("square of " if op == "cutout" else ""), lambda value: number(100 * value, 1) + "%", of
        case "strength":
            return f"{_LOGARITHMS[op]} e^" if op in _LOGARITHMS else "strength ", lambda value: number(value, 2), ""
        case "bits":
            return "", lambda value: number(value, 1), " bits"
        case "pixel":
            return ("" if is_dotted(op) else "sigma "), lambda value: number(value, 2), " px"
        case "addend":
            return "add ", lambda value: number(value, 2), ""
        case _:  # factor, threshold, weight
            return f"{unit} ", lambda value: number(value, 2), ""


def _spread(magnitude: LogitNormal | UniformUpTo, one: Callable[[float], str], spread: Spread) -> str:
    """Where four draws in five fall, or where the range ends; nothing if rounding does not tell the two apart."""
    low, high = (one(end) for end in sorted(end_at(magnitude, side * _QUANTILE_90) for side in (-1, 1)))
    if low == high or spread == "none":
        return ""
    of_end = isinstance(magnitude, UniformUpTo)
    if spread == "brief":
        return f" ({'end ' if of_end else ''}{low} to {high})"
    return f" ({'end: ' if of_end else ''}80% between {low} and {high})"


def number(value: float | int, decimals: int) -> str:
    """A number with at most `decimals` decimals, no trailing zeros, and a true minus."""
    text = f"{abs(value):.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("\u2212" if value < 0 and text != "0" else "") + text


def share(fraction: float | int) -> str:
    """A fraction as a percentage: whole from 10% on, one decimal below, "<0.1%" for what is not zero but nearly."""
    if 0 < fraction < 0.0005:
        return "<0.1%"
    return f"{100 * fraction:.0f}%" if fraction >= 0.0995 or fraction == 0 else f"{100 * fraction:.1f}%"


def shortened(names: Sequence[str], longest: int) -> dict[str, str]:
    """Each name, a long one without its middle: of a path, the beginning and the file are what tells it apart.

    Where two would be the same then, both are as they were.
    """
    end = (longest - 1) * 2 // 3
    short = {name: name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}" for name in names}
    told = list(short.values())
    return {name: one if told.count(one) == 1 else name for name, one in short.items()}
