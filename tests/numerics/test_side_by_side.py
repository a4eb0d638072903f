"""Draws of several policies at once are those of each of them by itself."""

import pytest
import torch

from augrad.ops.space import make_space
from augrad.policy.distributions import HardNoise
from augrad.policy.draws import hard_draw
from augrad.policy.initial import initial_policy, random_policy
from augrad.types import PolicyParams, PolicySample


@pytest.mark.parametrize("subpolicies", [1, 3])
def test_draws_of_several_policies_are_those_of_each(subpolicies: int) -> None:
    space = make_space({name: {} for name in ("identity", "rotate", "invert", "cutout")})
    start = initial_policy(space, subpolicies=subpolicies, stages=2)
    policies = [random_policy(start, seed=seed) for seed in range(4)]
    noise = [one.draw_noise(50, torch.Generator().manual_seed(seed)) for seed, one in enumerate(policies)]
    alone = PolicySample.concatenate(
        [one.sample_from(drawn).detach() for one, drawn in zip(policies, noise, strict=True)]
    )
    fields = [[getattr(one.params, name) for one in policies] for name in PolicyParams.names()]
    tables = start.tables.map(lambda table: table.repeat(4, *[1] * (table.dim() - 1)))
    joined = HardNoise(*map(torch.cat, zip(*[vars(drawn).values() for drawn in noise], strict=True)))
    together = hard_draw(PolicyParams(*map(torch.cat, fields)), tables, joined, start.layout, policies=4)
    assert together.layout == alone.layout
    assert subpolicies == 1 or len(set(together.subpolicy.tolist())) == subpolicies
    for name, value in vars(alone).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(together, name).detach(), value, msg=name)
