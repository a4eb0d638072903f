"""The control variates of `Relax`: small smooth networks on the relaxed choices of one draw."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Network(nn.Module):
    """x -> a . x + w . tanh(W x + v) + e, zero at first. The inputs x [B, N] are weights and fractions in [0, 1]."""

    def __init__(self, inputs: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.randn(hidden, inputs, generator=generator, device="cpu", dtype=torch.float64)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.randn(hidden, generator=generator, device="cpu", dtype=torch.float64))
        self.output = nn.Parameter(torch.zeros(inputs + hidden + 1, dtype=torch.float64))

    def forward(self, inputs: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
        hidden = torch.tanh(inputs @ self.weight.T + self.bias)
        return torch.cat([inputs, hidden], -1) @ self.output[:-1] + self.output[-1]


class Surrogate(nn.Module):
    """One network for each block of choices. Its inputs are the block's relaxed choices, and those drawn before it.

    The relaxed weights are softmax(z / temperature) and sigmoid(z / temperature), with learned temperatures.
    """

    log_temperatures: nn.Parameter

    def __init__(
        self, shape: tuple[int, int, int], hidden: int, temperature: float, generator: torch.Generator
    ) -> None:
        """shape: (S, L, K) of the policy. hidden: units of each network. generator: draws the first layers' weights."""
        super().__init__()
        subpolicies, stages, width = shape
        self.log_temperatures = nn.Parameter(torch.full((3,), math.log(temperature), dtype=torch.float64))
        self._subpolicy = Network(subpolicies, hidden, generator)
        self._op = Network(subpolicies + stages * width, hidden, generator)
        self._gate = Network(subpolicies + 2 * stages * width, hidden, generator)
        self._magnitude = Network(subpolicies + 2 * stages * width, hidden, generator)

    def subpolicy(self, z: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
        """z: logits plus noise of the sub-policies."""
        return self._subpolicy(torch.softmax(z * torch.exp(-self.log_temperatures[0]), -1))

    def op(
        self, z: Float[Tensor, "B L K"], present: Bool[Tensor, "B L K"], subpolicy: Float[Tensor, "B S"]
    ) -> Float[Tensor, " B"]:
        """z: logits plus noise of the drawn sub-policy's candidates. present: which there are. subpolicy: one-hot."""
        weights = torch.softmax(z * torch.exp(-self.log_temperatures[1]), -1) * present
        return self._op(torch.cat([subpolicy, weights.flatten(1)], -1))

    def gate(
        self,
        z: Float[Tensor, "B L"],
        scored: Bool[Tensor, "B L"],
        subpolicy: Float[Tensor, "B S"],
        slot: Float[Tensor, "B L K"],
    ) -> Float[Tensor, " B"]:
        """z: logits plus noise of the drawn candidates' gates. scored: where a gate matters. slot: one-hot."""
        opened = torch.where(scored, torch.sigmoid(z * torch.exp(-self.log_temperatures[2])), 0.0)
        return self._gate(torch.cat([subpolicy, slot.flatten(1), (opened[..., None] * slot).flatten(1)], -1))

    def magnitude(
        self,
        latent: Float[Tensor, "B L"],
        scored: Bool[Tensor, "B L"],
        subpolicy: Float[Tensor, "B S"],
        applied: Float[Tensor, "B L K"],
    ) -> Float[Tensor, " B"]:
        """latent: the Gaussian behind the magnitudes. scored: where it matters. applied: one-hot, 0 if not applied."""
        fraction = torch.where(scored, torch.sigmoid(latent), 0.0)
        return self._magnitude(
            torch.cat([subpolicy, applied.flatten(1), (fraction[..., None] * applied).flatten(1)], -1)
        )
