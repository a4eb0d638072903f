"""A policy on a GPU, its calls launched as a whole: for training loops, where Python takes longer than the pixels."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from augrad.cuda_graphs import Graphs
from augrad.engines.choice import launches_alike
from augrad.ops.targets import Augmented
from augrad.policy.application import apply_draw, checked_call
from augrad.policy.distributions import HardNoise
from augrad.policy.policy import Policy


class GraphedPolicy:
    """A policy whose calls on a GPU are CUDA graphs; `augrad.Policy.to_cuda_graphs` makes it.

    A call is `policy(images, generator=generator)`, number for number, without gradients. What it computes is captured
    at the second call with images of one shape and type, and replayed from then on, by one launch. The base draws are
    made outside of the graph, so that generators are those of a plain call. Where nothing can be captured (images on a
    CPU, a policy elsewhere than its images, operations that are not augrad's own, other engines than Triton's, images
    with a gradient) it is a plain call. Each shape keeps the memory of two batches, up to sixteen of them. For one
    thread and one stream at a time.
    policy: the copy that it applies; changes of the policy that it was made from do not reach it.
    A call raises what `Policy.forward` raises.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self._graphs = Graphs(enabled=True, own_outputs=False)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        policy = self.policy
        differentiated = isinstance(images, Tensor) and images.requires_grad and torch.is_grad_enabled()
        if differentiated or not self.captures(images):
            return policy(images, generator=generator)  # type: ignore[no-any-return]
        with torch.no_grad():
            given = checked_call(Augmented(images), None, policy.ops, False, False).images
            noise = policy.draw_noise(len(given), generator)
            (found,) = self._graphs("policy", self._augmented, given, list(vars(noise).values()))
            return found.clone()  # the next call writes there

    def _augmented(self, images: Tensor, *noise: Any) -> tuple[Tensor]:
        policy, (values,) = self.policy, noise
        sample = policy.sample_from(HardNoise(*values))
        given = Augmented(images)
        found, _ = apply_draw(policy._application, given, sample, policy.fill, policy.interpolation, replayed=False)
        return (found,)

    def captures(self, images: Tensor) -> bool:
        """Whether calls with such images are captured."""
        return (
            type(images) is Tensor
            and images.is_cuda
            and images.dim() == 4
            and images.numel() > 0
            and images.device == self.policy.device
            and launches_alike(self.policy._application.plan, images)
        )

    def __reduce__(self) -> tuple[Callable[[Policy], "GraphedPolicy"], tuple[Policy]]:
        return GraphedPolicy, (self.policy,)
