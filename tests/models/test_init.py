import pytest
import torch
from torch import nn

from augrad.data.digits import load_digits
from augrad.learning.step import build_normalized
from augrad.models.init import seeded
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet

BUILD = [lambda: SmallConvNet(3, 5, width=8), lambda: WideResNet(3, 5, depth=10, widen_factor=1, dropout=0.5)]


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("build", BUILD)
def test_the_seed_alone_decides_the_weights(build):
    first = flat(seeded(build, 3))
    torch.rand(7)
    assert torch.equal(flat(seeded(build, 3)), first)
    assert not torch.equal(flat(seeded(build, 4)), first)


@pytest.mark.parametrize("build", BUILD)
def test_the_global_state_is_as_before(build):
    state = torch.get_rng_state()
    seeded(build, 3)
    assert torch.equal(torch.get_rng_state(), state)
    build()
    assert not torch.equal(torch.get_rng_state(), state), "the builder does draw from the global generator"


def test_the_global_state_is_as_before_after_an_error():
    def broken() -> nn.Module:
        torch.rand(3)
        raise RuntimeError("broken")

    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken"):
        seeded(broken, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_made_on_the_cpu_whatever_the_default_device():
    expected = flat(seeded(BUILD[0], 3))
    with torch.device("meta"):
        assert torch.equal(flat(seeded(BUILD[0], 3)), expected)


def test_networks_are_in_single_precision_whatever_the_default_type() -> None:
    data = load_digits(train_size=20, validation_size=20, selection_size=20)
    torch.set_default_dtype(torch.float64)
    try:
        network = build_normalized(SmallConvNet, data, 3, torch.device("cpu"))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.gpu
def test_the_state_of_the_accelerators_is_as_before():
    state = torch.cuda.get_rng_state()
    seeded(BUILD[0], 3)
    assert torch.equal(torch.cuda.get_rng_state(), state)
