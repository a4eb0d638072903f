import pytest
import torch
from torch.nn.functional import cross_entropy

from augrad.data.batches import EpochBatches
from augrad.data.digits import load_digits
from augrad.data.pixels import to_float
from augrad.errors import UserError
from augrad.models.init import seeded
from augrad.models.small_conv import SmallConvNet

VARIANTS = [("relu", "max"), ("silu", "average"), ("relu", "average"), ("silu", "max")]


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("activation", "pool"), VARIANTS)
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 32, 32), (2, 1, 17, 28)])
def test_any_image_size(activation, pool, shape):
    net = seeded(lambda: SmallConvNet(shape[1], 6, width=8, activation=activation, pool=pool), 0)
    assert net(random_images(*shape)).shape == (2, 6)


def test_variants_differ_with_the_same_weights():
    outputs = []
    for activation, pool in VARIANTS:
        net = seeded(lambda a=activation, p=pool: SmallConvNet(1, 3, width=8, activation=a, pool=p), 0)
        outputs.append(net(random_images(2, 1, 16, 16)))
    assert all(not torch.allclose(outputs[i], outputs[j]) for i in range(4) for j in range(i))


def test_an_image_does_not_see_its_batch():
    net = seeded(lambda: SmallConvNet(3, 5), 0)
    images = random_images(6, 3, 16, 16)
    torch.testing.assert_close(net(images)[4:5], net(images[4:5]), rtol=1e-4, atol=1e-5)


def test_smooth_where_it_is_said_to_be():
    """Along a line in image space the derivative of silu/average changes continuously; that of relu/max jumps."""
    images, direction = random_images(1, 1, 16, 16).double(), random_images(2, 1, 16, 16)[1:].double()

    def largest_jump(activation, pool):
        net = seeded(lambda: SmallConvNet(1, 2, width=8, activation=activation, pool=pool), 0).double()
        at = torch.linspace(0, 0.2, 4001, dtype=torch.float64).reshape(-1, 1, 1, 1).requires_grad_()
        (slopes,) = torch.autograd.grad(net(images + at * direction)[:, 0].sum(), at)
        steps = slopes.flatten().diff().abs()
        return (steps.max() / steps.median()).item()

    assert largest_jump("silu", "average") < 30
    assert largest_jump("relu", "max") > 300


def test_learns_the_digits_in_300_steps():
    splits = load_digits()
    net = seeded(lambda: SmallConvNet(1, 10), 0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    batches = EpochBatches(len(splits.train), 128, seed=0)
    for step in range(300):
        batch = splits.train[batches.indices(step)]
        loss = cross_entropy(net(to_float(batch.images)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = net(to_float(splits.test.images)).argmax(dim=1) == splits.test.labels
    assert right.double().mean() >= 0.97


@pytest.mark.parametrize("width", [0, -8, 4, 12])
def test_refuses_other_widths(width):
    with pytest.raises(UserError, match=f"multiple of 8 above 0, got {width}"):
        SmallConvNet(1, 10, width=width)
