"""Draws from a policy's distributions: hard, relaxed, and their log-probabilities. Every base draw is an argument.

Gumbel-softmax (concrete) relaxation: Jang et al. 2017, eq. 2; Maddison et al. 2017, eq. 10. Relaxed Bernoulli:
Maddison et al., eq. 17. The same noise given what was drawn: Tucker et al. 2017 (REBAR), section 3; Grathwohl et al.
2018 (RELAX), appendix B.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from augrad.errors import UserError
from augrad.shared_state import base_seed
from augrad.types import TensorFields


@dataclass(frozen=True)
class HardNoise(TensorFields):
    """Base draws of one hard draw per image: uniform in [0, 1), except `normal`. Size does not depend on S and K."""

    subpolicy: Float[Tensor, " B"]
    slot: Float[Tensor, "B L"]
    gate: Float[Tensor, "B L"]
    normal: Float[Tensor, "B L"]
    level: Float[Tensor, "B L"]
    sign: Float[Tensor, "B L"]
    draw: Float[Tensor, "B L D"]


@dataclass(frozen=True)
class RelaxedNoise(TensorFields):
    """Base draws of one relaxed draw per image, for every candidate: uniform in (0, 1), except `normal`."""

    subpolicy: Float[Tensor, "B S"]
    op: Float[Tensor, "B S L K"]
    gate: Float[Tensor, "B S L K"]
    normal: Float[Tensor, "B S L K"]
    level: Float[Tensor, "B S L K"]
    sign: Float[Tensor, "B S L K"]
    draw: Float[Tensor, "B L D"]


@dataclass(frozen=True)
class BranchNoise(TensorFields):
    """Uniform base draws in (0, 1), per image, for what is chosen between along the way of one draw.

    Between sub-policies, between the candidates of each stage of one sub-policy, and for the gate of one candidate.
    """

    subpolicy: Float[Tensor, "*draws B S"]
    op: Float[Tensor, "*draws B L K"]
    gate: Float[Tensor, "*draws B L"]


CERTAIN = 1e150
"""Stands for infinity among a policy's parameters: a probability of exactly 1, with the other sign one of exactly 0 or
a scale of exactly 0. It is finite, so that averages and differences of parameters, and what weight decay subtracts,
are numbers; and so large that none of them brings it below `_LEAST_CERTAIN`."""
_LEAST_CERTAIN = 1e20


def is_certain(values: Tensor) -> Bool[Tensor, "..."]:
    """Which of a policy's parameters stand for infinity, and are not learned; infinity itself does, too."""
    return values.abs() > _LEAST_CERTAIN


def is_impossible(values: Tensor) -> Bool[Tensor, "..."]:
    """Which logits stand for a probability of exactly 0."""
    return values < -_LEAST_CERTAIN


def finite_parameters(values: Tensor) -> Float[Tensor, "..."]:
    """A policy's parameters, float64, with `CERTAIN` in the place of infinity; NaN stays."""
    return values.to(torch.float64).clamp(-CERTAIN, CERTAIN)


def call_generator(generator: torch.Generator | None, device: torch.device) -> torch.Generator | None:
    """The generator that one call draws from: `generator` if there is one, and then nothing else is touched.

    Otherwise a fresh one on `device`, seeded with one number from PyTorch's global generator of the CPU: as with
    `torch.nn.Dropout`, draws follow `torch.manual_seed` and the saved state of that generator, and calls draw apart.
    The number has 63 bits, and on a GPU all of them count. PyTorch's generator of the CPU keeps 32 bits of a seed: of n
    calls some n^2 / 2^33 pairs share a stream. The number is read on the host: nothing waits for a GPU.
    None, which stands for the device's own global generator, inside `torch.compile` and while a CUDA graph is captured:
    no generator can be seeded there, and from that one every replay of the graph draws anew.
    None on the meta device, too, where nothing is drawn.
    Raises UserError for a `generator` that is none, and for one of the CPU while a CUDA graph is captured.
    """
    capturing = device.type == "cuda" and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing()
    require_generator(generator)
    if generator is not None:
        if capturing and generator.device.type == "cpu":
            raise UserError(
                "generator: expected one of the GPU while a CUDA graph is captured, got one of the CPU, whose numbers "
                "every replay would repeat; register a GPU's with the graph, or give none"
            )
        return generator
    if capturing or torch.compiler.is_compiling() or device.type == "meta":
        return None
    if torch._C._are_functorch_transforms_active():  # vmap's `randomness` is about the draws; the seed is one number
        with torch._C._DisableFuncTorch():
            seed = base_seed()
    else:
        seed = base_seed()
    return torch.Generator(device).manual_seed(seed)


def require_generator(generator: object) -> None:
    """Raise UserError for a `generator` that is none; None stands for a fresh one."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise UserError(
            f"generator: expected a torch.Generator, got {generator!r}; "
            "torch.Generator().manual_seed(0) makes one from a seed"
        )


# Draws are float32 whatever the default type: it decides neither what is drawn nor how finely.


def _uniform(generator: torch.Generator | None, device: torch.device, *shape: int) -> Tensor:
    return _drawn(torch.rand, generator, device, shape)


def _normal(generator: torch.Generator | None, device: torch.device, *shape: int) -> Tensor:
    return _drawn(torch.randn, generator, device, shape)


def _drawn(
    draw: Callable[..., Tensor], generator: torch.Generator | None, device: torch.device, shape: tuple[int, ...]
) -> Tensor:
    if generator is None:  # the argument is left out: with one, even None, a compiled call knows fixed shapes only
        return draw(*shape, device=device, dtype=torch.float32)
    drawn = draw(*shape, generator=generator, device=generator.device, dtype=torch.float32)
    return drawn if drawn.device == device else drawn.to(device, non_blocking=True)


def draw_hard_noise(
    batch_size: int, stages: int, extra: int, generator: torch.Generator | None, device: torch.device
) -> HardNoise:
    """All base draws of `batch_size` hard draws, from `call_generator` (made on its device, then moved)."""
    generator = call_generator(generator, device)
    shape = (generator, device, batch_size, stages)
    return HardNoise(
        subpolicy=_uniform(generator, device, batch_size),
        slot=_uniform(*shape),
        gate=_uniform(*shape),
        normal=_normal(*shape),
        level=_uniform(*shape),
        sign=_uniform(*shape),
        draw=_uniform(*shape, extra),
    )


def draw_relaxed_noise(
    batch_size: int,
    shape: tuple[int, int, int],
    extra: int,
    generator: torch.Generator | None,
    device: torch.device,
) -> RelaxedNoise:
    """All base draws of `batch_size` relaxed draws of a policy of `shape` (S, L, K), from `call_generator`."""
    generator = call_generator(generator, device)
    subpolicies, stages, _ = shape
    full = (generator, device, batch_size, *shape)
    tiny = torch.finfo(torch.float32).tiny
    return RelaxedNoise(
        subpolicy=_uniform(generator, device, batch_size, subpolicies).clamp_min(tiny),
        op=_uniform(*full).clamp_min(tiny),
        gate=_uniform(*full).clamp_min(tiny),
        normal=_normal(*full),
        level=_uniform(*full),
        sign=_uniform(*full),
        draw=_uniform(generator, device, batch_size, stages, extra),
    )


def draw_branch_noise(
    batch: tuple[int, ...], shape: tuple[int, int, int], generator: torch.Generator | None, device: torch.device
) -> BranchNoise:
    """Base draws for the choices of draws of a policy of `shape` (S, L, K), from `call_generator`.

    batch: (B,), or (N, B) for N draws for each of B images.
    """
    generator = call_generator(generator, device)
    subpolicies, stages, width = shape
    noise = BranchNoise(
        subpolicy=_uniform(generator, device, *batch, subpolicies),
        op=_uniform(generator, device, *batch, stages, width),
        gate=_uniform(generator, device, *batch, stages),
    )
    return noise.map(lambda uniform: uniform.clamp_min(torch.finfo(torch.float32).tiny))


def categorical(probabilities: Float[Tensor, "*batch N"], uniform: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """The index drawn by inverting the cumulative distribution at `uniform`; never an entry of probability 0.

    probabilities: up to a factor.
    """
    if probabilities.shape[-1] == 1:
        return torch.zeros_like(uniform, dtype=torch.int64)
    cumulative = probabilities.cumsum(-1)
    position = uniform.to(cumulative.dtype)[..., None] * cumulative[..., -1:]
    index = (cumulative <= position).sum(-1)
    return index.clamp(max=probabilities.shape[-1] - 1)


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel from uniform in (0, 1): -log(-log u)."""
    return -torch.log(-torch.log(uniform.to(torch.float64)))


def logistic(uniform: Tensor) -> Tensor:
    """Standard logistic from uniform in (0, 1): log u - log(1 - u)."""
    return torch.logit(uniform.to(torch.float64), eps=1e-12)


def conditional_gumbel(
    logits: Float[Tensor, "*batch N"], index: Int[Tensor, "*batch"], uniform: Float[Tensor, "*batch N"]
) -> Float[Tensor, "*batch N"]:
    """z = logits + Gumbel given that argmax z is `index`; differentiable in the finite `logits`.

    The largest is a Gumbel draw around log sum exp(logits), the others are Gumbel draws cut off at it:
    z_b = -log(E_b / Z), z_k = -log(E_k / exp(logit_k) + E_b / Z) with E = -log u exponential and Z = sum exp(logits).
    In logarithms, so that impossible entries (logits of -1e30) stay finite.
    """
    log_exponential = torch.log(-torch.log(uniform.to(torch.float64)))
    top = log_exponential.gather(-1, index[..., None]) - torch.logsumexp(logits, -1, keepdim=True)
    others = -torch.logaddexp(log_exponential - logits, top)
    return torch.where(one_hot(index, logits.shape[-1]).bool(), -top, others)


def conditional_logistic(
    logits: Float[Tensor, "*batch"], positive: Bool[Tensor, "*batch"], uniform: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """z = logits + logistic given whether z > 0; differentiable in the finite `logits`.

    log(1 + v / ((1 - v) (1 - p))) if positive, else -log(1 + v / ((1 - v) p)), with p = sigmoid(logits), v uniform.
    """
    side = torch.where(positive, 1.0, -1.0)
    return side * softplus(logistic(uniform) + softplus(side * logits))


def relaxed_categorical(
    logits: Float[Tensor, "*batch N"], uniform: Float[Tensor, "*batch N"], temperature: float
) -> Tensor:
    """A point of the simplex: softmax((logits + Gumbel) / temperature)."""
    return torch.softmax((logits + gumbel(uniform)) / temperature, dim=-1)


def relaxed_bernoulli(logits: Float[Tensor, "*batch"], uniform: Float[Tensor, "*batch"], temperature: float) -> Tensor:
    """A number in (0, 1): sigmoid((logit + logistic) / temperature)."""
    return torch.sigmoid((logits + logistic(uniform)) / temperature)


def straight_through(soft: Tensor, hard: Tensor) -> Tensor:
    """`hard` in the forward pass, the gradient of `soft` in the backward pass."""
    return hard.to(soft.dtype) + (soft - soft.detach())


def harden_categorical(soft: Float[Tensor, "*batch N"]) -> Tensor:
    """One-hot of the largest entry, with the gradient of `soft`."""
    return straight_through(soft, one_hot(soft.argmax(-1), soft.shape[-1]))


def harden_bernoulli(soft: Tensor) -> Tensor:
    """1 where `soft` > 1/2, with the gradient of `soft`."""
    return straight_through(soft, soft > 0.5)


_LARGEST_LOG_SCALE = 100.0
"""Of either sign. A smaller scale is a point for all purposes, and the square of its derivative would overflow."""


def has_density(location: Tensor, log_scale: Tensor) -> Bool[Tensor, "..."]:
    """Whether location + exp(log_scale) * n has a density: not with a scale of (nearly) 0 or a certain location."""
    return ~is_certain(location) & (log_scale.abs() < _LARGEST_LOG_SCALE)


def normal_log_probability(value: Tensor, location: Tensor, log_scale: Tensor, where: Tensor) -> Tensor:
    """Log density of a normal distribution, without its constant, as a function of location and log scale.

    Zero, with gradient zero, where `where` is False and where there is no density.
    """
    where = where & has_density(location, log_scale)
    # Masked before, not after: the derivative of a discarded infinity is not a number.
    value, location, log_scale = (torch.where(where, tensor, 0.0) for tensor in (value, location, log_scale))
    return torch.where(where, -0.5 * ((value - location) * torch.exp(-log_scale)) ** 2 - log_scale, 0.0)


def uniform_up_to_log_probability(fraction: Tensor, location: Tensor, log_scale: Tensor, where: Tensor) -> Tensor:
    """Log density at a `fraction` in (0, 1) of u * sigmoid(location + scale * n), u uniform and n standard normal.

    With l the latent normal and f the fraction, p(f) is the integral of N(l) / sigmoid(l) over l > logit(f): with
    a = (location - logit f) / scale, p(f) = Phi(a) + exp(scale^2 / 2 - location) Phi(a - scale).
    The range that was drawn is summed over: only the fraction acts, and the score of a range that did nothing beyond
    its draw is noise. Zero, with gradient zero, where `where` is False or there is no density.
    """
    where = where & has_density(location, log_scale)
    location, log_scale = (torch.where(where, tensor, 0.0) for tensor in (location, log_scale))
    fraction = torch.where(where, fraction, 0.5)
    scale = log_scale.exp()
    fraction = fraction.to(torch.float64)
    # So near to 0 that no number holds it: whatever the range, the fraction is in it.
    inside = fraction < 1e-300
    latent = torch.logit(torch.where(inside, 0.5, fraction).clamp(max=1 - 1e-15))
    reach = torch.where(inside, 40.0, (location - latent) / scale)
    above = torch.special.log_ndtr(reach)
    below = 0.5 * scale.square() - location + torch.special.log_ndtr(reach - scale)
    return torch.where(where, torch.logaddexp(above, below), 0.0)


def entropy(logits: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
    """Entropy of softmax(logits), in nats."""
    # Through log-probabilities, with impossible candidates left out: the derivative of p log p at p = 0 is infinite.
    log_probabilities = torch.log_softmax(logits, -1)
    possible = log_probabilities > -1e29
    terms = torch.where(possible, log_probabilities, 0.0)
    return -(torch.where(possible, terms.exp(), 0.0) * terms).sum(-1)
