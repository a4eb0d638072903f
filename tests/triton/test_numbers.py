"""NaN, infinities and values outside in the kernels: what becomes of them elsewhere, which is done on a CPU."""

import pytest
import torch

from augrad import ops
from augrad.engines.choice import plan_of
from augrad.engines.contract import Settings, Stages
from augrad.engines.triton.engine import TRITON
from kernels import DEVICE, interpreted
from odd_numbers import CASES, Case, assert_same, each_alone, outcome

pytestmark = [
    pytest.mark.slow,
    interpreted,
    pytest.mark.filterwarnings("ignore::augrad.ImageRangeWarning", "ignore:invalid value:RuntimeWarning"),
]
CASES_OF_KERNELS = [case for case in CASES if case.name in ("NaN", "NaN as a magnitude", "outside", "minus infinity")]


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("case", CASES_OF_KERNELS, ids=lambda case: case.name)
def test_kernels_do_what_the_operations_do(case: Case, channels: int) -> None:
    ours = outcome(TRITON.apply, case, channels, device=DEVICE)
    assert_same(ours, outcome(each_alone, case, channels), case)


@pytest.mark.parametrize("name", ["translate_x", "translate_y", "rotate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_the_nearest_pixel_is_everywhere_the_same(name: str, dtype: torch.dtype) -> None:
    levels = torch.randint(0, 256, (16, 1, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = levels if dtype == torch.uint8 else levels / 255
    side = {"translate_x": 8, "translate_y": 6}.get(name, 1)
    halves = torch.arange(-8, 8, dtype=torch.float64) + 0.5
    magnitude = halves / side if name != "rotate" else torch.arange(-8, 8, dtype=torch.float64) * 22.5
    drawn = torch.zeros(16, 1, dtype=torch.int64), magnitude[:, None], torch.zeros(16, 1, 0)
    given = images.to(DEVICE)
    stages = Stages(plan_of([ops.get(name)]), *(one.to(DEVICE) for one in drawn), Settings(0.0, "nearest", given))
    assert torch.equal(
        TRITON.apply(given, stages).cpu(), ops.get(name).apply(images, magnitude, interpolation="nearest")
    )
