"""augrad.Policy.over: a policy evenly over a space."""

from typing import Any

import pytest
import torch

from augrad import Policy, Space, UserError
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from problems import shapes_unchecked

OPS: dict[str, Any] = {"rotate": {"high": 20.0}, "color": None}


def text(policy: Policy) -> str:
    return format_policy(document_of(policy, {}))


def test_it_is_where_a_search_starts() -> None:
    space = make_space(OPS)
    assert isinstance(space, Space)
    expected = initial_policy(space, stages=2, probability=0.7)
    for given in (OPS, space):
        found = Policy.over(given, stages=2, probability=0.7)
        assert text(found) == text(expected)
        assert found.op_probabilities().tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
        assert float(found.tables.high[0, 0, 0]) == 20.0
    everything: dict[str, Any] = {"subpolicies": 3, "magnitude": "uniform", "level": 0.3, "scale": 0.5, "seed": 4}
    everything |= {"learn": ["ops"], "jitter": 0.2}
    found, expected = Policy.over(OPS, **everything), initial_policy(space, **everything)
    assert text(found) == text(expected)
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in expected.parameters()]


def test_names_alone_are_a_space() -> None:
    names = ("invert", "rotate")
    assert text(Policy.over(names)) == text(Policy.over(dict.fromkeys(names))) == text(Policy.over(list(names)))
    images = torch.rand(4, 3, 8, 8)
    assert Policy.over(names)(images).shape == images.shape


def test_how_it_resamples() -> None:
    space = make_space(OPS, "nearest", 0.25)
    assert (Policy.over(space).interpolation, Policy.over(space).fill) == ("nearest", 0.25)
    assert (Policy.over(space, fill=0.0).interpolation, Policy.over(space, fill=0.0).fill) == ("nearest", 0.0)
    assert (Policy.over(OPS).interpolation, Policy.over(OPS).fill) == ("bilinear", 0.0)
    assert Policy.over(OPS, interpolation="nearest").interpolation == "nearest"


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        ("rotate", {}, "space: expected a Space, a mapping .* got 'rotate'"),
        (None, {}, "space: expected a Space"),
        ([], {}, "at least one operation"),
        (["rotate", "rotate"], {}, "each operation once"),
        (["rotate", 3], {}, "names of operations, got 3"),
        ({"rotat": None}, {}, "did you mean 'rotate'"),
        ({"rotate": {"hihg": 3}}, {}, "hihg"),
        (OPS, {"fill": 2.0}, "space: expected a fill"),
        (OPS, {"interpolation": "cubic"}, "space: .*cubic"),
        (OPS, {"probability": 1.5}, "probability from 0 to 1"),
        (OPS, {"stages": 0}, "stages: expected at least 1, got 0"),
        (OPS, {"magnitude": "normal"}, "magnitude: expected 'logit_normal', 'uniform' or 'point'"),
    ],
)
def test_a_mistake_is_told(space: Any, options: dict[str, Any], words: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=words):
        Policy.over(space, **options)
