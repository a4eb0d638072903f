"""Draws, replay, application and summaries of a policy."""

import pickle
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

import augrad
from augrad import Policy, UserError
from augrad.engines import apply
from augrad.estimators.mixture import Mixture
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.policy.summary import op_masses, policy_summary
from augrad.policy_file.convert import document_of, policy_from_document
from augrad.types import PolicySample
from ways import ENGINES, by_definition


def every_op() -> dict[str, dict[str, float]]:
    return {name: {} for name in augrad.ops.names()}


@pytest.fixture
def policy() -> Policy:
    return random_policy(initial_policy(make_space(every_op()), subpolicies=3, stages=2), seed=1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(24, 3, 12, 14, generator=torch.Generator().manual_seed(0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def equal(first: object, second: object) -> bool:
    return all(torch.equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(first))  # type: ignore[arg-type]


def test_replay_is_bit_identical_and_on_other_batches_of_the_size(policy: Policy, images: Tensor) -> None:
    output, sample = policy(images, return_params=True)
    assert torch.equal(policy(images, params=sample), output)
    assert policy(1 - images, params=sample).shape == images.shape
    assert not torch.equal(policy(images), output)


@pytest.mark.parametrize("alike", [True, False])
def test_a_relaxed_draw_through_one_sub_policy_leaves_the_others_alone(
    images: Tensor, alike: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same images and gradients as from the blend of all with weights of 0 and 1, for a fraction of the operations."""
    space = make_space({"rotate": {}, "invert": {}, "brightness": {}, "identity": {}})
    policy = random_policy(initial_policy(space, subpolicies=4, stages=2) if alike else pair_policy(space), seed=1)
    policy.requires_grad_(True)
    sample = Mixture(1.0, 1.0, 0.3, "uniform").draw(policy, len(images), generator(), 0.0)
    calls, apply_op = [], apply.apply_op
    monkeypatch.setattr(
        apply, "apply_op", lambda *arguments: (calls.append(arguments[0].name), apply_op(*arguments))[1]
    )
    found = []
    for drawn in (sample, replace(sample, subpolicy=sample.subpolicy.double())):
        calls.clear()
        output = policy(images, params=drawn)
        leaves = [policy.op_logits, policy.gate_logits, policy.magnitude_locations]
        found.append(
            (
                len(calls),
                output,
                *torch.autograd.grad((output * images.flip(0)).sum(), leaves, None, True, allow_unused=True),
            )
        )
    (routed, *ours), (blended, *all_of_them) = found
    assert routed * (4 if alike else 1) == blended
    for own, other in zip(ours, all_of_them, strict=True):
        if own is None or other is None:
            assert own is other  # a stage of one candidate: its weight is 1 whatever its logit
            continue
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_a_sample_slices_moves_and_survives_saving(images: Tensor, tmp_path) -> None:
    alone = {name: {} for name in augrad.ops.names() if augrad.ops.get(name).kind != "mix"}
    policy = random_policy(initial_policy(make_space(alone), subpolicies=3, stages=2), seed=1)
    output, sample = policy(images, return_params=True)
    assert torch.equal(policy(images[3:7], params=sample[3:7]), output[3:7])
    torch.save(vars(sample), tmp_path / "sample.pt")
    loaded = augrad.PolicySample(**torch.load(tmp_path / "sample.pt", weights_only=True))
    assert equal(loaded.to("cpu"), sample)


def test_one_local_generator_decides_everything(policy: Policy, images: Tensor) -> None:
    assert equal(policy.sample(50, generator=generator(4)), policy.sample(50, generator=generator(4)))
    assert not equal(policy.sample(50, generator=generator(4)), policy.sample(50, generator=generator(5)))
    first = policy(images, generator=generator(1))
    assert torch.equal(policy(images, generator=generator(1)), first)


def test_each_image_has_its_own_draw_unless_asked_otherwise(policy: Policy, images: Tensor) -> None:
    assert len(policy.sample(200, generator=generator()).op.unique(dim=0)) > 20
    assert len(policy.sample(200, generator=generator()).magnitude.unique()) > 100
    same, sample = policy(images[:1].expand(6, -1, -1, -1), same_on_batch=True, return_params=True)
    assert (same == same[:1]).all()
    assert (sample.draw == sample.draw[:1]).all()


def test_frequencies_match_the_probabilities(policy: Policy) -> None:
    count = 40_000
    sample = policy.sample(count, generator=generator())
    expected = policy.subpolicy_probabilities()
    frequency = torch.bincount(sample.subpolicy, minlength=3) / count
    assert (frequency - expected).abs().max() < 4 * (0.25 / count) ** 0.5
    acting = torch.where(sample.gate, sample.op, policy.ops.index(augrad.ops.get("identity")))
    masses = torch.bincount(acting.flatten(), minlength=len(policy.ops)) / acting.numel()
    assert (masses - op_masses(policy)).abs().max() < 4 * (0.25 / count) ** 0.5
    signed = policy.tables.signed[sample.subpolicy].gather(-1, sample.slot[..., None])[..., 0]
    assert abs(sample.sign[signed].mean()) < 4 / signed.sum().sqrt()
    assert (sample.sign[~signed] == 1).all()


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_gives_what_the_operations_do(policy: Policy, images: Tensor, name: str) -> None:
    sample = policy.sample(len(images), generator=generator())
    expected = by_definition(policy, images, sample)
    weights = policy.params
    with augrad.engine(name):
        torch.testing.assert_close(policy(images, params=sample), expected, rtol=0, atol=2e-6)
        selected = policy(images, params=policy.sample(len(images), generator=generator()))
    gradients = torch.autograd.grad(selected.square().sum(), weights.magnitude_locations)[0]
    assert gradients.isfinite().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_partner_comes_from_the_batch_that_was_given(images: Tensor, engine: str) -> None:
    space = make_space({"invert": {}, "sample_pairing": {"high": 1.0}, "brightness": {}})
    policy = initial_policy(space, subpolicies=2, stages=2, probability=0.9)
    sample = policy.sample(len(images), generator=generator())
    with augrad.engine(engine):
        output = policy(images, params=sample)
    expected = []
    for i, image in enumerate(images):
        for stage in range(2):
            name = policy.ops[int(sample.op[i, stage])].name
            magnitude = sample.magnitude[i, stage].float()
            if not sample.gate[i, stage]:
                continue
            if name == "sample_pairing":
                partner = (i + 1 + int(sample.draw[i, stage, 0] * (len(images) - 1))) % len(images)
                image = (1 - magnitude) * image + magnitude * images[partner]
            elif name == "invert":
                image = 1 - image
            else:
                image = (image * (1 + magnitude * sample.sign[i, stage].float())).clamp(0, 1)
        expected.append(image)
    torch.testing.assert_close(output, torch.stack(expected), rtol=0, atol=1e-5)
    # Its own draw decides what an image becomes, not its partner's.
    other = policy.sample(len(images), generator=generator(1))
    mixed = PolicySample.concatenate([sample[:10], other[10:]])
    torch.testing.assert_close(policy(images, params=mixed)[:10], output[:10], rtol=0, atol=1e-6)
    relaxed = policy.rsample(len(images), hard=True, generator=generator()).detach()
    by_hand = policy(images, params=policy.harden(relaxed))
    torch.testing.assert_close(policy(images, params=relaxed), by_hand, rtol=0, atol=1e-5)


COMPILE = """
import torch, augrad
from augrad.policy.initial import initial_policy
from augrad.ops.space import make_space
policy = initial_policy(make_space({name: {} for name in augrad.ops.names()}), subpolicies=3, stages=2)
images = torch.rand(16, 3, 12, 14)
compiled = torch.compile(lambda x, s: policy(x, params=s), fullgraph=True, backend="aot_eager")
with torch.no_grad():
    for seed in range(3):
        sample = policy.sample(len(images), generator=torch.Generator().manual_seed(seed))
        with torch.compiler.set_stance("default" if seed == 0 else "fail_on_recompile"):
            output = compiled(images, sample)
        torch.testing.assert_close(output, policy(images, params=sample), rtol=0, atol=1e-5)
drawing = torch.compile(policy, fullgraph=True, backend="aot_eager")
assert not torch.equal(drawing(images), drawing(images))
rotating = initial_policy(make_space({"rotate": {}, "horizontal_flip": {}, "cutout": {}}))
masks, boxes, points = images[:, 0] > 0.5, torch.rand(16, 3, 4).cumsum(-1), torch.rand(16, 3, 2)
whole = torch.compile(rotating, fullgraph=True, backend="eager")
sample = rotating.sample(len(images))
for first, second in zip(*(f(images, sample, masks=masks, boxes=boxes, keypoints=points) for f in (whole, rotating))):
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
print("compiled")
"""


@pytest.mark.slow
def test_compiles_without_graph_breaks_or_recompilation() -> None:
    # In a process of its own: the tests' shape checks are not for compilers.
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "compiled", done.stderr[-3000:]


BATCHES = """
import torch
from augrad.policy.initial import initial_policy
from augrad.ops.space import make_space
policy = initial_policy(make_space({"rotate": {}, "cutout": {}}), stages=2)
for augment in (policy, lambda images: policy(images, params=policy.rsample(len(images)))):
    for backend, dynamic in (("eager", None), ("aot_eager", True)):
        torch._dynamo.reset()
        compiled = torch.compile(augment, fullgraph=True, backend=backend, dynamic=dynamic)
        with torch.no_grad():
            for size in (8, 5, 3):
                assert compiled(torch.rand(size, 3, 8, 8)).shape == (size, 3, 8, 8)
print("compiled")
"""


def test_a_compiled_policy_takes_batches_of_every_size() -> None:
    """The last one of an epoch is smaller."""
    done = subprocess.run([sys.executable, "-c", BATCHES], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "compiled", done.stderr[-3000:]


@pytest.mark.parametrize("hard", [False, True])
def test_a_relaxed_draw_has_gradients_to_every_parameter(policy: Policy, images: Tensor, hard: bool) -> None:
    policy.requires_grad_(True)
    sample = policy.rsample(len(images), temperature=0.5, hard=hard, generator=generator())
    output = policy(images, params=sample)
    weights = torch.randn(output.shape, generator=generator(2))
    gradients = torch.autograd.grad((output * weights).sum(), policy.params.tensors())
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
    torch.testing.assert_close(sample.op.sum(-1), torch.ones_like(sample.op.sum(-1)))
    if hard:
        assert set(sample.op.unique().tolist()) == {0.0, 1.0}
        assert set(sample.gate.unique().tolist()) <= {0.0, 1.0}
        assert set(sample.subpolicy.unique().tolist()) <= {0.0, 1.0}


def test_a_straight_through_draw_does_what_its_hard_choice_does(policy: Policy, images: Tensor) -> None:
    relaxed = policy.rsample(len(images), hard=True, generator=generator()).detach()
    hard = policy.harden(relaxed)
    torch.testing.assert_close(policy(images, params=relaxed), policy(images, params=hard), rtol=0, atol=1e-5)


def test_uint8_and_half_precision_pass_through(policy: Policy, images: Tensor) -> None:
    sample = policy.sample(len(images), generator=generator())
    exact = policy(images, params=sample)
    for dtype, tolerance in ((torch.float16, 0.02), (torch.float64, 1e-5)):
        output = policy(images.to(dtype), params=sample)
        assert output.dtype == dtype
        assert (output.float() - exact).abs().mean() < tolerance
    whole = policy((images * 255).to(torch.uint8), params=sample)
    assert whole.dtype == torch.uint8


def test_pickles_and_copies(policy: Policy, images: Tensor) -> None:
    policy.sample(2)
    restored = pickle.loads(pickle.dumps(policy))
    sample = policy.sample(len(images), generator=generator())
    assert torch.equal(restored(images, params=sample), policy(images, params=sample))


def test_document_and_policy_are_one(policy: Policy, images: Tensor, tmp_path) -> None:
    document = document_of(policy)
    loaded = policy_from_document(document)
    assert document_of(loaded) == document
    augrad.save_policy(policy, tmp_path / "policy.json")
    again = augrad.load_policy(tmp_path / "policy.json")
    augrad.save_policy(again, tmp_path / "again.json")
    assert (tmp_path / "policy.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    # The operations come in another order in the file's policy; the draws are the same all the same.
    torch.testing.assert_close(
        again(images, generator=generator(3)), policy(images, generator=generator(3)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("magnitude", ["logit_normal", "uniform", "point"])
def test_every_kind_of_magnitude_survives_the_file(magnitude: str) -> None:
    policy = initial_policy(make_space({"rotate": {"high": 60.0}, "identity": {}}), magnitude=magnitude, scale=0.4)  # type: ignore[arg-type]
    again = policy_from_document(document_of(policy))
    assert document_of(again) == document_of(policy)
    first, second = (p.sample(4000, generator=generator(1)) for p in (policy, again))
    torch.testing.assert_close(first.magnitude, second.magnitude, rtol=0, atol=1e-9)
    acting = first.op == 0
    expected = {"logit_normal": (1, 59), "uniform": (0, 59), "point": (30, 30)}[magnitude]
    assert expected[0] <= first.magnitude[acting].min()
    assert first.magnitude[acting].max() <= expected[1]
    mean = {"logit_normal": 30.0, "uniform": 15.0, "point": 30.0}[magnitude]
    assert float(first.magnitude[acting].mean().detach()) == pytest.approx(mean, abs=1.0)


def test_the_golden_policy_draws_from_ragged_stages() -> None:
    policy = augrad.load_policy("identity")
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(policy(images), images)
    assert policy.selection_entropy() == 0


def test_summaries_add_up(policy: Policy) -> None:
    summary = policy_summary(policy)
    masses = [value for name, value in summary.items() if name.startswith("mass/")] + [summary["identity_mass"]]
    assert float(sum(masses)) == pytest.approx(1.0)
    assert 0 <= float(summary["selection_entropy"].detach()) <= policy.max_selection_entropy + 1e-9
    even = initial_policy(make_space(every_op()), subpolicies=1, stages=2)
    assert float(even.selection_entropy().detach()) == pytest.approx(even.max_selection_entropy)


def test_wrong_calls_are_refused(policy: Policy, images: Tensor) -> None:
    with pytest.raises(UserError, match="hold 3 draws, the batch 24"):
        policy(images, params=policy.sample(3))
    with pytest.raises(UserError, match="same_on_batch"):
        policy(images, params=policy.sample(24), same_on_batch=True)
    with pytest.raises(UserError, match="floating point"):
        policy((images * 255).to(torch.uint8), params=policy.rsample(24))
    with pytest.raises(UserError, match="temperature"):
        policy.rsample(3, temperature=0.0)
    with pytest.raises(UserError, match="shape"):
        policy(images[0])
    with pytest.raises(UserError, match="at least one operation"):
        make_space({})
    with pytest.raises(UserError, match="has no magnitude"):
        make_space({"invert": {"low": 1.0}})
    with pytest.raises(UserError, match="cannot be signed"):
        make_space({"posterize": {"signed": True}})
