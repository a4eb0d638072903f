"""REBAR (Tucker et al. 2017): the score function with the scalar itself, on relaxed draws, as its control variate."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.branch import chosen, finite_logits
from augrad.estimators.control import Control
from augrad.estimators.estimate import Estimate, Scalar, advantage_of, estimation, geometric, gradients_of
from augrad.policy import Policy
from augrad.policy.distributions import (
    BranchNoise,
    RelaxedNoise,
    conditional_gumbel,
    conditional_logistic,
    draw_branch_noise,
    gumbel,
    logistic,
)
from augrad.types import PolicyParams, PolicySample, RelaxedSample, TensorFields

_RELAXED = ("subpolicy_logits", "op_logits", "gate_logits")


@dataclass(frozen=True)
class Choices(TensorFields):
    """The logits of all choices, or z, which is the logits plus noise; of the policy, or one copy for each image."""

    subpolicy_logits: Float[Tensor, "*B S"]
    op_logits: Float[Tensor, "*B S L K"]
    gate_logits: Float[Tensor, "*B S L K"]


class Weights(nn.Module):
    """The factor eta of the control variate, one for each group of logits."""

    def __init__(self, eta: float) -> None:
        super().__init__()
        self.eta = nn.ParameterDict({name: torch.tensor(eta, dtype=torch.float64) for name in _RELAXED})


@checked
@dataclass(frozen=True)
class Rebar:
    """g = mean_i (f(b) - eta f(z~)) grad log P(b) + eta grad f(z) - eta grad f(z~) (Tucker et al. 2017, section 3).

    z is a relaxed draw at a temperature, b = H(z) its hard draw, and z~ another relaxed draw with the same hard draw b.
    f of a hard draw is the scalar; f of a relaxed draw is the scalar for the blend of all candidates. What b does not
    tell anything about (candidates of other sub-policies, gates of candidates that were not drawn) is the same in z and
    in z~. Its log-probability is not part of log P(b); its gradient through f has mean zero, but adds noise. Magnitudes
    are constants in f, and are learned by the score function of their Gaussian. The baseline is the mean of
    f(b) - eta f(z~) over the other images.

    The estimate is unbiased for every eta if the scalar is a continuous function of the blended image. It is biased
    where the scalar jumps, because the derivative of f misses the jumps: with the bilevel objective, in a network with
    ReLU or max-pooling. `Relax` differentiates nothing but its own networks, and has no such bias.
    eta: its first value, for each group of logits. It is learned: it minimises the mean over images of |g_i|^2, which
    is quadratic in eta. With 0 the estimate is that of the score function. learning_rate: of Adam on eta.
    temperature, final_temperature: at the start and at the end of the search; the temperature falls by equal factors.
    It is not learned, as eta is.
    Cost: three evaluations of the scalar, two of them with a derivative and with every candidate applied to every
    image. Raises UserError for temperatures or a learning rate that are not above 0.
    """

    temperature: float = 0.5
    final_temperature: float = 0.5
    eta: float = 0.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name in ("temperature", "final_temperature", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    def initial_control(self, policy: Policy, generator: torch.Generator) -> Control:
        """The factors eta and their optimiser."""
        weights = Weights(self.eta).to(policy.device)
        return Control(weights, torch.optim.Adam(weights.parameters(), lr=self.learning_rate))

    @estimation
    def __call__(
        self,
        scalar: Scalar,
        policy: Policy,
        batch_size: int,
        generator: torch.Generator | None,
        progress: float,
        control: Weights | None = None,
    ) -> Estimate:
        """control: the factors; None: `eta` for each group."""
        weights = Weights(self.eta).to(policy.device) if control is None else control
        temperature = geometric(self.temperature, self.final_temperature, progress)
        noise = policy.draw_relaxed_noise(batch_size, generator)
        tied_noise = draw_branch_noise((batch_size,), policy.shape, generator, policy.device)
        names = [name for name in _RELAXED if getattr(policy, name).requires_grad]
        params = finite_logits(policy)
        logits = Choices(params.subpolicy_logits, params.op_logits, params.gate_logits)
        with torch.no_grad():
            # Magnitudes, signs and extra numbers are these; the choices are made anew from z.
            drawn = policy.rsample_from(noise, temperature)
            sample = policy.harden(_relaxed(policy, drawn, _free(logits, noise), temperature))
            scores = scalar(sample)
            advantage = advantage_of(scalar, scores)
        terms = policy.score_terms(sample)
        grads = vars(gradients_of((advantage * terms.magnitude).mean(), policy))
        if not names:
            return Estimate(PolicyParams(**grads), scores.mean(), torch.zeros_like(scores[0]))

        own = logits.map(lambda tensor: tensor.expand(batch_size, *tensor.shape).clone().requires_grad_())
        leaves = [getattr(own, name) for name in names]
        score = torch.autograd.grad(_log_probability(policy, own, sample).sum(), leaves)
        z = _relaxed(policy, drawn, _free(own, noise), temperature)
        path = torch.autograd.grad(scalar(z).sum(), leaves, materialize_grads=True)
        given = _relaxed(policy, drawn, _given(policy, own, noise, tied_noise, sample), temperature)
        at_given = scalar(given)
        path_given = torch.autograd.grad(at_given.sum(), leaves, materialize_grads=True)

        correction = advantage_of(scalar, at_given.detach())
        loss = torch.zeros_like(scores[0])
        for name, s, p, p_given in zip(names, score, path, path_given, strict=True):
            column = (-1, *[1] * (s.dim() - 1))
            variate = p - p_given - correction.reshape(column) * s
            found = advantage.reshape(column) * s + weights.eta[name] * variate
            grads[name] = found.detach().mean(0)
            loss = loss + found.square().flatten(1).sum(1).mean()
        return Estimate(PolicyParams(**grads), scores.mean(), loss)


def _free(logits: Choices, noise: RelaxedNoise) -> Choices:
    return Choices(
        logits.subpolicy_logits + gumbel(noise.subpolicy),
        logits.op_logits + gumbel(noise.op),
        logits.gate_logits + logistic(noise.gate),
    )


def _relaxed(policy: Policy, drawn: RelaxedSample, z: Choices, temperature: float) -> RelaxedSample:
    return replace(
        drawn,
        subpolicy=torch.softmax(z.subpolicy_logits / temperature, -1),
        op=torch.softmax(z.op_logits / temperature, -1) * policy.tables.present,
        gate=torch.sigmoid(z.gate_logits / temperature),
    )


def _log_probability(policy: Policy, own: Choices, sample: PolicySample) -> Float[Tensor, " B"]:
    """Of the choices, with each image's own logits; only what acted is scored, as in `Policy.score_terms`."""
    rows = torch.arange(len(sample), device=sample.slot.device)

    slot = sample.slot[..., None]
    op = torch.log_softmax(own.op_logits[rows, sample.subpolicy], -1).gather(-1, slot)[..., 0]
    logit = own.gate_logits[rows, sample.subpolicy].gather(-1, slot)[..., 0]
    gate = torch.where(sample.gate, logsigmoid(logit), logsigmoid(-logit))
    return (
        torch.log_softmax(own.subpolicy_logits, -1)[rows, sample.subpolicy]
        + torch.where(policy.tables.present[sample.subpolicy].any(-1), op, 0.0).sum(-1)
        + torch.where(chosen(policy.tables.scored_gate, sample), gate, 0.0).sum(-1)
    )


def _given(policy: Policy, own: Choices, noise: RelaxedNoise, tied: BranchNoise, sample: PolicySample) -> Choices:
    """z given what was drawn; what the draw says nothing of stays as it was."""
    free = _free(own, noise)
    rows = torch.arange(len(sample), device=sample.slot.device)
    subpolicies, _, width = policy.shape
    here = one_hot(sample.subpolicy, subpolicies).bool()[:, :, None, None]
    this = here & one_hot(sample.slot, width).bool()[:, None] & policy.tables.scored_gate
    op = conditional_gumbel(own.op_logits[rows, sample.subpolicy], sample.slot, tied.op)
    gate_logits = own.gate_logits[rows, sample.subpolicy].gather(-1, sample.slot[..., None])[..., 0]
    gate = conditional_logistic(gate_logits, sample.gate, tied.gate)
    return Choices(
        conditional_gumbel(own.subpolicy_logits, sample.subpolicy, tied.subpolicy),
        torch.where(here, op[:, None], free.op_logits),
        torch.where(this, gate[:, None, :, None], free.gate_logits),
    )
