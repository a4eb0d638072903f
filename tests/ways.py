"""The ways to apply what a policy drew, each by itself, and what they all have to agree with."""

import pytest
import torch
from torch import Tensor

from augrad import Policy
from augrad.ops import apply
from augrad.ops.families import Settings, apply_op
from augrad.types import PolicySample

WAYS = ("_compiled", "_sorted", "_selected")


def only(way: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on policies go this way. Returns a list that tells of each time."""
    if way == "_compiled":
        pytest.importorskip("numba")
    taken: list[str] = []

    def chosen(*_: object) -> object:
        taken.append(way)
        return getattr(apply, way)

    monkeypatch.setattr(apply, "_way", chosen)
    return taken


def by_definition(policy: Policy, images: Tensor, sample: PolicySample) -> Tensor:
    """Every operation's own function on each image that drew it, alone unless it mixes images."""
    settings, signed = Settings(policy.fill, policy.interpolation, images), sample.magnitude * sample.sign
    now = images
    for stage in range(sample.op.shape[1]):
        outputs = []
        for index in range(len(images)):
            one, op = slice(index, index + 1), policy.ops[int(sample.op[index, stage])]
            magnitude, draw = signed[:, stage], sample.draw[:, stage]
            if not sample.gate[index, stage]:
                outputs.append(now[one])
            elif op.kind == "mix":
                own = magnitude[index].expand(len(images))
                outputs.append(apply_op(op, now, own, draw, settings)[one])
            else:
                outputs.append(apply_op(op, now[one], magnitude[one], draw[one], settings))
        now = torch.cat(outputs)
    return now
