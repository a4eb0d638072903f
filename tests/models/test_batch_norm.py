"""Against the formula written out here, and against finite differences: in torch itself this derivative is wrong."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from augrad.models.batch_norm import BatchNorm2d

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def extra_pass_layer(kind: type[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    layer = kind(3).double()
    with torch.no_grad():
        layer.weight.copy_(random(3, seed=1))
        layer.bias.copy_(random(3, seed=2))
    layer.track_running_stats = False
    return layer


def slope(layer: nn.BatchNorm2d, images: Tensor, in_images: bool) -> Tensor:
    """A scalar made of the layer's forward-mode derivative, along the images or along its weights."""
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    along = {name: torch.zeros_like(w) if in_images else random(3, seed=3) for name, w in weights.items()}
    moved = random(*images.shape, seed=4) if in_images else torch.zeros_like(images)
    _, tangent = jvp(lambda w, x: functional_call(layer, w, (x,)), (weights, images), (along, moved))
    return (tangent * random(*images.shape, seed=5)).sum()


@pytest.mark.parametrize("in_images", [True, False])
def test_the_gradient_of_the_forward_mode_derivative_is_the_true_one(in_images):
    layer, images, step = extra_pass_layer(BatchNorm2d), random(5, 3, 4, 4, seed=0).requires_grad_(), 1e-6
    (gradient,) = torch.autograd.grad(slope(layer, images, in_images), images)
    direction = random(*images.shape, seed=6)
    with torch.no_grad():
        ahead, behind = (slope(layer, images + sign * step * direction, in_images) for sign in (1, -1))
    torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tracking", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_elsewhere_it_is_the_native_layer(tracking, training, dtype):
    ours, native = extra_pass_layer(BatchNorm2d), extra_pass_layer(nn.BatchNorm2d)
    images = random(5, 3, 4, 4, seed=0).to(dtype)
    for layer in (ours, native):
        layer.to(torch.float32 if dtype == torch.bfloat16 else dtype)
        layer.track_running_stats = tracking
        layer.train(training)
    assert torch.equal(ours(images), native(images))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), native.buffers(), strict=True))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
def test_written_out_it_has_the_values_of_the_native_kernel(dtype, tolerance):
    layer = extra_pass_layer(BatchNorm2d).to(torch.float32 if dtype == torch.bfloat16 else dtype)
    images = (100 + random(5, 3, 4, 4, seed=0)).to(dtype)  # a mean far from 0, where E[x^2] - E[x]^2 would lose digits
    moved = random(5, 3, 4, 4, seed=4).to(dtype)
    with torch.no_grad():
        expected, expected_tangent = jvp(layer, (images,), (moved,))
    value, tangent = jvp(layer, (images,), (moved,))
    assert value.dtype == dtype
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    if dtype != torch.bfloat16:  # at a distance of 100, bfloat16 resolves halves: derivatives say nothing there
        torch.testing.assert_close(tangent, expected_tangent, rtol=100 * tolerance, atol=100 * tolerance)


def test_the_weights_of_a_native_layer_fit():
    assert list(BatchNorm2d(3).state_dict()) == list(nn.BatchNorm2d(3).state_dict())
