"""The report of the benchmark on a GPU, and the answer of a machine without one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WITHOUT_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_gpu", ROOT / "scripts" / "benchmark_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_gpu"] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_report_says_what_was_reached(benchmark: ModuleType) -> None:
    def contenders(ms: float, over_copy: float, peer: float) -> dict:
        return {
            "Kornia RandAugment, drawn": {"launches": 90, "ms": peer, "us_per_stage": peer * 500, "over_copy": 9.0},
            "triton, drawn, to_cuda_graphs": {
                "launches": 40,
                "ms": ms,
                "us_per_stage": ms * 500,
                "over_copy": over_copy,
            },
            "triton, forward, graph": {"launches": 9, "ms": ms, "us_per_stage": ms * 500, "over_copy": over_copy},
            "torch.compile, forward": {"failed": "Error: a | b"},
        }

    found = {
        "machine": {"device": "a GPU", "torch": "2.14.1", "date": "2026-01-01"},
        "command": "python scripts/benchmark_gpu.py",
        "runs": 3,
        "calls": 2,
        "sizes": {
            "128 x 3 x 32 x 32": contenders(ms=0.2, over_copy=20.0, peer=3.0),
            "32 x 3 x 224 x 224": contenders(ms=1.0, over_copy=3.5, peer=8.0),
        },
    }
    page = benchmark.report(found)
    lines = page.splitlines()
    assert "device a GPU, torch 2.14.1, date 2026-01-01." in page
    assert "| 128 x 3 x 32 x 32: a stage under 150 us from a graph | 100 us | yes |" in lines
    assert "| 32 x 3 x 224 x 224: a stage within 3 copies of the batch | 3.5 copies | **no** |" in lines
    assert "| 128 x 3 x 32 x 32: ten times as fast as Kornia, draw included | 15 times | yes |" in lines
    assert "| 32 x 3 x 224 x 224: ten times as fast as Kornia, draw included | 8 times | **no** |" in lines
    assert "| torch.compile, forward |  |  |  |  | Error: a / b |" in lines
    del found["sizes"]["32 x 3 x 224 x 224"]["triton, forward, graph"]
    assert "within 3 copies of the batch | no figure | **no** |" in benchmark.report(found)


def test_the_benchmark_measures_nothing_without_a_gpu(tmp_path: Path) -> None:
    written = [tmp_path / "figures.json", tmp_path / "report.md"]
    command = [sys.executable, "scripts/benchmark_gpu.py", "--json", str(written[0]), "--markdown", str(written[1])]
    done = subprocess.run(command, cwd=ROOT, env=WITHOUT_GPU, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no GPU" in done.stderr
    assert not any(path.exists() for path in written)


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="the script's own environment is not the one in use")
def test_the_check_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    written = tmp_path / "report.md"
    command = ["bash", "scripts/gpu_check.sh", str(written)]
    done = subprocess.run(command, cwd=ROOT, env=WITHOUT_GPU, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "no GPU" in done.stderr
    assert not written.exists()
