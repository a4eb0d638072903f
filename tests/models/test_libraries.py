"""Networks of torchvision and timm by name: sizes that the libraries publish, channels, and what is refused."""

import sys

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights

from augrad.errors import UserError
from augrad.models.init import seeded
from augrad.models.libraries import timm_network, torchvision_network

# Other packages' deprecations, at the first import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121", "mobilenet_v2", "vit_b_16"])
def test_torchvisions_own_counts(name: str) -> None:
    with torch.device("meta"):
        net = torchvision_network(3, 1000, name)
    assert parameters(net) == next(iter(get_model_weights(name))).meta["num_params"]


# Of timm's results files, in millions.
@pytest.mark.parametrize(
    ("name", "millions"), [("resnet50", 25.56), ("efficientnet_b0", 5.29), ("vit_tiny_patch16_224", 5.72)]
)
def test_timms_counts(name: str, millions: float) -> None:
    with torch.device("meta"):
        net = timm_network(3, 1000, name)
    assert round(parameters(net) / 1e6, 2) == millions


@pytest.mark.parametrize(("build", "name"), [(torchvision_network, "resnet18"), (timm_network, "resnet10t")])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_classes_and_the_seed(build, name: str, channels: int) -> None:
    one, same = (seeded(lambda: build(channels, 7, name), 3) for _ in range(2))
    assert one(torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))).shape == (2, 7)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))


def test_the_new_convolution_has_the_deviation_of_the_old_one() -> None:
    grey = seeded(lambda: torchvision_network(1, 7, "resnet18"), 0)
    assert float(grey.get_parameter("conv1.weight").detach().std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)
    assert grey.get_submodule("conv1").stride == (2, 2)  # type: ignore[union-attr]


def test_settings_are_passed_on() -> None:
    assert timm_network(3, 2, "resnet10t", drop_rate=0.25).drop_rate == 0.25
    assert torchvision_network(3, 2, "mobilenet_v2", width_mult=0.25).classifier[1].out_features == 2


@pytest.mark.parametrize("build", [torchvision_network, timm_network])
@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("resnt50", {}, r"expected the name of a classifier of \w+, got 'resnt50'; did you mean resnet50 or "),
        ("qqqqqqqq", {}, r"got 'qqqqqqqq'; \w+'s list_models\(\) has its names"),
        ("resnet18", {"drop_rat": 0.1}, "cannot build resnet18 with {'drop_rat': 0.1}: TypeError: .*drop_rat"),
        ("resnet18", {"pretrained": True}, "other than pretrained, .* come from a file"),
        ("resnet18", {"num_classes": 5}, "other than num_classes, .* those of the data"),
    ],
)
def test_refusals(build, name: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=f"^model: .*{words}"):
        build(3, 10, name, **settings)


def test_detectors_are_no_classifiers() -> None:
    with pytest.raises(UserError, match="expected the name of a classifier"):
        torchvision_network(3, 10, "fasterrcnn_resnet50_fpn")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"expected timm to be installed .*; pip install 'augrad\[interop\]'"):
        timm_network(3, 10, "resnet50")
