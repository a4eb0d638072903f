"""InstanceNorm and LayerNorm inside `untouched`: values, derivatives, and the derivatives of these. float64."""

import pytest
import torch
from torch import Tensor, nn

from augrad.learning.classifier import logits_with, untouched, weights_of
from augrad.models.init import seeded

# torch's first forward-mode pass imports a module of its own that uses what torch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")

STEPS = (1e-5, -1e-5)
LAYERS = {
    "instance 1d": ((64,), lambda **settings: nn.InstanceNorm1d(2, **settings)),
    "instance 2d": ((8, 8), lambda **settings: nn.InstanceNorm2d(2, **settings)),
    "instance 3d": ((4, 4, 4), lambda **settings: nn.InstanceNorm3d(2, **settings)),
    "layer": (
        (8, 8),
        lambda affine=True, **_: nn.LayerNorm([2, 8, 8], elementwise_affine=affine),
    ),
    "rows": ((8, 8), lambda **_: nn.LayerNorm(8, bias=False)),
    "groups": ((8, 8), lambda affine=True, **_: nn.GroupNorm(2, 2, affine=affine)),
}


class Net(nn.Module):
    """A normalisation between smooth layers."""

    def __init__(self, name: str, **settings: bool) -> None:
        super().__init__()
        self.shape, build = LAYERS[name]
        self.mix = nn.Linear(64, 128)
        self.norm = build(**settings)
        self.head = nn.Linear(128, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = torch.tanh(self.mix(images.flatten(1))).view(-1, 2, *self.shape)
        return self.head(torch.tanh(self.norm(features)).flatten(1))


def net(name: str = "instance 2d", **settings: bool) -> nn.Module:
    model = seeded(lambda: Net(name, **settings), 0).double()
    for name, parameter in model.norm.named_parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    return model


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("tracking", [False, True])
def test_the_derivative_and_its_derivative_are_those_of_differences(
    name: str, affine: bool, training: bool, tracking: bool
) -> None:
    model = net(name, affine=affine, track_running_stats=tracking).train(training)
    generator = torch.Generator().manual_seed(2)
    weights = weights_of(model)
    u = {name: torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in weights.items()}

    def along(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(lambda weights: logits_with(model, weights, x), (weights,), (u,))

    values, moved = along(images())
    torch.testing.assert_close(values, logits_with(model, weights, images()), rtol=0, atol=1e-12)
    ends = [logits_with(model, {key: w + step * u[key] for key, w in weights.items()}, images()) for step in STEPS]
    torch.testing.assert_close(moved, (ends[0] - ends[1]) / (STEPS[0] - STEPS[1]), rtol=1e-5, atol=1e-6)

    x = images().requires_grad_()
    (found,) = torch.autograd.grad(along(x)[1].square().sum(), x)
    direction = torch.randn(found.shape, generator=generator, dtype=found.dtype)
    ahead, behind = (float(along(images() + step * direction)[1].square().sum()) for step in STEPS)
    assert float((found * direction).sum()) == pytest.approx((ahead - behind) / (STEPS[0] - STEPS[1]), rel=1e-5)


@pytest.mark.parametrize("name", ["layer", "instance 2d"])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_only_the_type_of_what_goes_in_and_out(name: str, autocast: bool) -> None:
    """Far from 0, where a mean in bfloat16 would be wrong by halves: as the kernel, in float32 within."""
    layer = net(name, affine=True).norm
    generator = torch.Generator().manual_seed(5)
    features = (100 + torch.randn(4, 2, 8, 8, generator=generator)).to(torch.bfloat16)
    along = torch.randn(4, 2, 8, 8, generator=generator).to(torch.bfloat16)
    with untouched(layer):
        wanted = torch.func.jvp(layer, (features.double(),), (along.double(),))
        layer.to(torch.float32 if autocast else torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = torch.func.jvp(layer, (features,), (along,))
    assert all(part.dtype == torch.bfloat16 for part in found)
    torch.testing.assert_close([part.double() for part in found], list(wanted), rtol=0.02, atol=0.02)


def test_an_image_without_a_batch() -> None:
    model = net(affine=True)
    features = torch.rand(2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    along = torch.rand(2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with untouched(model):
        value, moved = torch.func.jvp(model.norm, (features,), (along,))
        batched = torch.func.jvp(model.norm, (features[None],), (along[None],))
    torch.testing.assert_close((value, moved), (batched[0][0], batched[1][0]), rtol=0, atol=1e-14)
    torch.testing.assert_close(value, model.norm(features), rtol=0, atol=1e-12)


def test_the_running_statistics_stay() -> None:
    model = net(track_running_stats=True)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits_with(model, weights_of(model), images())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    model(images())
    assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])
