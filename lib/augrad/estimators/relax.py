"""RELAX (Grathwohl et al. 2018): the score function with a learned control variate, unbiased whatever it is."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.branch import Branch, branch_of, chosen, draw_branch, mean_gradient, one_hots
from augrad.estimators.control import Control
from augrad.estimators.estimate import Estimate, Scalar, advantage_of, estimation, known_draw, leave_one_out
from augrad.estimators.surrogate import Surrogate
from augrad.policy import Policy
from augrad.policy.distributions import (
    BranchNoise,
    HardNoise,
    conditional_gumbel,
    conditional_logistic,
    draw_branch_noise,
    gumbel,
    has_density,
    logistic,
    normal_log_probability,
)
from augrad.types import PolicySample


@checked
@dataclass(frozen=True)
class Relax:
    """The score function with learned control variates, one for each kind of choice.

    A draw is made in four blocks, one after another: sub-policy, candidates, gates, magnitudes. With b_j what is drawn
    in block j, and pa_j what was drawn before it, the block has a control variate c_j, and the estimate for its
    parameters is

        g_j = mean_i (f(b) - c_j(z~_j)) grad log P(b_j | pa_j) + grad c_j(z_j) - grad c_j(z~_j),

    (RELAX, Grathwohl et al. 2018, section 3). f is the scalar; z_j are the logits plus Gumbel or logistic noise;
    b_j = H(z_j) is their argmax or their sign; z~_j is drawn from p(z_j | b_j, pa_j) (appendix B). The Gaussian behind
    the magnitudes is continuous, and its block has g_j = mean_i (f(b) - c_j(m)) grad log p(m | pa_j) + grad c_j(m),
    with m = location + scale * n (LAX, same section). So magnitudes are differentiated through c_j, never through the
    operations.

    Given pa_j, the terms with c_j have expectation zero for every c_j, so the estimate is unbiased. This holds for a
    scalar that jumps, too, because only c_j is differentiated, which is smooth. Each block has a control variate of its
    own for two reasons. A single one on all relaxed variables would have gradients, of mean zero and nothing but noise,
    for candidates of sub-policies and for gates of candidates that were not drawn; here these get exactly zero. A
    single one on the variables that were drawn would jump from draw to draw, which makes its gradient biased.
    The baseline is the mean of f - c_j(z~_j) over the other images; it does not depend on the image's own draw.

    c_j is a small network (see `Surrogate`) that is zero at first; the estimate is then `Reinforce` with leave-one-out.
    It learns to minimise the mean over images of |g_ji|^2 (section 3). As the expectation of g does not depend on c,
    this minimises the variance.
    temperature: of the relaxed inputs of the networks, at first; it is learned with them. hidden: units of each
    network. learning_rate: of Adam on the networks.
    Cost: one evaluation of the scalar without its derivative, and a few passes through the networks.
    Raises UserError unless all three are above 0.
    """

    temperature: float = 1.0
    hidden: int = 32
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name in ("temperature", "hidden", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    def _surrogate(self, policy: Policy, generator: torch.Generator) -> Surrogate:
        return Surrogate(policy.shape, self.hidden, self.temperature, generator).to(policy.device)

    def initial_control(self, policy: Policy, generator: torch.Generator) -> Control:
        """Control variates that are zero everywhere, and their optimiser."""
        surrogate = self._surrogate(policy, generator)
        return Control(surrogate, torch.optim.Adam(surrogate.parameters(), lr=self.learning_rate))

    @estimation
    def __call__(
        self,
        scalar: Scalar,
        policy: Policy,
        batch_size: int,
        generator: torch.Generator | None,
        progress: float,
        control: Surrogate | None = None,
    ) -> Estimate:
        """control: the control variates; without them they are zero."""
        surrogate = self._surrogate(policy, torch.Generator()) if control is None else control
        rest = policy.draw_noise(batch_size, generator)
        free, tied = (
            draw_branch_noise((batch_size,), policy.shape, generator, policy.device) for _ in ("z", "z given b")
        )
        with torch.no_grad():
            known = known_draw(scalar)
            sample = draw_branch(policy, free, rest) if known is None else known
            scores = scalar(sample)
            advantage = advantage_of(scalar, scores)
        sample = sample.detach()
        noise = _noise_before(free, rest) if known is None else _noise_behind(policy, sample, free)
        found = _gradients(advantage, policy, sample, noise, tied, surrogate)
        loss = sum((g.square().flatten(1).sum(1).mean() for g in found.values()), torch.zeros_like(scores[0]))
        return Estimate(mean_gradient(policy, sample, found), scores.mean(), loss)


@dataclass(frozen=True)
class _Noise:
    """The noise in z: Gumbel and logistic noise of the choices, normal noise of the magnitudes."""

    subpolicy: Float[Tensor, "B S"]
    op: Float[Tensor, "B L K"]
    gate: Float[Tensor, "B L"]
    normal: Float[Tensor, "B L"]


def _noise_before(free: BranchNoise, rest: HardNoise) -> _Noise:
    """The noise that a fresh draw is made with."""
    return _Noise(gumbel(free.subpolicy), gumbel(free.op), logistic(free.gate), rest.normal.to(torch.float64))


@torch.no_grad()
def _noise_behind(policy: Policy, sample: PolicySample, free: BranchNoise) -> _Noise:
    """Noise that leads to a given draw b, from p(z | b). With b drawn from P(b), z has the distribution p(z)."""
    at = branch_of(policy, sample).detach()
    deviation = (sample.latent - at.magnitude_locations) * (-at.magnitude_log_scales).exp()
    return _Noise(
        conditional_gumbel(at.subpolicy_logits, sample.subpolicy, free.subpolicy) - at.subpolicy_logits,
        conditional_gumbel(at.op_logits, sample.slot, free.op) - at.op_logits,
        conditional_logistic(at.gate_logits, sample.gate, free.gate) - at.gate_logits,
        torch.where(deviation.isfinite(), deviation, 0.0),
    )


def _gradients(
    advantage: Float[Tensor, " B"],
    policy: Policy,
    sample: PolicySample,
    noise: "_Noise",
    tied: BranchNoise,
    surrogate: Surrogate,
) -> dict[str, Tensor]:
    """Each image's estimate for each learned group of its `Branch`, differentiable in the surrogate's parameters."""
    branch = branch_of(policy, sample)
    subpolicy, slot = one_hots(policy, sample)
    blocks: dict[tuple[str, ...], tuple[Tensor, Tensor, Tensor]] = {}  # log-probability, c(z), c(z given b)

    logits = branch.subpolicy_logits
    blocks[("subpolicy_logits",)] = (
        (torch.log_softmax(logits, -1) * subpolicy).sum(-1),
        surrogate.subpolicy(logits + noise.subpolicy),
        surrogate.subpolicy(conditional_gumbel(logits, sample.subpolicy, tied.subpolicy)),
    )

    logits, present = branch.op_logits, policy.tables.present[sample.subpolicy]
    blocks[("op_logits",)] = (
        (torch.log_softmax(logits, -1) * slot * present).sum((1, 2)),
        surrogate.op(logits + noise.op, present, subpolicy),
        surrogate.op(conditional_gumbel(logits, sample.slot, tied.op), present, subpolicy),
    )

    logits, scored = branch.gate_logits, chosen(policy.tables.scored_gate, sample)
    log_probability = torch.where(sample.gate, logsigmoid(logits), logsigmoid(-logits))
    blocks[("gate_logits",)] = (
        torch.where(scored, log_probability, 0.0).sum(-1),
        surrogate.gate(logits + noise.gate, scored, subpolicy, slot),
        surrogate.gate(conditional_logistic(logits, sample.gate, tied.gate), scored, subpolicy, slot),
    )

    location, log_scale = branch.magnitude_locations, branch.magnitude_log_scales
    scored = sample.gate & chosen(policy.tables.scored_magnitude, sample) & has_density(location, log_scale)
    latent = torch.where(scored, location, 0.0) + torch.where(scored, log_scale, 0.0).exp() * noise.normal
    applied = slot * sample.gate[..., None]
    blocks["magnitude_locations", "magnitude_log_scales"] = (
        normal_log_probability(sample.latent, location, log_scale, scored).sum(-1),
        surrogate.magnitude(latent, scored, subpolicy, applied),
        surrogate.magnitude(sample.latent, scored, subpolicy, applied),
    )
    found: dict[str, Tensor] = {}
    for names, block in blocks.items():
        learned = [name for name in names if getattr(policy, name).requires_grad]
        if learned:
            found.update(_block(advantage, branch, learned, *block))
    return found


def _block(
    advantage: Tensor, branch: Branch, names: list[str], log_probability: Tensor, at_z: Tensor, at_tied: Tensor
) -> dict[str, Tensor]:
    leaves = [getattr(branch, name) for name in names]
    score = torch.autograd.grad(log_probability.sum(), leaves)
    path: Any = torch.autograd.grad((at_z - at_tied).sum(), leaves, create_graph=True)
    advantage = advantage - leave_one_out(at_tied)
    return {
        name: advantage.reshape(-1, *[1] * (s.dim() - 1)) * s + p for name, s, p in zip(names, score, path, strict=True)
    }
