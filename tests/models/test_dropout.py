import copy

import pytest
import torch

from augrad.models.dropout import SeededDropout
from augrad.models.init import seeded
from augrad.models.wide_resnet import WideResNet


@pytest.fixture
def dropout() -> SeededDropout:
    return seeded(lambda: SeededDropout(0.3), 0)


def test_zeroes_its_share_and_scales_the_rest(dropout):
    values = torch.full((200, 500), 7.0)
    found = dropout(values)
    assert abs((found == 0).double().mean() - 0.3) < 0.01
    torch.testing.assert_close(found[found != 0].unique(), torch.tensor([10.0]))


def test_a_new_mask_every_time(dropout):
    values = torch.ones(1000)
    assert not torch.equal(dropout(values), dropout(values))


def test_evaluation_is_the_identity_and_counts_nothing(dropout):
    values = torch.randn(10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dropout.eval()(values), values)
    assert dropout.count == 0


def test_the_gradient_is_the_mask(dropout):
    values = torch.ones(1000, requires_grad=True)
    found = dropout(values)
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert torch.equal(gradient, found.detach())


def test_half_precision_stays_half(dropout):
    assert dropout(torch.ones(10, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_global_generator_is_not_used(dropout):
    state = torch.get_rng_state()
    dropout(torch.ones(1000))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_restored_or_copied_net_goes_on_with_the_same_masks(tmp_path):
    build, images = (lambda: WideResNet(1, 3, depth=10, widen_factor=1, dropout=0.4)), torch.ones(4, 1, 8, 8)
    running, resumed = seeded(build, 0), seeded(build, 1)
    running(images)
    torch.save(running.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    copied = copy.deepcopy(running)
    expected = [running(images) for _ in range(3)]
    assert not torch.equal(expected[0], expected[1])
    for other in (resumed, copied):
        assert all(torch.equal(other(images), logits) for logits in expected)


def test_layers_have_masks_of_their_own():
    net = seeded(lambda: WideResNet(1, 3, depth=16, widen_factor=1, dropout=0.4), 0)
    seeds = [module.seed for module in net.modules() if isinstance(module, SeededDropout)]
    assert len(set(seeds)) == len(seeds) == 6
