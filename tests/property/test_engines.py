"""The one table of operations over every engine: values, gradients, types, layouts; who is chosen, and who refuses."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import augrad
from augrad import Policy, UserError
from augrad.engines.choice import ENGINES as EVERY_ENGINE
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.types import PolicySample
from pictures import every_kind, in_levels
from ways import ENGINES, by_definition

NAMES = augrad.ops.names()
FAST = [name for name in ENGINES if name != "reference"]


def every_operation(images: Tensor) -> tuple[Policy, PolicySample]:
    """Every operation on each of the images, at magnitudes over its range, of both signs."""
    policy = initial_policy(make_space(dict.fromkeys(NAMES)), stages=1)
    count, generator = len(images), torch.Generator().manual_seed(1)
    op = (torch.arange(count) % len(NAMES))[:, None]
    low, high = (
        torch.tensor([getattr(op, end) or 0.0 for op in policy.ops], dtype=torch.float64)[op] for end in ("low", "high")
    )
    magnitude = low + (high - low) * (0.05 + 0.9 * torch.rand(count, 1, generator=generator, dtype=torch.float64))
    signed = torch.tensor([op.signed for op in policy.ops])[op]
    sign = torch.where(signed & (torch.rand(count, 1, generator=generator) < 0.5), -1.0, 1.0).to(torch.float64)
    drawn = policy.sample(count, generator).detach()
    return policy, replace(drawn, op=op, gate=torch.ones_like(drawn.gate), magnitude=magnitude, sign=sign)


def batch(channels: int, dtype: torch.dtype) -> Tensor:
    images = every_kind(channels, 9, 12).repeat(2 * len(NAMES) // 12 + 1, 1, 1, 1)
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    return in_levels(images) if dtype == torch.uint8 else images.to(dtype)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16])
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_does_what_the_operations_do(
    name: str, dtype: torch.dtype, channels: int, layout: torch.memory_format
) -> None:
    images = batch(channels, dtype).to(memory_format=layout)
    policy, sample = every_operation(images)
    expected = by_definition(policy, images, sample)
    with augrad.engine(name):
        output = policy(images, params=sample)
    assert output.dtype == dtype
    assert channels == 1 or output.is_contiguous(memory_format=layout)
    difference = (output.double() - expected.double()).abs()
    usual = {torch.float32: 3e-6, torch.uint8: 0, torch.bfloat16: 8e-3}[dtype]
    # Where rounding decides on which side of a threshold or a level a value falls.
    assert (difference > usual).double().mean() < 2e-3, [
        (policy.ops[int(sample.op[index])].name, float(difference[index].max()))
        for index in (difference > usual).flatten(1).any(1).nonzero().flatten()
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FAST)
def test_an_engine_has_the_gradients_of_the_operations(name: str, channels: int) -> None:
    images = batch(channels, torch.float32)
    policy, sample = every_operation(images)
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    found = []
    for engine in (name, "reference"):
        leaves = images.clone().requires_grad_(), sample.magnitude.clone().requires_grad_()
        with augrad.engine(engine):
            output = policy(leaves[0], params=replace(sample, magnitude=leaves[1]))
        found.append(torch.autograd.grad((output * weights).sum(), leaves))
    for ours, own in zip(*found, strict=True):
        apart = (ours - own).abs().flatten(1).amax(1) / own.abs().flatten(1).amax(1).clamp(min=1)
        worst = int(apart.argmax())
        assert apart[worst] < 1e-4, policy.ops[int(sample.op[worst])].name


def test_auto_takes_the_fastest_that_can() -> None:
    images = torch.rand(2, 3, 4, 5)
    numba, triton = EVERY_ENGINE["numba"], EVERY_ENGINE["triton"]
    assert numba.is_best_for(images) == ("numba" in ENGINES)
    assert not numba.is_best_for(images.double())  # but taken where it is asked for
    assert not triton.is_best_for(images)
    assert [EVERY_ENGINE[name].differentiable for name in ("reference", "grouped", "numba", "triton")] == [
        *("twice", "twice", "once", "once")
    ]


def test_auto_runs_what_it_takes() -> None:
    """Engines differ in the last bits of many pixels; so the bits say which one it was."""
    images = torch.rand(20, 3, 16, 17, generator=torch.Generator().manual_seed(0))
    policy = initial_policy(make_space({"rotate": None, "gaussian_blur": None, "gamma": None}), stages=3)
    sample = policy.sample(20, torch.Generator().manual_seed(1))
    for typed, expected in ((images, "numba" if "numba" in ENGINES else "grouped"), (images.double(), "grouped")):
        outputs = {}
        for name in ("auto", *ENGINES):
            with augrad.engine(name), torch.no_grad():
                outputs[name] = policy(typed, params=sample)
        alike = [name for name in ENGINES if torch.equal(outputs[name], outputs["auto"])]
        assert expected in alike
        assert "numba" not in alike or expected == "numba"
        assert "grouped" not in alike or expected == "grouped"


@pytest.mark.parametrize("name", ENGINES)
def test_what_an_engine_cannot_give_is_refused(name: str) -> None:
    images = torch.rand(3, 3, 4, 5)
    policy = initial_policy(make_space({"rotate": None, "invert": None}))
    sample = policy.sample(3)

    def apply(images: Tensor) -> Tensor:
        with augrad.engine(name):
            return policy(images, params=sample)

    def relaxed() -> Tensor:
        with augrad.engine(name):
            return policy(images, params=policy.rsample(3))

    if name == "numba":
        with pytest.raises(UserError, match="the engine numba is not seen through by"):
            torch.func.grad(lambda images: apply(images).sum())(images)
    else:
        assert torch.func.grad(lambda images: apply(images).sum())(images).isfinite().all()
    if name == "reference":
        assert relaxed().shape == images.shape
    else:
        with pytest.raises(UserError, match=f"the engine {name} does not take"):
            relaxed()
    with augrad.engine("auto"):
        assert relaxed is not None
        assert policy(images, params=policy.rsample(3)).shape == images.shape


def test_engines_are_named_and_nested() -> None:
    with pytest.raises(UserError, match="auto, reference, grouped, numba, triton"), augrad.engine("plain"):
        pass
    policy, images = initial_policy(make_space({"rotate": None})), torch.rand(2, 3, 4, 5)
    with augrad.engine("triton"):
        with augrad.engine("grouped"):
            policy(images)
        if os.environ.get("TRITON_INTERPRET") != "1":
            with pytest.raises(UserError, match="the engine triton needs"):
                policy(images)


def test_noise_replays_bit_for_bit_in_every_engine() -> None:
    policy = initial_policy(make_space({"gaussian_noise": {"low": 0.1, "high": 0.2}}), stages=2)
    images = torch.rand(6, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    sample = policy.sample(6, torch.Generator().manual_seed(3))
    outputs = {}
    for name in ENGINES:
        with augrad.engine(name), torch.no_grad():
            outputs[name] = policy(images, params=sample)
            assert torch.equal(policy(images, params=sample), outputs[name])
            some = torch.tensor([4, 1])
            assert torch.equal(policy(images[some], params=sample[some]), outputs[name][some])
        torch.testing.assert_close(outputs[name], outputs["reference"], rtol=0, atol=2e-6)
    assert (outputs["reference"] - images).abs().mean() > 0.05


COLOR_ROW = '''


@no_type_check
def _faded(strength):
    return 1 - strength, 0.3 * strength, 0.2 * strength, 0.4 * strength


@_recoloring(AffineColor(_faded))
def fade(images, magnitude):
    """Towards a light grey."""
    return _recolored(images, magnitude, AffineColor(_faded))


OPS += (Op("fade", fade, 0.0, 0.9, "strength", False, "exact", shape=AffineColor(_faded)),)
'''
"""Of the third shape; the rows of the others are the examples of CONTRIBUTING.md."""
USE_THEM = """
import torch, augrad
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
policy = initial_policy(make_space(dict.fromkeys(("squeeze", "fade", "lift"))), stages=2, probability=0.9)
for channels in (3, 1):
    images = torch.rand(40, channels, 8, 9, generator=torch.Generator().manual_seed(0))
    sample = policy.sample(40, torch.Generator().manual_seed(1)).detach()
    found = []
    for name in ("reference", "grouped", "numba"):
        with augrad.engine(name):
            leaf = images.clone().requires_grad_()
            output = policy(leaf, params=policy.sample(40, torch.Generator().manual_seed(1)))
            output.square().sum().backward(inputs=(leaf, policy.magnitude_locations))
            eight = policy((images * 255).round().to(torch.uint8), params=sample)
        found.append((output.detach(), leaf.grad, policy.magnitude_locations.grad, eight))
        policy.magnitude_locations.grad = None
    for one in found[1:]:
        for ours, own in zip(one[:3], found[0][:3]):
            torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-4)
        assert ((one[3].int() - found[0][3].int()).abs() > 1).float().mean() < 1e-3
masks = torch.ones(40, 8, 9)
assert policy(images, params=sample, masks=masks).masks.shape == masks.shape
print("everywhere")
"""


@pytest.mark.slow
def test_a_row_beside_its_function_is_an_operation_of_every_engine(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    root = Path(augrad.__file__).parent
    shutil.copytree(root, tmp_path / "augrad", ignore=shutil.ignore_patterns("__pycache__"))
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^```python\n# at the end of lib/(\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in rows] == ["augrad/ops/geometric.py", "augrad/ops/color.py"]
    for name, row in [*rows, ("augrad/ops/color.py", COLOR_ROW)]:
        with (tmp_path / name).open("a") as source:
            source.write(f"\n\n{row}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", USE_THEM], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "everywhere", done.stderr[-3000:]
