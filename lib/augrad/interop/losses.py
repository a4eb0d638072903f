"""What a conversion could not carry over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from augrad.checks import require_flag
from augrad.errors import UserError

Result = TypeVar("Result")


class Loss(NamedTuple):
    """place: where in the policy, as `subpolicies[3].stages[0][1].magnitude`. what: what is lost there, and how much
    of it."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


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
    found = tuple(dict.fromkeys(losses))
    if strict and found:
        raise ConversionError(taker, found)
    return Converted(result, found)
