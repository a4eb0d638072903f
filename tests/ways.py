"""The ways to apply what a policy drew, each by itself, and what they all have to agree with."""

from importlib.util import find_spec

import torch
from torch import Tensor

from augrad import Policy
from augrad.engines.contract import Settings, apply_op
from augrad.types import PolicySample

ENGINES = ("reference", "grouped", *(["numba"] if find_spec("numba") else []))
"""Those that run on any CPU. (Triton's has tests of its own.)"""


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
