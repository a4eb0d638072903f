"""Functions of tensors as CUDA graphs, which are launched as a whole and not kernel by kernel."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augrad.errors import AugradWarning

Pass = Callable[..., tuple[Any, ...]]
"""Returns tensors, and None for what there is none of (always in the same places)."""


_MOST = 16
"""Graphs of one `Graphs`: each keeps its memory."""


@dataclass(frozen=True)
class _Graph:
    """outputs: where a replay leaves them. kept: where they are copied to. result: kept, and None in its places."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: list[Tensor]
    kept: list[Tensor]
    result: tuple[Any, ...]


class Graphs:
    """Functions of tensors by name, each captured as a CUDA graph at its second call with the same shapes.

    `graphs(name, function, *inputs)` is `function(*inputs)`: as it stands at the first call (which warms up what
    compiles or is tuned when it is first used), captured at the second, replayed from then on. An input is one tensor
    or a list of tensors. What the function computes must follow from its inputs, and from tensors that stay where they
    are (parameters and buffers, which it may also write to): whatever Python does in it is done at the capture alone.
    The outputs are overwritten by the next call of the same name, or, without `own_outputs`, of any name. Where a
    capture fails, a warning says so, and the function is called as it stands. Not enabled, off the GPU, while somebody
    else captures, and after shapes enough (16), all of it is `function(*inputs)`. For one thread and one stream at a
    time.
    """

    def __init__(self, enabled: bool, own_outputs: bool = True) -> None:
        self.enabled, self._own_outputs = enabled, own_outputs
        self._captured: dict[Any, _Graph | None] = {}
        self._pool: Any = None

    def __call__(self, name: str, function: Pass, *inputs: Tensor | Sequence[Tensor]) -> tuple[Any, ...]:
        flat = [tensor for part in inputs for tensor in ([part] if isinstance(part, Tensor) else part)]
        if not (self.enabled and flat[0].is_cuda) or torch.cuda.is_current_stream_capturing():
            return function(*inputs)
        key = (name, *((tensor.shape, tensor.dtype, tensor.stride()) for tensor in flat))
        if key not in self._captured:
            if len(self._captured) < _MOST:
                self._captured[key] = None
            return function(*inputs)
        kept = self._captured[key]
        if kept is None:
            kept = self._capture(name, function, inputs)
            if kept is None:
                return function(*inputs)
            self._captured[key] = kept
        torch._foreach_copy_(kept.inputs, flat)  # pyright: ignore[reportPrivateImportUsage]
        kept.graph.replay()
        if self._own_outputs:
            torch._foreach_copy_(kept.kept, kept.outputs)  # pyright: ignore[reportPrivateImportUsage]
        return kept.result

    @torch.inference_mode(False)  # what is kept is used outside of it, too
    def _capture(self, name: str, function: Pass, inputs: Sequence[Tensor | Sequence[Tensor]]) -> _Graph | None:
        own = [
            part.detach().clone() if isinstance(part, Tensor) else [tensor.detach().clone() for tensor in part]
            for part in inputs
        ]
        graph = torch.cuda.CUDAGraph()
        # One pool for all: they run one after another. A graph may write where an earlier one has left its outputs,
        # so these are copied to memory of their own after each replay.
        self._pool = torch.cuda.graph_pool_handle() if self._pool is None else self._pool
        draws = torch.cuda.default_generators[torch.cuda.current_device()]
        before = draws.clone_state()
        try:
            # Other threads, of a data loader that pins memory, say, may do meanwhile what a capture cannot.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = function(*own)
        except RuntimeError as error:
            self.enabled = False
            draws.graphsafe_set_state(before)  # after a capture that fails it waits for the end of it for ever
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(
                f"{name} cannot be captured as a CUDA graph ({first}); it runs kernel by kernel, which takes longer",
                AugradWarning,
                stacklevel=3,
            )
            return None
        flat = [tensor for part in own for tensor in ([part] if isinstance(part, Tensor) else part)]
        found = [output.detach() for output in outputs if output is not None]
        copies = [torch.empty_like(output) for output in found] if self._own_outputs else found
        rest = iter(copies)
        result = tuple(None if output is None else next(rest) for output in outputs)
        return _Graph(graph, flat, found, copies, result)


NO_GRAPHS = Graphs(enabled=False)
