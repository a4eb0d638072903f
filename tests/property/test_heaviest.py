"""Pairs of operations, and what of a policy is handed on."""

import pytest
import torch

from augrad import UserError
from augrad.ops.space import make_space
from augrad.policy.heaviest import heaviest
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.policy_file.convert import document_of, policy_from_document

SPACE = make_space({"rotate": {}, "invert": {}, "brightness": {}, "identity": {}})


def test_pairs_are_all_there_once_and_in_order() -> None:
    policy = pair_policy(SPACE, probability=0.3, level=0.25)
    names = [[policy.ops[stage[0].op].name for stage in subpolicy] for subpolicy in policy.slots]
    assert names == [
        ["rotate", "invert"],
        ["rotate", "brightness"],
        ["rotate", "identity"],
        ["invert", "brightness"],
        ["invert", "identity"],
        ["brightness", "identity"],
    ]
    assert policy.shape == (6, 2, 1)
    torch.testing.assert_close(policy.op_probabilities(), torch.ones(6, 2, 1, dtype=torch.float64))
    torch.testing.assert_close(policy.gate_probabilities(), torch.full((6, 2, 1), 0.3, dtype=torch.float64))
    learned = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert learned == {"subpolicy_logits", "gate_logits", "magnitude_locations"}


def test_a_single_operation_makes_no_pair() -> None:
    with pytest.raises(UserError, match="at least two operations"):
        pair_policy(make_space({"rotate": {}}))


@pytest.mark.parametrize("uniform", [False, True])
def test_the_heaviest_sub_policies_as_they_were(uniform: bool) -> None:
    policy = random_policy(pair_policy(SPACE), seed=1)
    weights = policy.subpolicy_probabilities().detach()
    kept = heaviest(policy, 2, uniform)
    order = weights.argsort(descending=True)[:2]
    expected = torch.full((2,), 0.5, dtype=torch.float64) if uniform else weights[order] / weights[order].sum()
    torch.testing.assert_close(kept.subpolicy_probabilities().detach(), expected)
    assert [kept.slots[0], kept.slots[1]] == [policy.slots[index] for index in order.tolist()]
    for name in ("gate_logits", "magnitude_locations", "magnitude_log_scales"):
        assert torch.equal(getattr(kept, name), getattr(policy, name)[order])


def test_all_of_it_is_the_same_policy() -> None:
    policy = random_policy(initial_policy(SPACE, 3, 2), seed=1)
    for count in (None, 3, 100):
        kept = heaviest(policy, count)
        chosen = policy if count is None else heaviest(policy, 3)
        assert document_of(kept) == document_of(chosen)
    images = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    one, other = (p(images, generator=torch.Generator().manual_seed(1)) for p in (policy, heaviest(policy, None)))
    assert torch.equal(one, other)


def test_what_is_left_may_be_narrower() -> None:
    """The lightest sub-policy has more stages and candidates than the others."""
    document = document_of(random_policy(initial_policy(SPACE, 1, 2), seed=1)).model_dump(mode="json")
    small = {"weight": 0.9, "stages": [[{**document["subpolicies"][0]["stages"][0][0], "weight": 1.0}]]}
    document["subpolicies"][0]["weight"] = 0.1
    document["subpolicies"].append(small)
    policy = policy_from_document(type(document_of(pair_policy(SPACE))).model_validate(document))
    assert policy.shape == (2, 2, 4)
    kept = heaviest(policy, 1)
    assert kept.shape == (1, 1, 1)
    assert kept(torch.rand(3, 1, 8, 8)).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("count", [0, -1, True])
def test_a_count_below_one(count: int) -> None:
    with pytest.raises(UserError, match="count: expected "):
        heaviest(pair_policy(SPACE), count)
