"""Where a policy's random numbers come from: the generator that it is given, or one number of the global one a call."""

import copy
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

import augrad
from augrad import Policy, PolicySample, RelaxedSample
from augrad.data.seeding import global_draws
from augrad.estimators.rebar import Rebar
from augrad.ops.space import make_space
from augrad.policy.distributions import draw_branch_noise
from augrad.policy.initial import initial_policy
from augrad.shared_state import _stash, differentiates_forward, forward_mode

IMAGES = torch.rand(6, 3, 9, 11, generator=torch.Generator().manual_seed(0))


def policy_of(*names: str, probability: float = 0.7) -> Policy:
    space = make_space({name: {} for name in names or ("rotate", "color", "posterize", "cutout", "sample_pairing")})
    return initial_policy(space, subpolicies=2, stages=2, probability=probability)


@pytest.fixture
def policy() -> Policy:
    return policy_of()


@pytest.fixture(autouse=True)
def own_global_generator() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def global_states() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), torch.initial_seed(), kind, keys.tolist(), rest


def scalar_of(draw: PolicySample | RelaxedSample) -> Tensor:
    return (draw.op * draw.magnitude).flatten(1).sum(1)


DRAWS: dict[str, Callable[[Policy], Tensor]] = {
    "images": lambda policy: policy(IMAGES),
    "one draw for the batch": lambda policy: policy(IMAGES, same_on_batch=True),
    "masks": lambda policy: policy_of("rotate")(IMAGES, masks=IMAGES[:, :1]).masks,
    "sample": lambda policy: policy.sample(9).magnitude,
    "rsample": lambda policy: policy.rsample(9, hard=True).op,
    "noise": lambda policy: policy.draw_noise(9).gate,
    "relaxed noise": lambda policy: policy.draw_relaxed_noise(9).op,
    "branch noise": lambda policy: draw_branch_noise((9,), policy.shape, None, torch.device("cpu")).gate,
    "estimator": lambda policy: Rebar()(scalar_of, policy, 9, None, 0.5).value,
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_the_global_seed_and_the_saved_state(policy: Policy, name: str) -> None:
    draw = DRAWS[name]
    torch.manual_seed(1)
    first, second = draw(policy), draw(policy)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(draw(policy), first)
    state = torch.get_rng_state()
    with torch.random.fork_rng():
        assert torch.equal(draw(policy), second)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(draw(policy), second)
    torch.manual_seed(2)
    assert not torch.equal(draw(policy), first)


def test_a_call_takes_one_number_of_the_global_generator_and_touches_no_other(policy: Policy) -> None:
    def after_one_number() -> tuple[object, ...]:
        with torch.random.fork_rng():
            torch.empty((), dtype=torch.int64).random_()
            return global_states()

    for name in ("images", "one draw for the batch", "sample", "rsample", "noise", "relaxed noise", "branch noise"):
        expected = after_one_number()
        DRAWS[name](policy)
        assert global_states() == expected, name


def test_with_a_generator_nothing_else_is_touched(policy: Policy) -> None:
    before = global_states()
    output, sample = policy(IMAGES, masks=None, generator=generator(), return_params=True)
    assert torch.equal(policy(IMAGES, generator=generator()), output)
    policy(IMAGES, generator=generator(), same_on_batch=True)
    policy_of("rotate")(IMAGES, masks=IMAGES, boxes=torch.zeros(6, 1, 4), generator=generator())
    policy(IMAGES, params=sample)
    policy(IMAGES, params=policy.rsample(6, generator=generator()))
    policy.harden(policy.rsample(6, hard=True, generator=generator()))
    policy.score_terms(sample)
    PolicySample.concatenate([sample, policy.sample(2, generator=generator())])
    for name in augrad.ops.names():
        op = augrad.ops.get(name)
        op.apply(IMAGES, torch.full((6,), op.low or 0.0))
    Rebar()(scalar_of, policy, 9, generator(), 0.5)
    augrad.load_policy("identity")(IMAGES, generator=generator())
    assert global_states() == before
    policy(IMAGES)
    assert global_states() != before


def other_policies(policy: Policy, path: Path, kind: str) -> list[Policy]:
    """Four that are alike in everything but in being four."""
    match kind:
        case "new":
            return [policy_of("invert", probability=0.5) for _ in range(4)]
        case "copies":
            return [copy.deepcopy(policy), copy.copy(policy), pickle.loads(pickle.dumps(policy)), policy]
        case "loaded":
            augrad.save_policy(policy, path / "policy.json")
            return [augrad.load_policy(path / "policy.json") for _ in range(4)]
        case _:
            return [policy] * 4


@pytest.mark.parametrize("kind", ["new", "copies", "loaded", "one"])
def test_four_policies_in_a_row_are_independent(tmp_path: Path, kind: str) -> None:
    """The number that change an image, of four with probability 1/2, is binomial; as for four gates of one draw."""
    policy = initial_policy(make_space({"invert": {}}), probability=0.5)
    four = other_policies(policy, tmp_path, kind)
    count = 2000
    opened = torch.stack([one.sample(count).gate[:, 0] for one in four])
    found = torch.bincount(opened.sum(0), minlength=5)
    expected = count * torch.tensor([1, 4, 6, 4, 1]) / 16
    assert ((found - expected).abs() < 5 * expected.sqrt()).all(), found
    correlation = torch.corrcoef(opened.double()) - torch.eye(4)
    assert correlation.abs().max() < 5 / count**0.5


def test_two_views_of_a_batch_have_magnitudes_signs_and_places_of_their_own() -> None:
    one, two = policy_of("rotate", "cutout"), policy_of("rotate", "cutout")
    for first, second in ((one, two), (one, one)):
        views = [policy.sample(3000) for policy in (first, second)]
        for read in ("latent", "sign", "magnitude", "slot", "subpolicy", "draw"):
            a, b = (getattr(view, read).detach().double().reshape(3000, -1) for view in views)
            for column, other in zip(a.T, b.T, strict=True):
                assert abs(float(torch.corrcoef(torch.stack([column, other]))[0, 1])) < 5 / 3000**0.5, read
        assert not torch.equal(first(IMAGES), second(IMAGES))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_recomputes_the_same_images(policy: Policy, reentrant: bool) -> None:
    layer = nn.Conv2d(3, 2, 3)

    def part(images: Tensor) -> Tensor:
        seen.append(policy(images))
        return layer(policy(images + 0 * seen[-1])).square().sum()  # two calls

    def gradients(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        torch.manual_seed(4)
        images = IMAGES.clone().requires_grad_()
        return [*torch.autograd.grad(run(images), (images, layer.weight))] if not reentrant else backward(run, images)

    def backward(run: Callable[[Tensor], Tensor], images: Tensor) -> list[Tensor]:
        layer.zero_grad()
        run(images).backward()  # a reentrant checkpoint takes no torch.autograd.grad
        assert images.grad is not None
        assert layer.weight.grad is not None
        return [images.grad, layer.weight.grad.clone()]

    seen: list[Tensor] = []
    expected = gradients(part)
    seen.clear()
    found = gradients(lambda images: checkpoint(part, images, use_reentrant=reentrant))  # type: ignore[arg-type]
    assert len(seen) == 2
    assert torch.equal(*seen)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


class Views(Dataset):
    """Draws inside the worker processes: the worker, and what was drawn there."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        worker = get_worker_info()
        return -1 if worker is None else worker.id, self.policy(IMAGES)


class Stream(IterableDataset):
    """The same, as a stream."""

    def __init__(self, policy: Policy) -> None:
        self.views = Views(policy)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        return (self.views[index] for index in range(4))


def epochs(data: Dataset, seed: int, **options: object) -> Tensor:
    """[2 epochs, 8, ...]: what two epochs of a loader bring, with a seed of its own."""
    loader = DataLoader(data, batch_size=1, generator=generator(seed), num_workers=2, **options)  # type: ignore[arg-type]
    return torch.stack([torch.cat([drawn for _, drawn in loader]) for _ in range(2)])


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("kind", [Views, Stream])
def test_workers_draw_apart_in_every_epoch_and_again_under_the_same_seed(
    policy: Policy, kind: type, persistent: bool
) -> None:
    options = {"persistent_workers": persistent, "multiprocessing_context": "fork"}
    found = epochs(kind(policy), 0, **options)
    assert len(found.flatten(0, 1).unique(dim=0)) == 2 * 8
    assert torch.equal(epochs(kind(policy), 0, **options), found)
    assert not torch.equal(epochs(kind(policy), 1, **options), found)


WORKERS = """
import sys, torch
from torch.utils.data import DataLoader, Dataset
from augrad.policy.initial import initial_policy
from augrad.shared_state import differentiates_forward, forward_mode
from augrad.ops.space import make_space

class Views(Dataset):
    def __init__(self):
        self.policy = initial_policy(make_space({"rotate": None, "color": None}), stages=2)
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return self.policy(torch.linspace(0, 1, 64).reshape(1, 1, 8, 8).expand(4, 3, 8, 8))

if __name__ == "__main__":
    def epochs(seed):
        source = torch.Generator().manual_seed(seed)
        loader = DataLoader(Views(), 1, num_workers=2, persistent_workers=True, generator=source,
                            multiprocessing_context=sys.argv[1])
        return torch.stack([torch.cat([drawn for drawn in loader]) for _ in range(2)])
    first = epochs(0)
    assert len(first.flatten(0, 1).unique(dim=0)) == 8
    assert torch.equal(epochs(0), first)
    print("apart")
"""


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_that_import_everything_anew_draw_apart(tmp_path: Path, context: str) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    command = [sys.executable, str(tmp_path / "workers.py"), context]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "apart", done.stderr[-2000:]


def test_threads_share_a_policy(policy: Policy) -> None:
    """Whatever the order: the calls have the numbers that calls one after another have, each its own."""

    def drawn(_: int) -> tuple[float, ...]:
        return tuple(policy.sample(5).draw.flatten().tolist())

    torch.manual_seed(6)
    expected = sorted(map(drawn, range(200)))
    assert len(set(expected)) == 200
    torch.manual_seed(6)
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(drawn, range(200))) == expected


def test_inference_mode_and_function_transforms_draw_what_a_plain_call_draws(policy: Policy) -> None:
    def seeded(call: Callable[[], Tensor]) -> Tensor:
        torch.manual_seed(7)
        return call()

    plain = seeded(lambda: policy(IMAGES))
    with torch.inference_mode():
        assert torch.equal(seeded(lambda: policy(IMAGES)), plain)
    images = IMAGES.clone().requires_grad_()
    smooth = policy_of("rotate", "brightness", "cutout")
    expected = seeded(lambda: torch.autograd.grad(smooth(images).square().sum(), images)[0])
    found = seeded(lambda: torch.func.grad(lambda x: smooth(x).square().sum())(IMAGES))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap_decides_whether_its_draws_differ(policy: Policy, randomness: str) -> None:
    def draw(number: Tensor) -> Tensor:
        return policy.sample(5).draw + 0 * number

    torch.manual_seed(8)
    found = torch.func.vmap(draw, randomness=randomness)(torch.zeros(3))
    assert len(found.unique(dim=0)) == (1 if randomness == "same" else 3)
    torch.manual_seed(8)
    assert torch.equal(torch.func.vmap(draw, randomness=randomness)(torch.zeros(3)), found)


COMPILED = """
import torch
from augrad.policy.initial import initial_policy
from augrad.shared_state import differentiates_forward, forward_mode
from augrad.ops.space import make_space
space = make_space({"rotate": None, "color": None, "cutout": None})
one, two = (initial_policy(space, stages=2, probability=0.5) for _ in range(2))
images = torch.rand(32, 3, 8, 8)
both = torch.compile(lambda x: (one(x), two(x), one.sample(len(x)).gate, two.sample(len(x)).gate), fullgraph=True,
                     backend="aot_eager")
with torch.no_grad():
    torch.manual_seed(1)
    first, later = both(images), both(images)
    torch.manual_seed(1)
    again = both(images)
for index in range(4):
    assert torch.equal(first[index], again[index])
    assert not torch.equal(first[index], later[index])
assert not torch.equal(first[0], first[1]) and not torch.equal(first[2], first[3])
print("compiled")
"""


@pytest.mark.slow
def test_compiled_policies_draw_apart_and_again_under_the_same_seed() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "compiled", done.stderr[-3000:]


def in_a_thread(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=60)


def test_other_threads_draw_as_if_nobody_had_borrowed_the_global_generator(policy: Policy) -> None:
    torch.manual_seed(5)
    expected = [policy.sample(4).magnitude for _ in range(3)]
    torch.manual_seed(5)
    found = [policy.sample(4).magnitude]
    with global_draws(torch.device("cpu"), 0, "a step"):
        own = torch.rand(())
        found.append(in_a_thread(lambda: policy.sample(4).magnitude))
        with global_draws(torch.device("cpu"), 0, "a step"):
            assert torch.equal(torch.rand(()), own)
        assert not torch.equal(policy.sample(4).magnitude, expected[2])  # this thread's are the step's
    found.append(policy.sample(4).magnitude)
    assert all(map(torch.equal, found, expected))


def test_one_thread_after_another_borrows_the_global_generator() -> None:
    def drawn(seed: int) -> list[Tensor]:
        found = []
        for step in range(20):
            with global_draws(torch.device("cpu"), seed, "a step", step):
                found += [torch.rand(()) for _ in range(5)]
        return found

    before, alone = torch.get_rng_state(), [drawn(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(drawn, range(3)))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")  # PyTorch's own affair
def test_forward_mode_of_one_thread_is_none_of_another_and_they_take_turns() -> None:
    def derivative(point: float) -> float:
        with forward_mode():
            return float(torch.func.jvp(torch.sin, (torch.tensor(point),), (torch.tensor(1.0),))[1])

    def other(values: Tensor) -> Tensor:
        assert differentiates_forward()
        assert in_a_thread(differentiates_forward) is False
        return values.sin()

    with forward_mode():
        torch.func.jvp(other, (torch.zeros(()),), (torch.ones(()),))
    points = [0.01 * index for index in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(derivative, points)) == [derivative(point) for point in points]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_what_is_stashed_is_held_until_something_else_is() -> None:
    """Older versions of PyTorch hold nothing, and let go in the end what is not theirs."""
    value = object()
    before = sys.getrefcount(value)
    for _ in range(3):
        _stash("augrad test", value)
        assert sys.getrefcount(value) == before + 1
    _stash("augrad test", None)
    assert sys.getrefcount(value) == before


def test_a_process_forked_beside_a_borrower_draws_and_borrows(policy: Policy) -> None:
    def in_a_child() -> int:
        child = os.fork()
        if not child:
            try:
                signal.alarm(20)
                policy.sample(1)
                with global_draws(torch.device("cpu"), 0, "a step"):
                    policy.sample(1)
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitpid(child, 0)[1]

    with global_draws(torch.device("cpu"), 0, "a step"):
        assert in_a_thread(in_a_child) == 0
        assert in_a_child() == 0


def test_the_first_call_of_a_process_may_be_checkpointed() -> None:
    """Before anything is compiled or loaded: what is computed again is then what was computed at first."""
    code = """
import torch
from torch.utils.checkpoint import checkpoint
import augrad

images = torch.rand(8, 3, 20, 24, requires_grad=True)
for number, ops in enumerate((["rotate"], ["brightness", "cutout", "translate_x"])):
    policy = augrad.Policy.over(ops, subpolicies=1 + number, stages=2)
    checkpoint(policy, images, use_reentrant=False).sum().backward()
    network = torch.nn.Sequential(policy, torch.nn.Flatten(), torch.nn.Linear(1440, 2))
    checkpoint(network, images.detach(), use_reentrant=False).sum().backward()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
