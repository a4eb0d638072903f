"""Searches on a GPU: passes as CUDA graphs give what they give kernel by kernel, and nothing waits for the device."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augrad.cuda_graphs import Graphs
from augrad.data.batches import EpochBatches
from augrad.data.types import Split, Splits
from augrad.errors import AugradWarning
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.relax import Relax
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.capturable import can_be_captured
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.bilevel import Bilevel
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.search import SearchParts, new_state, search_step
from augrad.settings import SearchSettings

BATCH = 24


def some_splits(device: str) -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 * BATCH, 3, 16, 16), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(4 * BATCH) % 4).to(torch.device(device))
    return Splits("random", 4, split, split, split, split, "0" * 64)


def a_search(graphs: bool | None, model: Any, estimator: Any, hypergradient: Any, derivative: Any = "jvp") -> Any:
    """A search's state and its step, without a warm-up."""
    device, data = torch.device("cuda"), some_splits("cuda")
    settings = SearchSettings(
        steps=100, batch_size=BATCH, validation_batch_size=BATCH, warmup_steps=0, clip_norm=1.0, cuda_graphs=graphs
    )
    objective = Bilevel(derivative)
    parts = SearchParts(data, objective, estimator, hypergradient, settings, 0, device)
    space = make_space(dict.fromkeys(["identity", "rotate", "color", "contrast", "cutout"]))
    state = new_state(
        objective.model(model, data, 0, device),
        initial_policy(space, subpolicies=2, stages=2).to(device),
        lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda parameters: torch.optim.Adam(parameters, lr=0.1),
        parts,
    )
    training, validation = EpochBatches(4 * BATCH, BATCH, 0, device), EpochBatches(4 * BATCH, BATCH, 1, device)

    def step() -> dict[str, Tensor]:
        found = search_step(state, parts, training, validation)
        state.step += 1
        return found

    return state, step


def wide(in_channels: int, class_count: int) -> nn.Module:
    return WideResNet(in_channels, class_count, 10, 1)


def small(in_channels: int, class_count: int) -> nn.Module:
    return SmallConvNet(in_channels, class_count, width=8)


CASES = {
    "RELAX": (wide, Relax(), OneStep()),
    "shared difference": (small, Gumbel(), OneStep(), "shared_difference"),
    "unrolled": (wide, Gumbel(), Unrolled(steps=2)),
    "pathwise": (small, Gumbel(magnitude="pathwise"), OneStep()),
}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in full single precision, each time in the same order: what is left is no rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_graphs_give_what_kernels_give(case: str, exact: None) -> None:
    (state, with_graphs), (other, without) = (a_search(graphs, *CASES[case]) for graphs in (None, False))
    kept = [dict(with_graphs()) for _ in range(6)]  # an output that the next step overwrites would show
    assert all(graph is not None for graph in state.graphs._captured.values())
    assert {key[0] for key in state.graphs._captured} >= {"training pass", "validation pass"}
    for found in kept:
        expected = without()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=2e-3, atol=2e-4, msg=lambda m, name=name: f"{name}: {m}"
            )
    for name, buffer in other.model.state_dict().items():  # running statistics moved once a step
        torch.testing.assert_close(state.model.state_dict()[name], buffer, rtol=2e-3, atol=2e-3)


@pytest.mark.gpu
def test_a_step_with_graphs_waits_for_nothing() -> None:
    _, step = a_search(None, *CASES["RELAX"])
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_what_cannot_be_captured_runs_as_it_stands() -> None:
    graphs = Graphs(enabled=True)
    value = torch.ones(3, device="cuda")

    def waits(tensor: Tensor) -> tuple[Tensor]:
        return (tensor * float(tensor.sum()),)

    assert torch.equal(graphs("waits", waits, value)[0], 3 * value)
    with pytest.warns(AugradWarning, match="cannot be captured"):
        assert torch.equal(graphs("waits", waits, value)[0], 3 * value)
    assert torch.equal(graphs("waits", waits, 2 * value)[0], 12 * value)
    torch.rand(3, device="cuda")  # PyTorch's own generator is free again


@pytest.mark.gpu
def test_a_kernel_is_compiled_once_for_all_stages() -> None:
    from augrad.engines.triton.backward import stage_gradient_kernel
    from augrad.engines.triton.forward import stage_kernel

    # A width that no other test has: its own compilation.
    policy = initial_policy(make_space(dict.fromkeys(["rotate", "color", "cutout"])), stages=3, probability=0.9).cuda()
    images = torch.rand(5, 3, 48, 80, device="cuda", requires_grad=True)
    device = torch.cuda.current_device()

    def variants() -> list[int]:
        return [len(kernel.device_caches[device][0]) for kernel in (stage_kernel, stage_gradient_kernel)]

    before = variants()
    policy(images).sum().backward()
    assert [after - count for after, count in zip(variants(), before, strict=True)] <= [1, 1]


def test_networks_of_others_are_not_captured_unasked() -> None:
    class Own(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    assert can_be_captured(wide(3, 4))
    assert can_be_captured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    assert not can_be_captured(WideResNet(3, 4, 10, 1, dropout=0.3))
    assert not can_be_captured(nn.Sequential(wide(3, 4), Own()))


def test_off_the_gpu_a_function_is_called_as_it_stands() -> None:
    graphs, calls = Graphs(enabled=True), []

    def counted(tensor: Tensor, others: list[Tensor]) -> tuple[Tensor]:
        calls.append(tensor)
        return (tensor + sum(others),)

    for number in range(3):
        value = torch.full((2,), float(number))
        assert torch.equal(graphs("sum", counted, value, [value, value])[0], 3 * value)
    assert len(calls) == 3
