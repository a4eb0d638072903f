import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from augrad.data.digits import load_digits
from augrad.data.pixels import to_float
from augrad.errors import UserError
from augrad.models.init import seeded
from augrad.models.wide_resnet import WideResNet


# Zagoruyko and Komodakis 2016, tables 3 to 5 (WRN-16-2 from its architecture), in millions.
@pytest.mark.parametrize(
    ("depth", "widen_factor", "millions"),
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (40, 8, 35.7),
        (28, 10, 36.5),
        (22, 8, 17.2),
        (16, 8, 11.0),
        (16, 2, 0.7),
    ],
)
def test_parameter_counts_of_the_paper(depth, widen_factor, millions):
    with torch.device("meta"):
        net = WideResNet(3, 10, depth, widen_factor)
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(("depth", "widen_factor"), [(10, 1), (16, 2), (28, 3), (40, 2)])
def test_depth_counts_the_convolutions(depth, widen_factor):
    with torch.device("meta"):
        net = WideResNet(1, 2, depth, widen_factor)
    kernels = [module.kernel_size for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert kernels.count((3, 3)) == depth - 3
    # The first group changes no shape when it is not wider than the stem.
    assert kernels.count((1, 1)) == (2 if widen_factor == 1 else 3)
    assert all(module.bias is None for module in net.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (1, 9, 13)])
def test_any_image_size(channels, height, width):
    net = seeded(lambda: WideResNet(channels, 7, depth=10, widen_factor=1), 0)
    images = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))
    assert net(images).shape == (2, 7)
    sides = []
    for block in net.groups:
        block.register_forward_hook(lambda module, arguments, output: sides.append(tuple(output.shape[1:])))
    net(images)
    half = (-(-height // 2), -(-width // 2))
    assert sides == [(16, height, width), (32, *half), (64, -(-half[0] // 2), -(-half[1] // 2))]


def test_a_block_is_pre_activated_and_residual():
    net = seeded(lambda: WideResNet(1, 2, depth=16, widen_factor=2), 0)
    changing, keeping = net.groups[0], net.groups[1]
    features = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in (changing, keeping):
            block.conv2.weight.zero_()
        assert torch.equal(keeping(features), features)
        expected = changing.shortcut(relu(changing.norm1(features[:, :16])))
        torch.testing.assert_close(changing(features[:, :16]), expected)
        keeping.conv2.weight.normal_(generator=torch.Generator().manual_seed(1))
        activated = relu(keeping.norm1(features))
        expected = features + keeping.conv2(relu(keeping.norm2(keeping.conv1(activated))))
        torch.testing.assert_close(keeping(features), expected)


def test_he_initialisation_by_outputs():
    net = seeded(lambda: WideResNet(3, 10, depth=10, widen_factor=4), 0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10000:
            expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert abs(module.weight.std() / expected - 1) < 0.03
            assert abs(module.weight.mean() / expected) < 0.03
    assert not net.head.bias.any()


def test_it_learns():
    train = load_digits().train
    net = seeded(lambda: WideResNet(1, 10, depth=10, widen_factor=1), 0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    images, labels = to_float(train.images[:32]), train.labels[:32]
    losses = []
    for _ in range(25):
        loss = cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.5


@pytest.mark.parametrize("depth", [4, 9, 11, 38, -2])
def test_refuses_other_depths(depth):
    with pytest.raises(UserError, match=rf"depth = 6n \+ 4, got {depth}; choose 10, 16"):
        WideResNet(3, 10, depth=depth)


def test_refuses_other_widths_and_rates():
    with pytest.raises(UserError, match="widen_factor >= 1, got 0"):
        WideResNet(3, 10, widen_factor=0)
    with pytest.raises(UserError, match="dropout from 0 to below 1, got 1"):
        WideResNet(3, 10, dropout=1.0)
