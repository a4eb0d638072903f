"""Every operation by name: `augrad.ops.rotate(images, magnitude)`; its specification: `augrad.ops.get("rotate")`."""

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from augrad.errors import UserError
from augrad.ops import color, erase, filters, geometric, mix, noise
from augrad.ops.spec import Op, OpFunction, Shape

_OPS = (
    Op("identity", color.identity, kind="identity"),
    *geometric.OPS,
    *color.OPS,
    *filters.OPS,
    *erase.OPS,
    *mix.OPS,
    *noise.OPS,
)
_BY_NAME = {op.name: op for op in _OPS}


def names() -> tuple[str, ...]:
    """The names of all operations."""
    return tuple(_BY_NAME)


def get(name: str) -> Op:
    """The specification of the operation `name`. Raises UserError, with the closest name, for an unknown one."""
    if not isinstance(name, str):
        raise UserError(f"expected the name of an operation, got {name!r}")
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = get_close_matches(name, _BY_NAME, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known operations: {', '.join(_BY_NAME)}"
    raise UserError(f"unknown operation {name!r}; {hint}")


def is_own(op: Op) -> bool:
    """Whether `op` is the operation that goes by its name here, and not another one of the same name."""
    return _BY_NAME.get(op.name) == op


def shape_of(op: Op) -> Shape | None:
    """The shape of a row of the table. None for any other operation: its function need not be what its shape says."""
    return op.shape if op.shape is not None and is_own(op) else None


def with_shape(op: Op) -> Op:
    """`op` with the shape that its row has: operations that were pickled by version 0.1.0 have none."""
    own = _BY_NAME.get(op.name)
    return replace(op, shape=own.shape) if own is not None and own.apply == op.apply and op.shape is None else op


if TYPE_CHECKING:

    def __getattr__(name: str) -> OpFunction: ...


globals().update({op.name: op.apply for op in _OPS})  # also in the place of the module `color`
