"""What the library promises its users, call by call."""

import inspect
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

import augrad
from augrad import Policy, PolicySample, RelaxedSample, UserError
from augrad.ops.mix import partners
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.types import TensorFields
from pictures import every_kind, in_levels

NAMES = augrad.ops.names()
SMOOTH = ("rotate", "shear_x", "translate_y", "brightness", "color", "contrast", "sharpness", "hue", "gaussian_blur")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_of(*names: str, subpolicies: int = 2, stages: int = 2, **options: float) -> Policy:
    space = make_space({name: {} for name in names}, fill=options.get("fill", 0.0))
    learn = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
    return initial_policy(space, subpolicies=subpolicies, stages=stages, probability=0.9, learn=learn)  # type: ignore[arg-type]


def assert_same(first: TensorFields, second: TensorFields) -> None:
    assert type(first) is type(second)
    for field in fields(first):  # type: ignore[arg-type]
        assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name


def test_a_policy_is_a_module_that_files_and_names_give(tmp_path) -> None:
    policy = policy_of(*NAMES)
    augrad.save_policy(policy, tmp_path / "policy.json")
    for source in (tmp_path / "policy.json", str(tmp_path / "policy.json")):
        loaded = augrad.load_policy(source)
        assert isinstance(loaded, Policy)
        assert isinstance(loaded, nn.Module)
        assert {name for name, _ in loaded.named_parameters()} == set(augrad.PolicyParams.names())
    assert augrad.builtin_policies()
    for name in augrad.builtin_policies():
        assert isinstance(augrad.load_policy(name), Policy)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_takes_every_kind_of_image_and_replays_bit_for_bit(channels: int, dtype: torch.dtype) -> None:
    policy = policy_of(*NAMES)
    images = every_kind(channels)
    images = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
    before = images.clone()
    output, sample = policy(images, return_params=True, generator=generator(6))
    assert torch.equal(images, before)
    assert (output.shape, output.dtype, output.device) == (images.shape, dtype, images.device)
    assert isinstance(sample, PolicySample)
    assert len(sample) == len(images)
    assert output.float().isfinite().all()
    assert not torch.equal(output, images)
    for _ in range(2):
        assert torch.equal(policy(images, params=sample), output)
    again, same = policy(images, params=sample, return_params=True)
    assert torch.equal(again, output)
    assert_same(same, sample)
    with torch.no_grad():
        assert torch.equal(policy.eval()(images, params=sample), output)
    for layout in (images.to(memory_format=torch.channels_last), images.repeat_interleave(2, -1)[..., ::2]):
        atol = 1 if dtype == torch.uint8 else 0.02
        torch.testing.assert_close(policy(layout, params=sample), output, rtol=0, atol=atol)
    other = torch.rand(len(images), 4 - channels, 9, 30, generator=generator())  # of other sizes and colours too
    assert torch.equal(policy(other, params=sample), policy(other, params=sample))


def test_one_draw_for_a_batch_and_draws_without_images() -> None:
    policy = policy_of(*NAMES)
    images = every_kind(3)
    _, sample = policy(images, same_on_batch=True, return_params=True)
    assert len(sample) == len(images)
    for field in fields(sample):
        values = getattr(sample, field.name)
        assert (values == values[:1]).all(), field.name
    drawn = policy.sample(len(images), generator=generator(3))
    assert_same(drawn, policy.sample(len(images), generator=generator(3)))
    output, inside = policy(images, generator=generator(3), return_params=True)
    assert_same(inside, drawn)
    assert torch.equal(policy(images, params=drawn), output)
    source = generator(3)
    assert not torch.equal(policy(images, generator=source), policy(images, generator=source))


def test_targets_come_back_as_a_named_tuple_with_the_images() -> None:
    policy = policy_of("rotate", "translate_x", "horizontal_flip", "invert")
    images = every_kind(3)
    masks, boxes, points = images[:, :1] > 0.5, torch.tensor([[[2.0, 3, 9, 11]]]), torch.tensor([[[4.0, 5]]])
    boxes, points = boxes.expand(len(images), -1, -1), points.expand(len(images), -1, -1)
    plain, sample = policy(images, return_params=True)
    both = policy(images, params=sample, masks=masks, boxes=boxes, keypoints=points)
    assert both._fields == ("images", "masks", "boxes", "keypoints")
    output, moved, places, where = both
    assert torch.equal(output, plain)
    for before, after in ((masks, moved), (boxes, places), (points, where)):
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        assert not torch.equal(after, before)
    keyword_only = inspect.signature(policy.forward).parameters
    assert {name for name, value in keyword_only.items() if value.kind == value.KEYWORD_ONLY} >= set(both._fields[1:])


def by_hand(policy: Policy, images: Tensor, sample: PolicySample) -> Tensor:
    """Each image alone, one operation after another."""
    results = []
    for i in range(len(images)):
        image = images[i : i + 1]
        for stage in range(sample.op.shape[1]):
            op = policy.ops[int(sample.op[i, stage])]
            if not sample.gate[i, stage]:
                continue
            magnitude = (sample.magnitude * sample.sign)[i : i + 1, stage]
            draw = sample.draw[i : i + 1, stage, : op.draws]
            options = {"fill": policy.fill} if "fill" in op.options else {}
            if op.kind == "mix":
                partner = partners(len(images), sample.draw[:, stage], images.device)[i]
                image = op.apply(image, magnitude, others=images[partner : partner + 1])
            else:
                image = op.apply(image, magnitude, *((draw,) if op.draws else ()), **options)
        results.append(image)
    return torch.cat(results)


def every_pair(policy: Policy, spread: float = 1.0) -> PolicySample:
    """All ordered pairs of operations but those of two geometric ones, each with magnitudes and signs of its own."""
    kinds = [op.kind for op in policy.ops]
    pairs = torch.tensor(
        [(a, b) for a in range(len(kinds)) for b in range(len(kinds)) if (kinds[a], kinds[b]) != ("geometric",) * 2]
    )
    noise = policy.draw_noise(len(pairs), generator())
    noise = replace(noise, normal=spread * noise.normal)
    return policy.sample_with(torch.zeros(len(pairs), dtype=torch.int64), pairs, torch.ones(pairs.shape) > 0, noise)


@pytest.mark.parametrize("fill", [0.0, 0.6])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_is_its_operations_one_after_another_with_their_gradients(channels: int, fill: float) -> None:
    policy = policy_of(*NAMES, subpolicies=1, fill=fill)
    sample = every_pair(policy).detach()
    shape = (len(sample), channels, 7, 9)
    images = torch.rand(shape, generator=generator(1), dtype=torch.float64)
    images[:, 0] = (1.2 * images[:, 0] - 0.1).clamp(0, 1)  # values that lie where clamping begins; no grey pixels
    images.requires_grad_()
    sample = replace(sample, magnitude=sample.magnitude.requires_grad_())
    weights = torch.randn(shape, generator=generator(2), dtype=torch.float64)

    def value_and_gradients(output: Tensor) -> tuple[Tensor, ...]:
        return output, *torch.autograd.grad((output * weights).sum(), (images, sample.magnitude))

    found = value_and_gradients(policy(images, params=sample))
    expected = value_and_gradients(by_hand(policy, images, sample))
    for ours, theirs in zip(found, expected, strict=True):
        different = (ours - theirs).abs().flatten(1).amax(1) > 1e-7 * (1 + theirs.abs().flatten(1).amax(1))
        pairs = [[policy.ops[index].name for index in pair] for pair in sample.op[different].tolist()]
        assert not pairs, pairs[:5]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_on_eight_bits_is_its_operation(channels: int) -> None:
    policy = policy_of(*NAMES, subpolicies=1)
    sample = every_pair(policy)
    sample = replace(sample, gate=torch.tensor([True, False]).expand_as(sample.gate))
    images = torch.randint(0, 256, (len(sample), channels, 7, 9), generator=generator(1), dtype=torch.uint8)
    difference = (policy(images, params=sample).int() - by_hand(policy, images, sample).int()).abs().flatten(1).amax(1)
    assert difference.max() <= 1, policy.ops[int(sample.op[difference.argmax(), 0])].name


def test_a_draw_is_differentiable_in_images_and_magnitudes_as_it_stands() -> None:
    policy = policy_of(*SMOOTH, "sample_pairing", "identity")
    images = torch.rand(8, 3, 5, 6, generator=generator(1), dtype=torch.float64).mul(0.5).add(0.25).requires_grad_()
    noise = policy.draw_noise(len(images), generator(2))
    numbers = (images, policy.magnitude_locations, policy.magnitude_log_scales)
    assert policy.sample_from(noise).gate.any(0).all()
    assert torch.autograd.gradcheck(lambda x, *_: policy(x, params=policy.sample_from(noise)), numbers, fast_mode=True)
    # and without asking for the draw
    gradients = torch.autograd.grad(policy(images, generator=generator(2)).square().sum(), numbers)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_a_relaxed_draw_is_differentiable_in_every_parameter() -> None:
    policy = policy_of(*SMOOTH[:4], "invert", "identity")
    images = torch.rand(3, 3, 5, 6, generator=generator(1), dtype=torch.float64).mul(0.5).add(0.25).requires_grad_()
    noise = policy.draw_relaxed_noise(len(images), generator(2))
    numbers = (images, *policy.params.tensors())

    def blend(x: Tensor, *_: Tensor) -> Tensor:
        return policy(x, params=policy.rsample_from(noise, temperature=0.7))

    assert torch.autograd.gradcheck(blend, numbers, fast_mode=True)
    soft = policy.rsample(4, temperature=0.5, generator=generator(5))
    assert isinstance(soft, RelaxedSample)
    assert_same(soft, policy.rsample(4, temperature=0.5, generator=generator(5)))
    colder = policy.rsample(4, temperature=0.05, generator=generator(5))
    assert colder.op.amax(-1).mean() > soft.op.amax(-1).mean()
    assert torch.equal(colder.op.argmax(-1), soft.op.argmax(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    policy = policy_of(*NAMES, subpolicies=1)
    draws = (every_pair(policy), policy.rsample(6, generator=generator()))
    for draw in draws:
        images = torch.rand(len(draw), 3, 7, 9, generator=generator())
        weights = torch.randn(images.shape, generator=generator(1))
        plain = policy(images, params=draw)
        with torch.autocast("cpu", dtype):
            cast = policy(images, params=draw)
        assert cast.dtype == torch.float32
        torch.testing.assert_close(cast, plain, rtol=0, atol=0)
        first, second = (
            torch.autograd.grad((output * weights).sum(), policy.magnitude_locations, retain_graph=True)[0]
            for output in (plain, cast)
        )
        assert torch.equal(first, second)


def test_operations_by_name() -> None:
    images = every_kind(3)
    degrees = torch.linspace(-30, 30, len(images))
    op = augrad.ops.get("rotate")
    assert torch.equal(augrad.ops.rotate(images, degrees), op.apply(images, degrees))
    assert (op.low, op.high, op.unit, op.signed, op.magnitude_grad) == (0.0, 30.0, "degree", True, "exact")
    with pytest.raises(UserError, match="did you mean"):
        augrad.ops.get("rotates")


@pytest.mark.gpu
def test_a_policy_on_a_gpu_does_what_it_does_on_the_cpu() -> None:
    policy = policy_of(*NAMES, subpolicies=1)
    sample = every_pair(policy).detach()
    images = torch.rand(len(sample), 3, 7, 9, generator=generator(1), dtype=torch.float64)
    expected = policy(images, params=sample)
    drawn = policy.sample(50, generator=generator(4))
    moved = policy.to("cuda")
    output = moved(images.to("cuda"), params=sample)  # a sample is taken to the images' device
    assert output.device.type == "cuda"
    torch.testing.assert_close(output.cpu(), expected, rtol=0, atol=1e-6)
    assert_same(moved.sample(50, generator=generator(4)).to("cpu"), drawn)  # a seed of the CPU means the same there
    there = torch.Generator("cuda").manual_seed(4)
    first = moved.sample(50, generator=there)
    assert first.op.device.type == "cuda"
    assert_same(first, moved.sample(50, generator=there.manual_seed(4)))


def test_configurations_of_older_runs_find_where_a_search_starts() -> None:
    from augrad.initial import initial_policy as former

    assert former is initial_policy
