"""A stage as one differentiable function: its kernels forward and backward, the plain path for what has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from augrad.ops.families import Arrangement, Settings, apply_op
from augrad.ops.fused.kinds import has_kernel, kinds_of, policy_ops
from augrad.ops.numeric import constant
from augrad.ops.twice import asks_for_more, gradients_of

OneStage = Callable[[Tensor, Arrangement, Tensor, Tensor, Tensor, Settings], Tensor]
"""`images, plan, chosen, magnitude, draw, settings -> images`."""


class _Stage(torch.autograd.Function):
    """Gradients for images, magnitude and others. A gradient of a gradient is taken from the plain path."""

    @staticmethod
    def forward(
        images: Tensor,
        magnitude: Tensor,
        others: Tensor,
        chosen: Tensor,
        draw: Tensor,
        config: Any,
        plain: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        from augrad.ops.fused.launch import Drawn, run_stage  # Triton is not installed everywhere

        output, kept = run_stage(images, Drawn(chosen, magnitude, draw, others), config)
        return output, kept.statistics, kept.blurred

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.config, ctx.plain = inputs
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Any, ...]:  # type: ignore[override]
        from augrad.ops.fused.launch import Drawn, Kept, run_gradient

        if gradient is None:
            return (None,) * 7
        images, magnitude, others, chosen, draw, *kept = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        if asks_for_more(gradient):
            return *gradients_of(ctx.plain, (images, magnitude, others), needs, gradient), *[None] * 4
        drawn = Drawn(chosen, magnitude, draw, others)
        return *run_gradient(images, gradient.contiguous(), drawn, Kept(*kept), ctx.config, *needs), *[None] * 4


def fused_stage(
    images: Tensor,
    plan: Arrangement,
    chosen: Int[Tensor, " B"],
    magnitude: Tensor,
    draw: Tensor,
    settings: Settings,
    plain: OneStage,
) -> Tensor:
    """The drawn operations in a fixed number of launches; images on a GPU, or anywhere under Triton's interpreter.

    chosen: index into the policy's operations, -1 for none. plain: the same stage in plain PyTorch, for gradients of
    gradients. Operations without a kernel are computed on the whole batch and selected.
    """
    from augrad.ops.fused.launch import Config, Drawn, run_stage

    ops = policy_ops(plan)
    kinds = kinds_of(ops, images.shape[1], min(images.shape[-2:]))
    config = Config(kinds, settings.fill, settings.interpolation == "nearest")
    others, chosen = settings.others.contiguous(), chosen.contiguous()
    if images.dtype == torch.uint8:
        result, _ = run_stage(images.contiguous(), Drawn(chosen, magnitude.detach(), draw, others), config)
    else:

        def by_plain_path(images: Tensor, magnitude: Tensor, others: Tensor) -> Tensor:
            known = constant(tuple(kind > 0 for kind in kinds), torch.bool, chosen.device)[chosen]
            mine = torch.where(known, chosen, -1)
            return plain(images, plan, mine, magnitude, draw, replace(settings, others=others))

        result = _Stage.apply(images.contiguous(), magnitude, others, chosen, draw, config, by_plain_path)[0]
    for number, op in enumerate(ops):
        if op is not None and not has_kernel(op):
            mine = chosen == number
            own = torch.where(mine, magnitude, op.low or 0.0)
            result = torch.where(mine[:, None, None, None], apply_op(op, images, own, draw, settings), result)
    return result
