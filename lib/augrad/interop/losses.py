"""What a conversion could not carry over."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from augrad.checks import require_flag
from augrad.errors import UserError

Result = TypeVar("Result")

LEFT_OUT = "not known there, and left out"
LEFT_OUT_HERE = "not known here, and left out"
ONE_WAY = "one way, and at random either way there"
"""What operations do otherwise, for `loss_of`."""
_LONGEST = 100
"""Characters of names in a sentence about several losses."""


class Loss(NamedTuple):
    """place: where in the policy, as `subpolicies[3].stages[0][1].magnitude`. kind: what is lost there, in words with
    `{}` (or `{:.3g}` and the like) for each of the amounts: numbers, and names of operations."""

    place: str
    kind: str
    amounts: tuple[int | float | str, ...] = ()

    @property
    def what(self) -> str:
        """What is lost, and how much of it."""
        return self.kind.format(*self.amounts) if self.amounts else self.kind

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def loss_of(op: str, place: str, what: str) -> Loss:
    """What an operation does otherwise, whatever its magnitude."""
    return Loss(place, f"{{}}: {what.replace('{', '{{').replace('}', '}}')}", (op,))


def mean_loss(unit: str | None, place: str, ends: tuple[float, float], value: float) -> Loss:
    """Of a magnitude that is drawn from a range, and always `value` there."""
    words = f"drawn from {{:.3g}} to {{:.3g}} {unit}; always {{:.4g}} {unit} there"
    return Loss(f"{place}.magnitude", words, (*ends, value))


def narrowed_loss(unit: str | None, place: str, value: float, end: float) -> Loss:
    """Of a magnitude beyond those that there are, which end with `end`."""
    verb = "becomes" if abs(end) > abs(value) else "is narrowed to"
    return Loss(f"{place}.magnitude", f"{{:.4g}} {unit} {verb} {{:.4g}}", (value, end))


def border_losses(interpolation: str) -> list[Loss]:
    """Of pixels that lie half outside of the image: torchvision, as augrad, dims them and then mixes the fill into
    them; OpenCV mixes at once, and Pillow reads the pixel beside."""
    mixed = interpolation == "bilinear"
    return [Loss("interpolation", "a row of pixels beside uncovered ones is mixed otherwise")] if mixed else []


def in_words(losses: Iterable[Loss]) -> list[str]:
    """A sentence for each kind of loss, with its first place and the number of the others."""
    return [f"{places[0]}{_more(len(places) - 1, 'place')}: {what}" for what, places in by_kind(losses)]


def differences(losses: Iterable[Loss]) -> list[str]:
    """A sentence for each kind of loss, in alphabetical order: for the provenance of a policy."""
    return sorted(what for what, _ in by_kind(losses))


def by_kind(losses: Iterable[Loss]) -> Iterator[tuple[str, list[str]]]:
    """What is lost of each kind, with the range of its amounts, and where."""
    kinds: dict[str, list[Loss]] = {}
    for loss in losses:
        kinds.setdefault(loss.kind, []).append(loss)
    for kind, found in kinds.items():
        together = tuple(map(_Together, zip(*(loss.amounts for loss in found), strict=True)))
        yield kind.format(*together) if together else kind, list(dict.fromkeys(loss.place for loss in found))


class _Together:
    """What stands for several amounts in a sentence: from the least to the largest number, or the names."""

    def __init__(self, amounts: Iterable[int | float | str]) -> None:
        self.amounts = list(dict.fromkeys(amounts))

    def __format__(self, form: str) -> str:
        names = [amount for amount in self.amounts if isinstance(amount, str)]
        if not names:
            ends = (f"{end:{form}}" for end in (min(self.amounts), max(self.amounts)))  # type: ignore[type-var]
            return "..".join(dict.fromkeys(ends))
        told = 1
        while told < len(names) and len(", ".join(names[: told + 1])) <= _LONGEST:
            told += 1
        return ", ".join(names[:told]) + _more(len(names) - told)


def _more(count: int, what: str = "") -> str:
    if not count:
        return ""
    return f" and {count} more" + (f" {what}{'s' if count > 1 else ''}" if what else "")


class ConversionError(UserError):
    """A strict conversion would lose something. losses: all of it."""

    def __init__(self, taker: str, losses: Sequence[Loss]) -> None:
        self.losses = tuple(losses)
        more = f", and {len(losses) - 1} more" if len(losses) > 1 else ""
        super().__init__(f"{taker}: expected that nothing is lost, got {losses[0]}{more}; leave out strict to go on")


@dataclass(frozen=True)
class Converted(Generic[Result]):
    """result: what was asked for. losses: what it does otherwise than what it was made from; empty: nothing.

    It can be taken apart: `policy, losses = from_timm("original")`.
    """

    result: Result
    losses: tuple[Loss, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.result, self.losses))


def converted(taker: str, result: Result, losses: Sequence[Loss], strict: bool) -> Converted[Result]:
    """The two together. Raises ConversionError, which begins with `taker`, for any loss if `strict`."""
    require_flag(strict, "strict")
    found = tuple({str(loss): loss for loss in losses}.values())
    if strict and found:
        raise ConversionError(taker, found)
    return Converted(result, found)
