"""NaN, infinities and values outside in the kernels, by Triton's interpreter: what becomes of them elsewhere."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from augrad.ops.apply import _selected
from augrad.ops.families import Settings
from augrad.ops.fused.stage import fused_stage
from odd_numbers import CASES, Case, assert_same, each_alone, outcome


def kernels(images: Tensor, plan, chosen: Tensor, magnitude: Tensor, draw: Tensor, settings: Settings) -> Tensor:  # type: ignore[no-untyped-def]
    return fused_stage(images, plan, chosen, magnitude, draw, settings, plain=_selected)


@pytest.mark.filterwarnings("ignore::augrad.ImageRangeWarning")
@pytest.mark.parametrize(
    ("case", "channels"), [(case, 1 if "corners" in case.name or "fill" in case.name else 3) for case in CASES]
)
def test_kernels_do_what_the_operations_do(case: Case, channels: int) -> None:
    assert_same(outcome(kernels, case, channels), outcome(each_alone, case, channels), case)
    if case.name == "NaN as a magnitude":  # of an operation that has no effect on grey, too
        assert_same(outcome(kernels, case, 1), outcome(each_alone, case, 1), case)


@pytest.mark.parametrize("name", ["translate_x", "translate_y", "rotate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_the_nearest_pixel_is_everywhere_the_same(name: str, dtype: torch.dtype) -> None:
    from augrad import ops
    from augrad.ops.families import arrangement

    levels = torch.randint(0, 256, (16, 1, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = levels if dtype == torch.uint8 else levels / 255
    side = {"translate_x": 8, "translate_y": 6}.get(name, 1)
    halves = torch.arange(-8, 8, dtype=torch.float64) + 0.5
    magnitude = halves / side if name != "rotate" else torch.arange(-8, 8, dtype=torch.float64) * 22.5
    settings, everyone = Settings(0.0, "nearest", images), torch.zeros(16, dtype=torch.int64)
    output = kernels(images, arrangement((ops.get(name),)), everyone, magnitude, torch.zeros(16, 0), settings)
    assert torch.equal(output, ops.get(name).apply(images, magnitude, interpolation="nearest"))
