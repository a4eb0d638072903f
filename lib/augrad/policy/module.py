"""What a policy is as a module of PyTorch: how it is moved, saved, loaded, averaged and pickled."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from augrad.ops import with_shape
from augrad.ops.spec import Op
from augrad.policy.application import Application, application_of
from augrad.policy.parameters import layout_state, loaded_parameters, require_layout_state
from augrad.policy.slots import Slots, grid_of, slots_layout
from augrad.policy.tables import Tables, moved_tables, tables_of

_WORKED_OUT = ("_application", "_slot_table", "_plan", "_limits", "_arrangement")
"""What a policy works out of its operations: not pickled. (Older versions pickled it, by all but the first name.)"""


class PolicyModule(nn.Module):
    """The part of `augrad.Policy` that PyTorch calls: its parameters keep their type, its constants move along, and a
    state of a policy over other operations is refused."""

    ops: tuple[Op, ...]
    slots: Slots
    layout: str
    _application: Application
    tables: Tables
    """What is fixed of the candidates: constants, and no buffers, so that averages over a module's buffers leave them
    alone."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PolicyModule":
        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        self.tables = moved_tables(self.tables, moved, lambda: tables_of(self.ops, grid_of(self.slots)))
        return super()._apply(moved, recurse)

    def get_extra_state(self) -> Tensor:
        """The layout with its ranges as UTF-8, for the state_dict; in float64 like the rest, so that one can average
        them all."""
        return layout_state(self.ops, self.slots)

    def set_extra_state(self, state: Tensor) -> None:
        """Raise UserError if `state` is the layout of a policy with other operations, or with another one, or another
        range, in a place."""
        require_layout_state(state, self.ops, self.slots)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        layout = state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())  # older ones have none
        self.set_extra_state(layout)  # first: a state_dict that is refused changes nothing
        state_dict.update(loaded_parameters(state_dict, prefix))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({key: value for key, value in state.items() if key not in _WORKED_OUT})
        self.ops = tuple(with_shape(op) for op in self.ops)
        self.layout = slots_layout(self.ops, self.slots)  # older versions pickled none
        self._application = application_of(self.ops, self.slots)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _WORKED_OUT}
