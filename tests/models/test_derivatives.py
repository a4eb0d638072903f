"""Both nets under the derivatives that a search takes of them: in the weights, forward, and then back to the images."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy

from augrad.models.init import seeded
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet

# torch's first forward-mode pass imports a module of its own that uses what torch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")

BUILD = {
    "small relu max": lambda: SmallConvNet(1, 4, width=8, activation="relu", pool="max"),
    "small silu average": lambda: SmallConvNet(1, 4, width=8, activation="silu", pool="average"),
    "wide": lambda: WideResNet(1, 4, depth=10, widen_factor=1),
    "wide, widened": lambda: WideResNet(1, 4, depth=16, widen_factor=2),
    "wide, dropout": lambda: WideResNet(1, 4, depth=10, widen_factor=1, dropout=0.3),
}


class Problem:
    """A net in float64, three images, their labels, weights as leaves, and a direction in weight space."""

    def __init__(self, name: str) -> None:
        self.model = seeded(BUILD[name], 0).double()
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
        generator = torch.Generator().manual_seed(1)
        self.images = torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        self.labels = torch.tensor([0, 3, 1])
        self.weights = {name: w.detach().clone() for name, w in self.model.named_parameters()}
        self.u = {name: torch.randn(w.shape, generator=generator).to(w) for name, w in self.weights.items()}
        self.cotangent = torch.randn(3, generator=generator, dtype=torch.float64)

    def losses(self, weights: dict[str, Tensor]) -> Tensor:
        for module in self.model.modules():
            if hasattr(module, "count"):
                module.count = 0  # the same dropout masks in every pass
        return cross_entropy(functional_call(self.model, weights, (self.images,)), self.labels, reduction="none")

    def scores(self) -> Tensor:
        """s_i by forward-mode differentiation."""
        return jvp(self.losses, (self.weights,), (self.u,))[1]

    def scores_in_reverse(self) -> list[Tensor]:
        """s_i by one backward pass for each image, differentiable again."""
        leaves = {name: weight.clone().requires_grad_() for name, weight in self.weights.items()}
        found = []
        for loss in self.losses(leaves):
            gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
            found.append(sum((g * d).sum() for g, d in zip(gradients, self.u.values(), strict=True)))
        return found


@pytest.fixture(params=BUILD)
def problem(request) -> Problem:
    return Problem(request.param)


def test_forward_mode_agrees_with_reverse_mode(problem):
    scores = problem.scores()
    expected = torch.stack(problem.scores_in_reverse())
    assert scores.dtype == torch.float64
    assert scores.abs().min() > 1e-3
    torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-10)


def test_reverse_over_forward_agrees_with_reverse_over_reverse(problem):
    (found,) = torch.autograd.grad(problem.scores() @ problem.cotangent, problem.images)
    scalar = torch.stack(problem.scores_in_reverse()) @ problem.cotangent
    (expected,) = torch.autograd.grad(scalar, problem.images)
    assert expected.abs().amax(dim=(1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_evaluation_mode_too(problem):
    problem.model.eval()
    for module in problem.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = True
            module.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(problem.scores(), torch.stack(problem.scores_in_reverse()), rtol=1e-9, atol=1e-10)


def test_no_pass_leaves_a_trace_in_the_module(problem):
    before = {name: value.clone() for name, value in problem.model.state_dict().items() if "_extra_state" not in name}
    torch.autograd.grad(problem.scores().sum(), problem.images)
    after = problem.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in problem.model.parameters())


def test_the_scores_predict_the_change_of_the_losses():
    """Against a true finite difference, where the function is smooth."""
    problem, step = Problem("small silu average"), 1e-5
    ahead, behind = (
        problem.losses({name: w + sign * step * problem.u[name] for name, w in problem.weights.items()})
        for sign in (1, -1)
    )
    torch.testing.assert_close(problem.scores(), (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["small relu max", "wide"])
def test_functional_call_uses_the_weights_it_is_given(name):
    problem, other = Problem(name), seeded(BUILD[name], 5).double()
    images = problem.images.detach()
    found = functional_call(problem.model, dict(other.named_parameters()), (images,))
    torch.testing.assert_close(found, other(images))
    assert not torch.allclose(found, problem.model(images))
