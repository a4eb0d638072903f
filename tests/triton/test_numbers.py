"""NaN, infinities and values outside in the kernels, by Triton's interpreter: what becomes of them elsewhere."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from augrad import ops
from augrad.ops.apply import _selected
from augrad.ops.families import Arrangement, Settings, arrangement
from augrad.ops.fused.stage import fused_stage
from odd_numbers import CASES, Case, assert_same, each_alone, outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::augrad.ImageRangeWarning", "ignore:invalid value:RuntimeWarning"),
]
CASES_OF_KERNELS = [case for case in CASES if case.name in ("NaN", "NaN as a magnitude", "outside", "minus infinity")]


def kernels(
    images: Tensor, plan: Arrangement, chosen: Tensor, magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    return fused_stage(images, plan, chosen, magnitude, draw, settings, plain=_selected)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("case", CASES_OF_KERNELS, ids=lambda case: case.name)
def test_kernels_do_what_the_operations_do(case: Case, channels: int) -> None:
    assert_same(outcome(kernels, case, channels), outcome(each_alone, case, channels), case)


@pytest.mark.parametrize("name", ["translate_x", "translate_y", "rotate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_the_nearest_pixel_is_everywhere_the_same(name: str, dtype: torch.dtype) -> None:
    levels = torch.randint(0, 256, (16, 1, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = levels if dtype == torch.uint8 else levels / 255
    side = {"translate_x": 8, "translate_y": 6}.get(name, 1)
    halves = torch.arange(-8, 8, dtype=torch.float64) + 0.5
    magnitude = halves / side if name != "rotate" else torch.arange(-8, 8, dtype=torch.float64) * 22.5
    settings, everyone = Settings(0.0, "nearest", images), torch.zeros(16, dtype=torch.int64)
    output = kernels(images, arrangement((ops.get(name),)), everyone, magnitude, torch.zeros(16, 0), settings)
    assert torch.equal(output, ops.get(name).apply(images, magnitude, interpolation="nearest"))
