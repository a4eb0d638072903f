"""On a GPU: nothing waits for the device, graphs capture and replay, and the number of launches never changes."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from augrad import Policy, UserError, engine
from augrad.engines.triton.engine import TRITON
from augrad.ops import names
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy
from augrad.types import PolicySample

pytestmark = pytest.mark.gpu

ENGINES = ("triton", "grouped")
BATCH, STAGES = 48, 2
Step = Callable[[], tuple[Tensor, ...]]


def a_policy() -> Policy:
    space = make_space({name: {} for name in names()})
    return random_policy(initial_policy(space, subpolicies=3, stages=STAGES), seed=1).cuda()


def some_images(seed: int = 0) -> Tensor:
    return torch.rand(BATCH, 3, 20, 24, generator=torch.Generator().manual_seed(seed)).cuda()


def a_draw(policy: Policy, seed: int) -> PolicySample:
    return policy.sample(BATCH, generator=torch.Generator("cuda").manual_seed(seed)).detach()


def step_of(policy: Policy, images: Tensor, sample: PolicySample) -> Step:
    """The output and the gradients of images and magnitudes, for a draw that is given."""
    images.requires_grad_()
    sample.magnitude.requires_grad_()

    def step() -> tuple[Tensor, ...]:
        output = policy(images, params=sample)
        return output.detach(), *torch.autograd.grad(output.square().sum(), (images, sample.magnitude))

    return step


@contextmanager
def without_synchronisation() -> Iterator[None]:
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def warmed_up(step: Step) -> None:
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(beside)


def launches(step: Step) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            step()
            torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events() or [])


def test_images_on_a_gpu_go_through_the_kernels() -> None:
    assert TRITON.is_best_for(some_images())
    assert TRITON.refusal(some_images()) is None


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_waits_for_the_device(name: str) -> None:
    policy, images, generator = a_policy(), some_images(), torch.Generator("cuda").manual_seed(0)
    draw = a_draw(policy, 3)
    given = step_of(policy, images, draw)

    def drawing() -> tuple[Tensor, ...]:
        output = policy(images, generator=generator)
        return torch.autograd.grad(output.square().sum(), (images, policy.magnitude_locations))

    def drawing_by_the_global_generator() -> tuple[Tensor, ...]:
        return policy(images), policy.rsample(BATCH).op

    with engine(name):
        for step in (given, drawing, drawing_by_the_global_generator):
            step()
            with without_synchronisation():
                step()


def test_draws_follow_the_global_generator_of_the_cpu() -> None:
    policy, other, images = a_policy(), a_policy(), some_images()
    there = torch.cuda.get_rng_state()
    torch.manual_seed(1)
    first, second = policy(images), other(images)
    assert not torch.equal(first, second)
    torch.set_rng_state(torch.Generator().manual_seed(1).get_state())
    assert torch.equal(policy(images), first)
    assert torch.equal(other(images), second)
    torch.cuda.manual_seed(2)
    policy(images)
    torch.cuda.set_rng_state(there)
    policy(images)
    assert torch.equal(torch.cuda.get_rng_state(), there)


@pytest.mark.parametrize("name", ENGINES)
def test_every_replay_of_a_graph_draws_anew(name: str) -> None:
    policy, images = a_policy(), some_images()
    with engine(name), torch.no_grad():
        warmed_up(lambda: (policy(images),))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output, sample = policy(images, return_params=True)
        seen = []
        for _ in range(3):
            graph.replay()
            seen.append(output.clone())
            torch.testing.assert_close(policy(images, params=sample), output)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_graph_cannot_draw_on_the_host() -> None:
    policy, number = a_policy(), torch.zeros(1, device="cuda")
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        number.add_(1)  # a graph of nothing is warned of
        with pytest.raises(UserError, match="every replay would repeat"):
            policy.sample(BATCH, generator=torch.Generator())


@pytest.mark.parametrize("name", ENGINES)
def test_a_graph_follows_the_draw_it_is_given(name: str) -> None:
    policy, images, sample = a_policy(), some_images(), a_draw(a_policy(), 0)
    step = step_of(policy, images, sample)
    with engine(name):
        warmed_up(step)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = step()
        seen = []
        for seed in (1, 2):
            with torch.no_grad():
                images.copy_(some_images(seed))
                other = a_draw(policy, seed)
                for field in fields(sample):
                    getattr(sample, field.name).copy_(getattr(other, field.name))
            graph.replay()
            for found, expected in zip(captured, step(), strict=True):
                # The sum over partners has no fixed order.
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            seen.append(captured[0].clone())
    assert not torch.equal(*seen)


def test_a_graph_draws_anew_from_a_generator_that_it_knows() -> None:
    policy, images, generator = a_policy(), some_images(), torch.Generator("cuda").manual_seed(0)

    def step() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (policy(images, generator=generator),)

    warmed_up(step)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        (output,) = step()
    graph.replay()
    first = output.clone()
    graph.replay()
    assert not torch.equal(first, output)


@pytest.mark.parametrize("name", ENGINES)
def test_the_number_of_launches_does_not_depend_on_the_draw(name: str) -> None:
    policy, images = a_policy(), some_images()
    mixed = a_draw(policy, 0)
    counts = {}
    draws = {
        "mixed": mixed,
        "another": a_draw(policy, 1),
        "nothing": replace(mixed, gate=torch.zeros_like(mixed.gate)),
        **{
            op.name: replace(mixed, op=torch.full_like(mixed.op, index), gate=torch.ones_like(mixed.gate))
            for index, op in enumerate(policy.ops)
            if op.name in ("rotate", "contrast", "equalize", "gaussian_blur", "sample_pairing")
        },
    }
    with engine(name):
        for draw, sample in draws.items():
            step = step_of(policy, images, sample.map(Tensor.clone))
            step()
            counts[draw] = launches(step)
    assert counts["mixed"] > 0
    assert len(set(counts.values())) == 1, counts
    if name == "triton":
        assert counts["mixed"] < 140, counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_same_as_on_a_cpu(dtype: torch.dtype, layout: torch.memory_format) -> None:
    policy, images = a_policy(), some_images()
    images = (images * 255).round().to(dtype) if dtype == torch.uint8 else images.to(dtype)
    sample = a_draw(policy, 4)
    with torch.no_grad():
        ours = policy(images.to(memory_format=layout), params=sample).cpu()
        reference = policy.cpu()(images.cpu(), params=sample.to("cpu"))
    assert ours.dtype == dtype
    difference = (ours.double() - reference.double()).abs()
    usual = {torch.uint8: 1, torch.bfloat16: 8e-3, torch.float16: 2e-3}.get(dtype, 1e-4)
    # Where rounding decides on which side of a threshold or a level a value falls.
    assert (difference > usual).double().mean() < 5e-3


def test_two_runs_give_the_same_bits() -> None:
    space = make_space({name: {} for name in names() if name != "sample_pairing"})
    policy = random_policy(initial_policy(space, subpolicies=3, stages=STAGES), seed=1).cuda()
    step = step_of(policy, some_images(), a_draw(policy, 5))
    for first, second in zip(step(), step(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    root, figures = Path(__file__).parents[2], tmp_path / "figures.json"
    command = [sys.executable, "scripts/benchmark_gpu.py", "--quick", "--json", str(figures)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (contenders,) = json.loads(figures.read_text())["sizes"].values()
    assert {name for name, row in contenders.items() if "failed" in row} == set()
    assert all(row["ms"] > 0 and row["launches"] > 0 for row in contenders.values())


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize("where", ["cuda", "cpu", None])
def test_a_policy_as_graphs_is_the_policy(where: str | None, eight_bits: bool) -> None:
    policy = a_policy()
    graphed = policy.to_cuda_graphs()
    own, other = (None if where is None else torch.Generator(where).manual_seed(4) for _ in range(2))
    for call in range(5):
        images = some_images(call)
        images = (images * 255).to(torch.uint8) if eight_bits else images
        torch.manual_seed(call)
        expected = policy(images, generator=own).detach()
        torch.manual_seed(call)
        assert torch.equal(graphed(images, generator=other), expected)
        if call == 0:
            kept, first = graphed(images, generator=None), None
            first = kept.clone()
    assert torch.equal(kept, first)  # no later call writes there
    assert all(graph is not None for graph in graphed._graphs._captured.values())


def test_a_policy_as_graphs_waits_for_nothing() -> None:
    policy, images = a_policy(), some_images()
    graphed = policy.to_cuda_graphs()
    for _ in range(3):
        graphed(images)
    with without_synchronisation():
        graphed(images)
    assert graphed(images.clone().requires_grad_()).requires_grad  # a plain call, as a graph has no gradient


def test_a_policy_as_graphs_takes_other_images_too() -> None:
    policy = a_policy()
    graphed = policy.to_cuda_graphs()
    wide = some_images().to(memory_format=torch.channels_last)
    for images in (some_images(), wide, some_images()[:7], some_images().half(), some_images().cpu()) * 3:
        torch.manual_seed(3)
        expected = policy(images).detach()
        torch.manual_seed(3)
        assert torch.equal(graphed(images), expected)
    with torch.inference_mode():
        graphed(some_images()[:9])
        graphed(some_images()[:9])
        graphed(some_images()[:9])
    graphed(some_images()[:9])
