"""One step of a search: the policy's, then the model's."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from augrad.checks import require_returned
from augrad.data.batches import EpochBatches
from augrad.data.seeding import global_draws
from augrad.errors import Stopped
from augrad.estimators.control import estimate_with
from augrad.estimators.estimate import Estimate, MappedScalar
from augrad.learning.step import set_gradients, set_rates
from augrad.objectives.objective import Aim, Step
from augrad.policy.learnable import learnable
from augrad.policy.summary import policy_summary
from augrad.ranks import Ranks
from augrad.regularizers.regularizer import regularizer_gradient
from augrad.search.damping import Normalization, damped_step
from augrad.search.state import SearchParts, SearchState
from augrad.settings import rate_at
from augrad.types import PolicyParams

ESTIMATE, REGULARIZERS = "policy_gradient_norm", "regularizer_gradient_norm"
"""Metrics: the norms of the estimator's gradient, for each group of parameters, and of the regularisers'."""


def search_step(
    state: SearchState,
    parts: SearchParts,
    training: EpochBatches,
    validation: EpochBatches,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor]:
    """One step of the policy and one of the model; returns the step's metrics, still on the device.

    training, validation: which images of their splits the step uses. What draws from PyTorch's global generators, such
    as `torch.nn.Dropout`, draws by the search's seed and the number of the step; the generators are put back.
    stopping: whether to stop amid the step, for objectives that can. Raises Stopped then, with the state as before the
    step.
    """
    drawn = state.generator.get_state()
    # Inside the caller's no_grad and inference_mode, too, a step differentiates.
    with torch.inference_mode(False), global_draws(parts.device, parts.seed, _purpose(parts.ranks), state.step):
        try:
            return _step(state, parts, training, validation, stopping)
        except Stopped:
            state.generator.set_state(drawn)
            raise


def _purpose(ranks: Ranks) -> str:
    """Of a step's draws from the global generators: each process has masks of its own."""
    return "search step" + (f", rank {ranks.index}" if ranks.index else "")


def _step(
    state: SearchState,
    parts: SearchParts,
    training: EpochBatches,
    validation: EpochBatches,
    stopping: Callable[[], bool],
) -> dict[str, Tensor]:
    settings, model, policy = parts.settings, state.model, state.policy
    place = parts.in_round(state.step)
    if state.step and not place and state.steps_model:
        state.restart(parts)
    if not model.training:  # as a whole; layers that are alone in evaluation mode stay there
        model.train()
    factor = parts.rate(state.step)
    set_rates(state.optimizer, factor)
    set_rates(
        state.policy_optimizer,
        rate_at(state.step, settings.steps, settings.policy_schedule, settings.policy_final_rate),
    )
    aim = parts.objective(
        Step(
            model=model,
            companion=state.companion,
            policy=policy,
            optimizer=state.optimizer,
            generator=state.generator,
            batch=lambda ahead: training.batch(parts.data.train, state.step + ahead),
            validation=validation.batch(parts.data.validation, state.step),
            hypergradient=parts.hypergradient,
            memory=state.hypergradient_memory,
            clip_norm=settings.clip_norm,
            autocast=settings.autocast,
            accumulation_steps=settings.accumulation_steps,
            standard=parts.standard,
            data=parts.data,
            builder=parts.model,
            seed=parts.seed,
            number=state.step,
            stopping=stopping,
            ranks=parts.ranks,
            graphs=state.graphs,
        )
    )
    require_returned(aim, Aim, "objective", parts.objective)
    state.hypergradient_memory = aim.memory
    estimate, spread = _estimated(state, parts, aim)
    estimate = _alike(estimate, parts.ranks)
    if state.control is not None:
        state.control.step(estimate.control_loss)
    added = None
    if aim.trained is not None:
        state.trained_with = state.params()
    if place >= parts.warmup:
        added = regularizer_gradient(policy, parts.regularizers)
        for name, parameter in policy.named_parameters():
            if parameter.requires_grad:
                parameter.grad = getattr(estimate.grads, name) + getattr(added, name)
        share = torch.ones_like(state.signal.peak)
        if spread is not None:
            unit = factor if parts.hypergradient.follows_rate else 1.0
            state.signal = state.signal.after(spread / unit)
            share = state.signal.share(spread / unit, settings.signal_floor)
        moves = learnable(policy)
        damped_step(state.policy_optimizer, share, {getattr(policy, name): mask for name, mask in moves.items()})
        state.stepped(parts.policy_steps(state.step) + 1)

    model_norm = {}
    if aim.trained is None:
        model_norm = {"gradient_norm": _norm(list(aim.gradients.values()))}
        set_gradients(model, aim.gradients)
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        state.optimizer.step()
        set_gradients(model, {})  # the memory is free for the next step's
    else:
        model.load_state_dict(aim.trained)
    return {
        **aim.metrics,
        **model_norm,
        **{f"{ESTIMATE}/{name}": _norm([getattr(estimate.grads, name)]) for name in PolicyParams.names()},
        REGULARIZERS: policy.op_logits.new_zeros(()) if added is None else _norm(list(added.tensors())),
        **policy_summary(policy),
        **({} if spread is None else {"score_spread": spread}),
        **({} if estimate.control_loss is None else {"control_loss": estimate.control_loss.detach()}),
    }


def _estimated(state: SearchState, parts: SearchParts, aim: Aim) -> tuple[Estimate, Tensor | None]:
    """The gradient of what the policy minimises, and the standard deviation that its scores were divided by, if so."""
    if isinstance(aim.scalar, Estimate):
        return aim.scalar, None
    normalization = Normalization()
    progress = state.step / parts.settings.steps
    shown = MappedScalar(aim.scalar, normalization) if parts.settings.normalize else aim.scalar
    estimate = estimate_with(
        state.control, parts.estimator, shown, state.policy, aim.batch_size, state.generator, progress
    )
    return estimate, normalization.spread if parts.settings.normalize else None


def _alike(estimate: Estimate, ranks: Ranks) -> Estimate:
    """The estimate to the last bit the same in all processes, whose kernels may have added it up in other orders."""
    if ranks.alone:
        return estimate
    grads = ranks.summed([gradient / ranks.count for gradient in estimate.grads.tensors()])
    return replace(estimate, grads=PolicyParams(*grads))  # type: ignore[arg-type]


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)
