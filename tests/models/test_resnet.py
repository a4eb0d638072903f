"""torchvision's ResNet-50 as a classifier of a search: its size, its seed, its derivatives."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torchvision.models import resnet50

from augrad.learning.classifier import logits_with, weights_of
from augrad.models.init import seeded
from augrad.models.resnet import resnet_50
from augrad.objectives.scores import directional_scores


@pytest.mark.parametrize(("channels", "parameters"), [(3, 25_557_032), (1, 25_557_032 - 2 * 64 * 49)])
def test_the_papers_network(channels: int, parameters: int) -> None:
    with torch.device("meta"):
        net = resnet_50(channels, 1000)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert net(torch.empty(2, channels, 224, 224, device="meta")).shape == (2, 1000)


@pytest.mark.slow
def test_weights_are_torchvisions_and_the_seeds() -> None:
    own, again = (seeded(lambda: resnet_50(3, 7), 3) for _ in range(2))
    theirs = seeded(lambda: resnet50(num_classes=7), 3)
    for one, same, other in zip(own.parameters(), again.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, same)
    grey = seeded(lambda: resnet_50(1, 7), 3).get_parameter("conv1.weight").detach()
    assert float(grey.std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


@pytest.mark.slow
def test_scores_and_their_gradient_with_respect_to_the_images() -> None:
    """Forward mode against reverse mode, through torchvision's own BatchNorm and in-place ReLU. float64."""
    model = seeded(lambda: resnet_50(1, 4), 0).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 64, 64, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.tensor([0, 3, 1]), weights_of(model)
    u = {name: 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in weights.items()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = directional_scores(model, weights, u, images, labels)
    (along_images,) = torch.autograd.grad(scores.sum(), images)

    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    losses = cross_entropy(logits_with(model, leaves, images), labels, reduction="none")
    for index, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
        expected = sum((g * u[name]).sum() for name, g in zip(leaves, gradients, strict=True))
        torch.testing.assert_close(scores[index], expected)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), create_graph=True)
    product = sum((g * u[name]).sum() for name, g in zip(leaves, gradients, strict=True))
    torch.testing.assert_close(along_images, torch.autograd.grad(product, images)[0], rtol=1e-6, atol=1e-10)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
