"""Gradients of what has a backward pass of its own, where that one does not do: by what it computes, differentiated."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from augrad.ops.numeric import transformed


def asks_for_more(gradient: Tensor) -> bool:
    """Whether a backward pass, which calls this, is differentiated itself (`create_graph`) or transformed (batches of
    gradients): it then has to consist of PyTorch's own operations."""
    batched = torch._C._functorch.is_legacy_batchedtensor(gradient)  # type: ignore[attr-defined]
    return torch.is_grad_enabled() or transformed() or batched


def gradients_of(
    definition: Callable[..., Tensor], inputs: Sequence[Tensor], needed: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """The gradients of `definition(*inputs)`, with a graph if gradients are enabled; None where they are not needed.

    definition: what the function computes, up to rounding, by PyTorch's own operations. gradient: by its output.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Each input is to get its own share, of two that are one tensor, too.
        inputs = [tensor.view_as(tensor) for tensor in inputs]
        wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
        found = torch.autograd.grad(definition(*inputs), wanted, gradient, create_graph=create_graph, allow_unused=True)
    of_wanted = iter(found)
    return [next(of_wanted) if need else None for need in needed]
