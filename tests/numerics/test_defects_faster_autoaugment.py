"""What is wrong in Faster AutoAugment's published code, each a test that ours does not do it."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from augrad import Policy
from augrad.cli.configs import config_directory
from augrad.estimators.mixture import Mixture
from augrad.models.normalized import Normalized
from augrad.objectives.critic import Critic, critic_loss, gradient_norms
from augrad.objectives.density_matching import DensityMatching
from augrad.ops import meaning, numeric
from augrad.ops.space import Space, make_space
from augrad.policy import Slot, parameters_like
from augrad.policy.initial import initial_policy

CLASSES = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, seed: int = 0) -> Tensor:
    return 0.1 + 0.8 * torch.rand(count, 3, 8, 8, generator=generator(seed), dtype=torch.float64)


def labels(count: int) -> Tensor:
    return torch.arange(count) % CLASSES


def critic() -> Critic:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, CLASSES + 1))
    statistics = torch.tensor([0.3, 0.5, 0.7]), torch.tensor([0.2, 0.3, 0.4])
    return Critic(Normalized(network, *statistics).double())


def space() -> Space:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return instantiate(compose("search", ["space=faster_autoaugment"]).space)


def test_real_and_augmented_images_are_normalised_alike() -> None:
    """Defect 1: fakes and reals are normalised differently, so that the critic can separate them on range alone.

    The same images on both sides: nothing tells them apart, whatever the critic, and nothing to learn from them.
    """
    judge, same = critic(), images(6)
    loss = critic_loss(judge, same, same, labels(6), torch.full((6,), 0.5).double(), 0.0, 0.0)
    assert float(loss.distance.detach()) == 0.0
    for gradient in torch.autograd.grad(loss.total, list(judge.parameters())):
        assert gradient.abs().max() < 1e-15
    policy = initial_policy(make_space({"identity": {}}))
    scalar = DensityMatching(class_weight=0.0).scalar(judge, same, same, labels(6), policy)
    torch.testing.assert_close(-scalar(policy.sample(6, generator())), judge.judge(same).realness.detach())


def test_posterize_does_something() -> None:
    """Defect 2: posterize leaves the image as it is."""
    candidate = space().candidates[space().names.index("posterize")]
    slots = (((Slot(0, candidate.low or 0.0, candidate.high or 0.0),),),)
    policy = Policy([candidate.op], slots, parameters_like(slots))
    with torch.no_grad():
        policy.gate_logits.fill_(100.0)
        policy.magnitude_log_scales.fill_(-100.0)
    before = images(4)
    after = policy(before, generator=generator())
    assert after.unique().numel() <= 2**6  # half-way between 8 and 4 bits
    assert (after - before).abs().max() > 1 / 255


def test_both_translations_are_in_the_space() -> None:
    """Defect 3: translate_y is there twice, translate_x never."""
    assert len(set(space().names)) == len(space().names) == 15
    sideways, downwards = (space().candidates[space().names.index(name)] for name in ("translate_x", "translate_y"))
    ramp = torch.linspace(0.2, 0.8, 8, dtype=torch.float64).expand(1, 3, 8, 8)  # constant in each column
    quarter = torch.tensor([0.25], dtype=torch.float64)
    inner = slice(3, 5)
    assert not torch.equal(sideways.op.apply(ramp, quarter)[..., inner, inner], ramp[..., inner, inner])
    torch.testing.assert_close(downwards.op.apply(ramp, quarter)[..., inner, inner], ramp[..., inner, inner])


def test_the_penaltys_norm_is_one_for_each_image() -> None:
    """Defect 4: the norm is taken over the channels of each pixel, not over each image.

    A linear critic a has the gradient a everywhere: the norm is |a|, one number for each image.
    """
    a = torch.randn(3, 8, 8, generator=generator(), dtype=torch.float64)
    norms = gradient_norms(lambda x: (x * a).sum((1, 2, 3)), images(5))
    torch.testing.assert_close(norms, torch.linalg.vector_norm(a).expand(5))

    # And through the whole loss: realness with a gradient of norm 1 costs nothing.
    judge = Critic(Normalized(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), torch.zeros(3), torch.ones(3)).double())
    linear = judge.network.network[1]  # type: ignore[index]
    with torch.no_grad():
        linear.weight[-1] = (a / torch.linalg.vector_norm(a)).flatten()
    loss = critic_loss(judge, images(5), images(5, 1), labels(5), torch.rand(5, dtype=torch.float64), 10.0, 0.1)
    assert float(loss.penalty.detach()) < 1e-20


def in_order(*names: str) -> Policy:
    """These operations one after another, always."""
    known = {candidate.op.name: candidate for candidate in space().candidates}
    chosen = [known[name] for name in names]
    stages = tuple((Slot(index, c.low or 0.0, c.high or 0.0),) for index, c in enumerate(chosen))
    policy = Policy([candidate.op for candidate in chosen], (stages,), parameters_like((stages,)))
    with torch.no_grad():
        policy.gate_logits.fill_(60.0)  # no way around the operation
        policy.magnitude_log_scales.fill_(-4.0)
    return policy


def gradients(policy: Policy, count: int = 8) -> dict[str, Tensor]:
    scalar = DensityMatching().scalar(critic(), images(count, 1), images(count), labels(count), policy)
    return vars(Mixture()(scalar, policy, count, generator(), 0.0).grads)


def test_solarize_and_posterize_pass_the_image_gradient_on() -> None:
    """Defect 5: the gradient of what comes before solarize or posterize stops there."""
    for last in ("solarize", "posterize", "equalize", "auto_contrast"):
        policy = in_order("brightness", last)
        assert gradients(policy)["magnitude_locations"][0, 0, 0].abs() > 1e-6, last


def test_no_value_is_absorbing() -> None:
    """Defect 6: probabilities and magnitudes are clamped to [0, 1]; beyond an end the gradient is zero for good.

    At either end of the sigmoid the gradient is small and not zero.
    """
    for end in (-9.0, 9.0):
        policy = in_order("brightness", "contrast")
        with torch.no_grad():
            policy.magnitude_locations.fill_(end)
        assert gradients(policy)["magnitude_locations"].all(), end
        policy = in_order("brightness", "contrast")
        with torch.no_grad():
            policy.gate_logits.fill_(end / 3)  # at the temperature 0.1 the relaxed gate is at exp(-30) of an end
        assert gradients(policy, 64)["gate_logits"].all(), end


class NoReads(TorchDispatchMode):
    """Fails where a tensor's value is fetched to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read"
        assert func is not torch.ops.aten.nonzero.default, "an index was read"
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 7: `.item()` on every read of a magnitude or probability.

    The critic's loss and the policy's gradient, over the whole space: no value is fetched on the way.
    """
    for module in (meaning, numeric):  # as on a GPU: on a CPU values are looked at, to refuse those without a meaning
        monkeypatch.setattr(module, "may_look", lambda values: False)
    policy = initial_policy(space(), subpolicies=2, stages=2)
    judge, mix = critic(), torch.rand(4, generator=generator(), dtype=torch.float64)
    with NoReads():
        critic_loss(judge, images(4), images(4, 1), labels(4), mix, 10.0, 0.1).total.backward()
        scalar = DensityMatching().scalar(judge, images(4), images(4, 1), labels(4), policy)
        found = Mixture()(scalar, policy, 4, generator(), 0.0)
    assert found.grads.op_logits.any()
