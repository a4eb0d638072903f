"""The published search spaces: they compose, they run, and their ranges are those of torchvision where it has them."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torchvision.transforms import v2

from augrad.cli.configs import config_directory
from augrad.interop.torchvision import NAMES
from augrad.ops.space import Space
from augrad.policy.initial import initial_policy

SIZES = {"autoaugment": 16, "randaugment": 14, "trivialaugment_wide": 14, "dada": 15, "faster_autoaugment": 15}
TORCHVISION = {
    "autoaugment": (v2.AutoAugment, 331),
    "randaugment": (v2.RandAugment, 331),
    "trivialaugment_wide": (v2.TrivialAugmentWide, 32),
}


def space_of(name: str) -> Space:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return instantiate(compose("search", [f"space={name}"]).space)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_over_it_runs(name: str, channels: int) -> None:
    space = space_of(name)
    assert len(space.candidates) == len(set(space.names)) == SIZES[name]
    images = torch.rand(64, channels, 12, 16, generator=torch.Generator().manual_seed(0))
    output = initial_policy(space, stages=2)(images, generator=torch.Generator().manual_seed(1))
    assert output.isfinite().all()
    assert not torch.equal(output, images)


@pytest.mark.parametrize("name", TORCHVISION)
def test_ranges_are_torchvisions(name: str) -> None:
    transform, side = TORCHVISION[name]
    candidates = {candidate.op.name: candidate for candidate in space_of(name).candidates}
    for known, (magnitudes, signed) in transform._AUGMENTATION_SPACE.items():
        candidate = candidates.pop(NAMES.get(known, known.lower()))
        table = None if magnitudes is None else magnitudes(31, side, side)
        if table is None:
            assert candidate.high is None
            continue
        scale = side if known.startswith("Translate") else 1
        assert [candidate.low, candidate.high] == pytest.approx(
            [float(end) / scale for end in table[[0, -1]]], abs=1e-3
        )
        assert candidate.signed == signed
    # What the paper of AutoAugment has besides.
    assert set(candidates) == ({"cutout", "sample_pairing"} if name == "autoaugment" else set())
