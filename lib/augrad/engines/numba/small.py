"""The small parts of operations (`augrad.ops.spec.Shape`) as compiled code: the same source, for one number.

Derivatives come from that source, too. A complex number carries one along: its imaginary part is the derivative times
`augrad.ops.spec.STEP`. Of arithmetic, complex numbers do the rest; what they do not know is below.
"""

import builtins
import dis
import math
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload

from augrad.engines.numba import elementary
from augrad.engines.numba.codes import TABLE
from augrad.errors import UserError
from augrad.ops.clamped import clamp01
from augrad.ops.spec import STEP


def _is_dual(*arguments: Any) -> bool:
    return any(isinstance(argument, types.Complex) for argument in arguments)


KNOWN: list[Callable[..., Any]] = []
"""The functions that may stand in a small part beside arithmetic."""


def _compiles(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`overload` for a function that small parts use."""
    KNOWN.append(function)
    return overload(function)


def _elementary(
    function: Callable[..., Any], real: Callable[..., Any], slope: Callable[..., Any], single: Any = None
) -> None:
    """Compile `function`, of one argument, as `real` with the derivative slope(argument, result).

    single: what to take in single precision instead.
    """
    of_real, its_slope = (njit(one, error_model="numpy") for one in (real, slope))  # see `compiled`

    @_compiles(function)
    @no_type_check
    def of_type(value):
        is_single = value in (types.float32, types.complex64)
        own, number = single if is_single and single else of_real, np.float32 if is_single else np.float64

        @no_type_check
        def dual(value):
            result = own(value.real)
            return complex(result, number(value.imag * its_slope(value.real, result)))

        return dual if _is_dual(value) else lambda value: own(value)


_elementary(torch.cos, lambda value: math.cos(value), lambda value, result: -math.sin(value))
_elementary(torch.sin, lambda value: math.sin(value), lambda value, result: math.cos(value))
_elementary(torch.exp, lambda value: math.exp(value), lambda value, result: result, elementary.exp)
_elementary(torch.log, lambda value: math.log(value), lambda value, result: 1 / value, elementary.log)
_elementary(torch.floor, lambda value: np.floor(value), lambda value, result: value * 0)
_elementary(torch.round, lambda value: np.rint(value), lambda value, result: value * 0)


def like(value, number):
    """`number` in the type of `value`."""


@overload(like, inline="always")
@no_type_check
def _like(value, number):
    kind = {types.float32: np.float32, types.float64: np.float64, types.complex64: np.complex64}
    own = kind.get(value, np.complex128)
    return lambda value, number: own(number)


@_compiles(torch.exp2)
@no_type_check
def _exp2(value):
    two = np.float32(2) if value == types.float32 else 2.0
    return lambda value: two**value  # a power, unlike a call of exp2, is not computed for every pixel anew


@_compiles(torch.where)
@no_type_check
def _where(condition, one, other):
    return lambda condition, one, other: one if condition else other


def _comparison(function: Callable[..., Any], compare: Callable[..., Any]) -> None:
    of_real = njit(compare)
    _compiles(function)(no_type_check(lambda one, other: lambda one, other: of_real(one.real, other.real)))


_comparison(torch.lt, lambda one, other: one < other)
_comparison(torch.le, lambda one, other: one <= other)
_comparison(torch.ge, lambda one, other: one >= other)


@_compiles(torch.clamp)
@no_type_check
def _clamp(value, min=None, max=None):
    below, above = (not isinstance(end, types.NoneType | types.Omitted) and end is not None for end in (min, max))

    @no_type_check
    def clamped(value, min=None, max=None):
        if below:  # noqa: SIM102  (known when it is compiled)
            if value.real < min:
                return like(value, min)
        if above:  # noqa: SIM102
            if value.real > max:
                return like(value, max)
        return value

    return clamped


@_compiles(clamp01)
@no_type_check
def _clamp01(value):
    @no_type_check
    def clamped(value):
        if value.real < 0:
            return like(value, 0)
        return like(value, 1) if value.real > 1 else value

    return clamped


def part_of(value):
    """The derivative that `value` carries; 0 where it carries none."""


@overload(part_of, inline="always")
@no_type_check
def _part_of(value):
    return (lambda value: value.imag / STEP) if _is_dual(value) else (lambda value: 0.0)


def _is_part(value: Any) -> bool:
    """Whether `value` is a function that small parts consist of, whose source is compiled with theirs."""
    return isinstance(value, FunctionType) and getattr(value, "__no_type_check__", False) and value not in KNOWN


def _unknown(function: Any) -> Iterator[str]:
    """What is used in a small part and is neither arithmetic, nor known, nor another small part."""
    if not isinstance(function, FunctionType) or function.__code__.co_freevars:
        yield "more than the names of its module (it is an object, or stands inside of a function)"
        return
    owner = None
    for step in dis.get_instructions(function):
        if step.opname == "EXTENDED_ARG":
            continue
        name, found = str(step.argval), None
        if step.opname == "LOAD_GLOBAL":
            found = function.__globals__.get(name, getattr(builtins, name, None))
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            if owner is None:  # of a value
                yield f"the method {name}"
            else:
                found, name = getattr(owner, name, None), f"{owner.__name__}.{name}"
        owner = found if isinstance(found, ModuleType) else None
        if _is_part(found):
            yield from _unknown(found)
        elif callable(found) and found not in KNOWN:
            yield name


def _require_known(name: str, shape: Any) -> None:
    """Raise UserError where the small parts of the operation `name` use what compiled code does not know."""
    for part in filter(callable, vars(shape).values()):
        if unknown := next(_unknown(part), None):
            known = ", ".join(f"{'' if one is clamp01 else 'torch.'}{one.__name__}" for one in KNOWN)
            raise UserError(
                f"{name}: its function {getattr(part, '__name__', part)} uses {unknown}, which compiled code does not "
                f"know; write it with arithmetic and {known}, or leave out the shape of {name}"
            )


def compiled(function: Callable[..., Any], single: bool = False) -> Any:
    """The small part `function` for numbers, or for duals, in double or in single precision.

    In single precision numbers in the source are so, too, as PyTorch has it.
    """

    def own(value: Any) -> Any:
        if single and type(value) in (int, float):
            return np.float32(value)
        return compiled(value, single) if _is_part(value) else value

    code = function.__code__  # type: ignore[attr-defined]
    known = {name: own(value) for name, value in function.__globals__.items() if name in code.co_names}  # type: ignore[attr-defined]
    constants = tuple(map(own, code.co_consts))
    # A division by 0 is none, as in PyTorch: a test for it would keep the processor from taking many values at once.
    part = FunctionType(code.replace(co_consts=constants), known, function.__name__)
    return njit(part, inline="always", error_model="numpy")


@no_type_check
def _link(code, function, before):
    @njit(nogil=True)
    @no_type_check
    def linked(drawn, arguments):
        return function(arguments) if drawn == code else before(drawn, arguments)

    return linked


def by_code(functions: Iterable[tuple[int, Any]], otherwise: Any) -> Any:
    """f(code, arguments): function(arguments) of the code, or otherwise(code, arguments)."""
    result = otherwise
    for code, function in functions:
        result = _link(code, function, result)
    return result


def of_shape(shape: type) -> list[tuple[int, Any]]:
    """The places in the table, and the shapes, of all operations of such a shape.

    Raises UserError for one with a small part that cannot be compiled.
    """
    found = [(code, op) for code, op in enumerate(TABLE) if isinstance(op.shape, shape)]
    for _, op in found:
        _require_known(op.name, op.shape)
    return [(code, op.shape) for code, op in found]
