"""A stage as one differentiable function: its kernels forward and backward, the plain path for what has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from augrad.engines.contract import Stages, require_more
from augrad.engines.grouped.engine import by_selecting
from augrad.engines.triton.kinds import kinds_of
from augrad.engines.triton.matrices import matrices_in_pixels
from augrad.ops.numeric import constant
from augrad.ops.twice import asks_for_more, gradients_of


class _Stage(torch.autograd.Function):
    """Gradients for images, magnitude and others. A gradient of a gradient is taken from the plain path."""

    @staticmethod
    def forward(
        images: Tensor,
        magnitude: Tensor,
        others: Tensor,
        chosen: Tensor,
        draw: Tensor,
        matrices: Tensor,
        config: Any,
        plain: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        from augrad.engines.triton.launch import Drawn, run_stage  # Triton is not installed everywhere

        output, kept = run_stage(images, Drawn(chosen, magnitude, draw, others, matrices), config)
        return output, kept.statistics, kept.blurred

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.config, ctx.plain = inputs
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Any, ...]:  # type: ignore[override]
        from augrad.engines.triton.launch import Drawn, Kept, run_gradient

        if gradient is None:
            return (None,) * 8
        images, magnitude, others, chosen, draw, matrices, *kept = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        if asks_for_more(gradient):
            return *gradients_of(ctx.plain, (images, magnitude, others), needs, gradient), *[None] * 5
        drawn = Drawn(chosen, magnitude, draw, others, matrices)
        return *run_gradient(images, gradient.contiguous(), drawn, Kept(*kept), ctx.config, *needs), *[None] * 5


def fused_stage(images: Tensor, stages: Stages) -> Tensor:
    """One stage in a fixed number of launches; images on a GPU, or anywhere under Triton's interpreter.

    Gradients of gradients are computed in plain PyTorch. Operations without a kernel leave images as they are.
    """
    from augrad.engines.triton.launch import Config, Drawn, run_stage

    chosen, magnitude, draw, settings = stages.chosen[:, 0], stages.magnitude[:, 0], stages.draw[:, 0], stages.settings
    kinds = kinds_of(stages.plan.ops, images.shape[1], min(images.shape[-2:]))
    config = Config(kinds, settings.fill, settings.interpolation == "nearest")
    others, chosen = settings.others.contiguous(), chosen.contiguous()
    matrices = matrices_in_pixels(stages.plan.ops, chosen, magnitude.detach(), *images.shape[-2:])
    if images.dtype == torch.uint8:
        return run_stage(images.contiguous(), Drawn(chosen, magnitude.detach(), draw, others, matrices), config)[0]

    def by_plain_path(images: Tensor, magnitude: Tensor, others: Tensor) -> Tensor:
        require_more(stages, "triton")
        known = constant(tuple(kind > 0 for kind in kinds), torch.bool, chosen.device)[chosen]
        mine = torch.where(known, chosen, -1)[:, None]
        plain = replace(stages, chosen=mine, magnitude=magnitude[:, None], settings=replace(settings, others=others))
        return by_selecting(images, plain)

    return _Stage.apply(images.contiguous(), magnitude, others, chosen, draw, matrices, config, by_plain_path)[0]  # type: ignore[no-any-return]
