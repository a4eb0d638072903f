"""The kernels compile for GPUs that this machine may not have: every launch of a stage, with its own types."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

# In a process of its own, without the interpreter. A launch compiles instead of running: nothing needs a GPU.
SCRIPT = """
import re
import sys
from typing import no_type_check

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

NAMES = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.uint8: "u8",
    torch.int64: "i64", torch.int32: "i32",
}
compiled, fusing = [], []


def compile_instead(self, *arguments, grid, warmup, **constants):
    options = {name: constants.pop(name) for name in ("enable_fp_fusion",) if name in constants}
    bound = dict(zip(self.arg_names, arguments, strict=False))
    # As a launch does it: the whole number 1 is known when a kernel is compiled.
    constants.update({name: 1 for name, value in bound.items() if isinstance(value, int) and value == 1})
    bound.update(constants)
    assert list(self.arg_names) and set(bound) == set(self.arg_names), set(bound) ^ set(self.arg_names)
    signature = {}
    for name in self.arg_names:
        value = bound[name]
        is_tensor = isinstance(value, torch.Tensor)
        signature[name] = "constexpr" if name in constants else "*" + NAMES[value.dtype] if is_tensor else "i32"
    source = ASTSource(self, signature=signature, constexprs=constants)
    result = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": 4} | options)
    assert len(result.asm["cubin"]) > 0
    # A product or a sum that is not said to be rounded may be made one with the next.
    may_fuse = re.search("(mul|add|sub)[.]f32", result.asm["ptx"]) is not None
    assert dtype != torch.uint8 or not may_fuse, self.__name__
    fusing.append(may_fuse)
    compiled.append(self.__name__)


JITFunction.run = compile_instead

from augrad.ops import get, names
from augrad.engines.choice import plan_of
from augrad.engines.contract import Settings, Stages
from augrad.engines.triton.engine import TRITON

architecture, dtype, channels, width, interpolation, fill = eval(sys.argv[1])
ops = tuple(get(name) for name in names())
images = torch.zeros(2, channels, 6, width).to(dtype).requires_grad_(dtype.is_floating_point)
magnitude = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
chosen = torch.zeros(2, 1, dtype=torch.int64)
settings = Settings(fill, interpolation, images)
output = TRITON.apply(images, Stages(plan_of(ops), chosen, magnitude, torch.zeros(2, 1, 2), settings))
if dtype.is_floating_point:
    output.sum().backward()
assert dtype in (torch.uint8, torch.float64) or any(fusing)
print(*compiled)
"""
FORWARD = ["statistics_kernel", "curve_kernel", "row_blur_kernel", "stage_kernel"]
BACKWARD = ["gradient_statistics_kernel", "stage_gradient_kernel", "row_blur_gradient_kernel"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kernels"),
    [
        ("90, torch.float32, 3, 8, 'bilinear', 0.0", FORWARD + BACKWARD),
        ("80, torch.float64, 1, 8, 'nearest', 0.5", FORWARD + BACKWARD),
        ("75, torch.float16, 1, 1, 'bilinear', 0.5", FORWARD + BACKWARD),
        ("90, torch.uint8, 3, 8, 'bilinear', 0.5", FORWARD),
    ],
)
def test_every_launch_compiles(case: str, kernels: list[str], tmp_path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == kernels, done.stderr[-3000:]
