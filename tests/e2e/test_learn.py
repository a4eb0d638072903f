"""augrad.learn: a search from Python. It is the command's search, and leaves what it is given as it was."""

import json
import re
import signal
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import augrad as library
from augrad import Splits, UserError
from augrad.cli.configs import config_directory
from augrad.cli.parts import starting_policy
from augrad.data.digits import load_digits
from augrad.data.folder import load_folder
from augrad.data.standard import StandardAugmentation
from augrad.errors import AugradWarning
from augrad.models.small_conv import SmallConvNet
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from augrad.search.learn_policy import default_start
from problems import shapes_unchecked

STEPS = {"steps": 6, "batch_size": 32, "validation_batch_size": 32, "select_every": 2, "warmup_steps": 0}
STEPS |= {"checkpoint_every": 3, "log_every": 2}
SMALL = partial(SmallConvNet, width=16)


@pytest.fixture(scope="module")
def digits() -> Splits:
    """Those of the command's small runs (`small_runs.SMALL`)."""
    return load_digits(train_size=200, validation_size=60, selection_size=60)


def warnings_ignored(function: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Without PyTorch's warnings of what it deprecates."""

    def call() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function()

    return call


def plain_model(outputs: int = 10) -> nn.Module:
    """A network of a user's, with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, outputs))


class Restless(nn.Module):
    """Counts its passes and draws a number in each of them, in every mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return values + 0.01 * torch.rand(())


class Auxiliary(nn.Module):
    """Two outputs in training mode, as torchvision's GoogLeNet has three."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Any:
        logits = self.head(images.flatten(1))
        return (logits, logits) if self.training else logits


@warnings_ignored
def with_old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(256, 10)))


@warnings_ignored
def scripted() -> nn.Module:
    return torch.jit.script(plain_model())  # type: ignore[no-any-return]


def hooked(hook: Callable[[nn.Module], object]) -> nn.Module:
    network = plain_model()
    hook(network)
    return network


def few_ops(probability: float = 0.75) -> library.Policy:
    space = {"rotate": {"high": 40.0}, "invert": None, "identity": None}
    return library.Policy.over(space, stages=2, probability=probability)


def learned(data: Splits, model: Any = SMALL, **arguments: Any) -> library.SearchResult:
    return library.learn(data, model, device="cpu", **{**STEPS, **arguments})


def policy_text(policy: library.Policy) -> str:
    return format_policy(document_of(policy, {}))


def without_clock(rows: list[Any]) -> list[Any]:
    return [{key: value for key, value in row.items() if key != "step_seconds"} for row in rows]


def same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


OTHER = {
    "objective": library.objectives.Adversarial(teacher_weight=0.5),
    "estimator": library.estimators.Reinforce(baseline="moving_average"),
    "regularizers": [library.regularizers.SelectionEntropy(), library.regularizers.IdentityPrior(0.1)],
    "standard": StandardAugmentation(crop_padding=2, flip=True),
    "policy_optimizer": partial(torch.optim.SGD, lr=0.05),
    "seed": 3,
    "clip_norm": 1.0,
}
AS_OVERRIDES = [
    *("objective=adversarial", "objective.teacher_weight=0.5", "estimator=reinforce", "seed=3", "search.clip_norm=1.0"),
    *("estimator.baseline=moving_average", "search.regularizers.identity_prior.weight=0.1", "standard.flip=true"),
    *("standard.crop_padding=2", "search.policy_optimizer._target_=torch.optim.SGD", "search.policy_optimizer.lr=0.05"),
    "~search.policy_optimizer.betas",
]


@pytest.mark.parametrize(("arguments", "overrides"), [({}, []), (OTHER, AS_OVERRIDES)], ids=["defaults", "others"])
def test_it_is_the_search_of_the_command(
    augrad, small, digits: Splits, tmp_path: Path, arguments: dict[str, Any], overrides: list[str]
) -> None:
    """Bit for bit: the policy file, every row of the metrics, the classifier."""
    done = augrad("search", *small, *overrides, "device=cpu", "compare=null", "choose=null", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    result = learned(digits, **arguments)
    of_the_command = library.load_policy(out / "policy.json")
    assert policy_text(result.policy) == policy_text(of_the_command)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seven_digits = [
        {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in row.items()}
        for row in result.metrics
    ]
    assert without_clock(seven_digits) == without_clock(rows)
    state = torch.load(out / "checkpoint.pt", weights_only=True)["state"]["state"]
    assert same_tensors(result.model.state_dict(), state["model"])
    assert same_tensors(result.final_policy.state_dict(), state["policy"])
    metrics = of_the_command.provenance["metrics"]
    assert result.test_accuracy == pytest.approx(metrics["search_classifier_test_accuracy"])  # rounded in the file
    assert result.best_loss == pytest.approx(metrics["selection_loss"])
    assert result.best_step == metrics["policy_from_step"]
    assert (result.steps, result.finished) == (6, True)


def test_what_it_is_given_stays_as_it_was(digits: Splits, capsys: pytest.CaptureFixture[str]) -> None:
    """Policy, model, its modes and counters, and the random numbers of the process: two calls give the same."""
    policy, model = few_ops(), nn.Sequential(*plain_model(), Restless()).eval()
    before = [{name: t.clone() for name, t in module.state_dict().items()} for module in (policy, model)]
    state = torch.get_rng_state()
    first, again = (learned(digits, model, policy=policy) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for module, tensors in zip((policy, model), before, strict=True):
        assert same_tensors(module.state_dict(), tensors)
    assert not any(module.training for module in model.modules())
    assert type(first.model) is type(model)
    assert not same_tensors(first.model.state_dict(), before[1])
    assert same_tensors(first.model.state_dict(), again.model.state_dict())
    assert policy_text(first.policy) == policy_text(again.policy) != policy_text(policy)
    assert capsys.readouterr() == ("", "")  # nothing is shown where nothing is asked for, and this is no terminal


def test_a_model_of_ones_own_learns(digits: Splits) -> None:
    """As it is, on images in [0, 1]; with the policy from the result in a file that tells where it comes from."""
    model = plain_model()
    result = learned(digits, model, policy=few_ops(), steps=60)
    test, loss = digits.test, []
    for module in (model, result.model):
        with torch.no_grad():
            loss.append(float(cross_entropy(module.eval()(test.images / 255), test.labels)))
    assert loss[1] < 0.8 * loss[0]
    assert result.test_accuracy > 0.5
    provenance = result.policy.provenance
    assert provenance["data"] == {"name": "digits", "sha256": digits.sha256}
    assert provenance["config"]["settings"]["steps"] == 60
    assert provenance["config"]["estimator"]["_target_"] == "augrad.estimators.gumbel.Gumbel"
    assert "provenance" in format_policy(document_of(result.policy))


def test_only_the_head_learns_where_the_rest_is_frozen(digits: Splits) -> None:
    model = plain_model()
    model[1].requires_grad_(False)
    result = learned(digits, model, policy=few_ops(), hypergradient=library.hypergradients.Unrolled(steps=2))
    assert same_tensors(result.model[1].state_dict(), model[1].state_dict())
    assert not same_tensors(result.model[4].state_dict(), model[4].state_dict())


def test_the_search_begins_where_the_command_does_where_no_policy_is_given(digits: Splits) -> None:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        start = starting_policy(compose("search"), 3)
    own = default_start(3)
    assert (own.layout, own.fill, own.interpolation) == (start.layout, start.fill, start.interpolation)
    assert all(map(torch.equal, own.params.tensors(), start.params.tensors()))
    assert learned(digits, steps=2).policy.layout == start.layout


def test_control_c_returns_what_was_learned(digits: Splits) -> None:
    before = signal.getsignal(signal.SIGINT)
    result = learned(digits, callback=lambda row: row["step"] == 2 and signal.raise_signal(signal.SIGINT))
    assert (result.steps, result.finished) == (3, False)
    assert [row["step"] for row in result.metrics] == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_callback_does_to_a_row_is_its_own_affair(digits: Splits) -> None:
    """As in `wandb.log(row, step=row.pop("step"))`."""
    result = learned(digits, callback=lambda row: row.pop("step") and row.clear())
    assert [row["step"] for row in result.metrics] == list(range(1, 7))
    assert all("val_loss" in row for row in result.metrics)


def test_a_callback_sees_every_row_and_may_end_it(digits: Splits) -> None:
    seen: list[Any] = []
    result = learned(digits, callback=lambda row: seen.append(row) or row["step"] == 4)
    assert seen == result.metrics
    assert (result.steps, result.finished) == (5, False)


def test_it_goes_on_from_its_checkpoint_bit_for_bit(digits: Splits, tmp_path: Path) -> None:
    whole, file = learned(digits, policy=few_ops()), tmp_path / "search.pt"
    cut = learned(digits, policy=few_ops(), checkpoint=file, callback=lambda row: row["step"] == 2)
    assert cut.steps == 3
    result = learned(digits, policy=few_ops(), checkpoint=file)
    assert without_clock(result.metrics) == without_clock(whole.metrics)
    assert policy_text(result.policy) == policy_text(whole.policy)
    assert same_tensors(result.model.state_dict(), whole.model.state_dict())
    again = learned(digits, policy=few_ops(), checkpoint=file)  # it is done already
    assert (again.steps, again.finished, again.metrics) == (6, True, result.metrics)


def _with_other_activation(**sizes: int) -> nn.Module:
    network = SmallConvNet(**sizes)
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.SiLU())
    return network


def test_a_checkpoint_of_another_search_is_refused_and_kept(digits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "search.pt"
    learned(digits, policy=few_ops(), steps=2, checkpoint=file)
    kept = file.read_bytes()
    others: list[tuple[dict[str, Any], str]] = [
        ({"steps": 7}, r"settings.steps=2, got 7"),
        ({"steps": 2, "seed": 1}, "seed=0, got 1"),
        ({"steps": 2, "estimator": library.estimators.Gumbel(temperature=2.0)}, "estimator.temperature=1.0, got 2.0"),
        ({"steps": 2, "policy": library.Policy.over(["rotate"], stages=2)}, "content of its policy"),
        ({"steps": 2, "policy": few_ops(probability=0.2)}, "other numbers of its policy"),
        ({"steps": 2, "model": partial(SmallConvNet, width=8)}, "another network"),
        ({"steps": 2, "data": load_digits(seed=1)}, "another division of its data"),
        ({"steps": 2, "model": partial(_with_other_activation)}, "another network"),
        ({"steps": 2, "optimizer": partial(torch.optim.SGD, lr=0.2)}, "optimizer"),
    ]
    for changed, words in others:
        with pytest.raises(UserError, match=words):
            learned(changed.pop("data", digits), **{"policy": few_ops(), "checkpoint": file, **changed})
        assert file.read_bytes() == kept
    file.write_text("my notes")
    with pytest.raises(UserError, match="no checkpoint"):
        learned(digits, policy=few_ops(), checkpoint=file)
    assert file.read_text() == "my notes"


def test_a_loss_that_explodes_leaves_what_was_learned_before(digits: Splits) -> None:
    with pytest.raises(library.NonFiniteError) as caught:
        learned(digits, optimizer=partial(torch.optim.SGD, lr=1e30), steps=20)
    result = caught.value.result
    assert isinstance(result, library.SearchResult)
    assert all(parameter.isfinite().all() for parameter in result.policy.parameters())
    assert not result.finished


def test_progress_is_shown_where_it_is_asked_for(digits: Splits, capsys: pytest.CaptureFixture[str]) -> None:
    learned(digits, plain_model(), policy=few_ops(), progress=True)
    assert "search 6/6  train " in capsys.readouterr().err


def test_a_policy_with_nothing_to_learn_is_told(digits: Splits) -> None:
    with pytest.warns(AugradWarning, match="nothing of it can be learned"):
        learned(digits, policy=library.load_policy("identity"), steps=1)


class ReturnsNumber:
    """A hypergradient method of somebody who has not read what it returns."""

    follows_rate = False
    passes = 0

    def __call__(self, levels: object, memory: object) -> int:
        return 3


class NumberForAim(library.objectives.Bilevel):
    """An objective that returns its loss."""

    def __call__(self, step: object) -> float:  # type: ignore[override]
        return 0.5


def test_a_folder_of_pictures_is_data(tmp_path: Path, digits: Splits) -> None:
    for index, (image, label) in enumerate(zip(digits.train.images[:200], digits.train.labels[:200], strict=True)):
        folder = tmp_path / "pictures" / "train" / f"class {int(label)}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    result = library.learn(str(tmp_path / "pictures"), size=16, channels=1, policy=few_ops(), **STEPS)
    again = library.learn(load_folder(tmp_path / "pictures", size=16, channels=1), policy=few_ops(), **STEPS)
    assert result.policy.provenance["data"]["name"] == "pictures"
    assert all(map(torch.equal, result.policy.parameters(), again.policy.parameters()))
    shown = result._repr_html_()
    assert "1 sub-policy" in shown
    assert "rotate" in shown
    np.savez(tmp_path / "mine.npz", train_images=digits.train.images[:, 0].numpy(), train_labels=digits.train.labels)
    assert library.learn(tmp_path / "mine.npz", policy=few_ops(), **STEPS).steps == 6


MISTAKES: dict[str, tuple[Callable[[Splits], Any], str]] = {
    "no data": (lambda data: library.learn("digits"), r"data: expected a Splits, got 'digits'; .*from_arrays"),  # type: ignore[arg-type]
    "a size without a folder": (lambda data: learned(data, size=16), r"^size: is for a folder of pictures, got Splits"),
    "no such setting": (lambda data: learned(data, stpes=3), r"stpes: no such argument; .* steps"),
    "a setting's value": (lambda data: learned(data, steps=0), r"^steps: expected more than 0, got 0$"),
    "true for a number": (lambda data: learned(data, steps=True), r"^steps: expected a whole number, got True$"),
    "NumPy's true": (lambda data: learned(data, steps=np.True_), r"^steps: expected a whole number, got .*True"),
    "a setting's type": (lambda data: learned(data, batch_size="many"), r"batch_size: .*got 'many'"),
    "a class": (lambda data: learned(data, estimator=library.estimators.Gumbel), r"estimator: .* write Gumbel\(\)"),
    "no estimator": (lambda data: learned(data, estimator="gumbel"), r"estimator: expected an Estimator, got 'gumbel'"),
    "any function as estimator": (
        lambda data: learned(data, estimator=abs),
        r"estimator: expected an Estimator, got .*abs.* \(it is called with scalar, policy, batch_size, generator",
    ),
    "a function of too little": (
        lambda data: learned(data, regularizers=[lambda: torch.zeros(())]),
        r"regularizers\[0\]: expected a Regularizer, got .*it is called with policy: too many positional arguments",
    ),
    "a hypergradient that returns a number": (
        lambda data: learned(data, hypergradient=ReturnsNumber()),
        r"hypergradient ReturnsNumber: expected augrad.hypergradients.hypergradient.Link from it, got int",
    ),
    "an objective that returns a number": (
        lambda data: learned(data, objective=NumberForAim()),
        r"objective NumberForAim: expected augrad.objectives.objective.Aim from it, got float; return one",
    ),
    "no optimiser": (lambda data: learned(data, optimizer=3), r"^optimizer: expected what makes an optimiser"),
    "no policy's optimiser": (
        lambda data: learned(data, policy_optimizer="adam"),
        r"^policy_optimizer: expected what makes an optimiser .* got 'adam'",
    ),
    "no policy": (lambda data: learned(data, policy="identity"), r"policy: expected a Policy.*load_policy"),
    "one regulariser": (
        lambda data: learned(data, regularizers=library.regularizers.IdentityPrior()),
        "regularizers: expected a sequence",
    ),
    "no regulariser": (lambda data: learned(data, regularizers=[3]), r"regularizers\[0\]: expected a Regularizer"),
    "no network": (lambda data: learned(data, 3), r"model: expected a torch.nn.Module, or what builds one"),
    "a builder of nothing": (lambda data: learned(data, plain_model), r"model: .*in_channels=1, class_count=10"),
    "too few outputs": (lambda data: learned(data, plain_model(7)), r"model: expected logits \[B, 10\].*\(2, 7\)"),
    "another size": (lambda data: learned(data, nn.Linear(3, 10)), r"model: cannot take .* \[2, 1, 16, 16\]"),
    "a builder of too few outputs": (
        lambda data: learned(data, lambda in_channels, class_count: plain_model(3)),
        r"model: expected logits \[B, 10\].*\(2, 3\)",
    ),
    "a builder of another size": (
        lambda data: learned(data, lambda in_channels, class_count: nn.Linear(3, 10)),
        r"model: cannot take .* \[2, 1, 16, 16\]",
    ),
    "a builder that returns nothing": (
        lambda data: learned(data, lambda in_channels, class_count: None),
        "model: expected what it builds to be a torch.nn.Module, got NoneType",
    ),
    "a critic's builder of too few outputs": (
        lambda data: learned(
            data,
            lambda in_channels, class_count: plain_model(10),
            objective=library.objectives.DensityMatching(),
        ),
        r"model: expected logits \[B, 11\].*\(2, 10\)",
    ),
    "a second output in training mode": (
        lambda data: learned(data, Auxiliary()),
        "model: expected logits .* got tuple in training mode; .*aux_logits",
    ),
    "what cannot be copied": (
        lambda data: learned(data, with_old_weight_norm()),
        "model: it is copied, .*; give what builds it .*parametrizations.weight_norm",
    ),
    "data parallel": (
        lambda data: learned(data, nn.Sequential(nn.DataParallel(plain_model()))),
        r"model: .* 0 \(DataParallel\) does not allow; give .*\.module",
    ),
    "a scripted network": (lambda data: learned(data, scripted()), "model: .*ScriptModule does not allow"),
    **{
        f"a hook: {name}": (lambda data, hook=hook: learned(data, hooked(hook)), f"model: gradients .* got the {of}")
        for name, (hook, of) in {
            "gradient": (
                lambda net: net[1].weight.register_hook(lambda gradient: 0 * gradient),
                "gradient hook of 1.w",
            ),
            "accumulated": (
                lambda net: net[1].bias.register_post_accumulate_grad_hook(lambda parameter: None),
                "gradient hook of 1.bias",
            ),
            "backward": (
                lambda net: net[1].register_full_backward_hook(lambda *of: None),
                r"backward hook of 1 \(Linear\)",
            ),
            "before backward": (
                lambda net: net.register_full_backward_pre_hook(lambda *of: None),
                "backward hook of a Sequential",
            ),
        }.items()
    },
    "an optimiser that is none": (
        lambda data: learned(data, optimizer=lambda parameters: None),
        "^optimizer: expected what makes a torch.optim.Optimizer .*, got NoneType",
    ),
    "a policy's optimiser that is none": (
        lambda data: learned(data, policy_optimizer=lambda parameters: 3),
        "^policy_optimizer: expected what makes a torch.optim.Optimizer .*, got int",
    ),
    "an estimator that returns nothing": (
        lambda data: learned(data, estimator=lambda *given: None),
        "^estimator <lambda>: expected augrad.estimators.estimate.Estimate from it, got NoneType",
    ),
    "a callback": (lambda data: learned(data, callback=3), "^callback: expected a function"),
    "all frozen": (lambda data: learned(data, plain_model().requires_grad_(False)), "model: .*frozen"),
    "an optimiser's value": (
        lambda data: learned(data, optimizer=partial(torch.optim.SGD, lr=-1.0)),
        "^optimizer: Invalid learning rate",
    ),
    "a group of parameters": (lambda data: learned(data, policy_rates={"ops": 2.0}), "^policy_rates: .*got ops"),
    "objective and method": (
        lambda data: learned(
            data, objective=library.objectives.Adversarial(), hypergradient=library.hypergradients.OneStep()
        ),
        "does not follow a loss through the steps of a training",
    ),
    "a critic's network": (
        lambda data: learned(data, plain_model(), objective=library.objectives.DensityMatching()),
        "model: DensityMatching",
    ),
    "seed": (lambda data: learned(data, seed=-1), "seed: expected a whole number"),
    "device": (lambda data: library.learn(data, device="tpu"), "device: expected auto, cpu or cuda"),
    "a name with a null byte": (lambda data: learned(data, checkpoint="a\0b"), "expected the path of a file, got"),
    "a name that is too long": (lambda data: learned(data, checkpoint="a" * 300), "checkpoint|aaa"),
    "a folder that is not there": (lambda data: learned(data, checkpoint="/dev/null/search.pt"), "/dev/null"),
    "standard": (lambda data: learned(data, standard=None), "standard: expected a StandardAugmentation"),
    "a crop larger than the image": (
        lambda data: learned(data, standard=StandardAugmentation(crop_padding=16)),
        "crop_padding: expected fewer pixels",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_the_argument(digits: Splits, mistake: str) -> None:
    call, words = MISTAKES[mistake]
    with shapes_unchecked(), pytest.raises(UserError, match=words):
        call(digits)


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "augrad.learn(" in block)
    assert block.count("steps=300") == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block.replace("steps=300", "steps=3"), names)
    assert len(names["result"].metrics) == 3
    assert policy_text(library.load_policy("policy.json")) == policy_text(names["result"].policy)


def test_searches_in_several_threads_are_those_alone(digits: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.Dropout(0.5), nn.Linear(8, 10))

    def rows(seed: int) -> list[Any]:
        return without_clock(learned(digits, model, seed=seed, policy=few_ops()).metrics)

    alone, before = [rows(seed) for seed in range(3)], torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(rows, range(3))) == alone
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("built", [False, True])
def test_lazy_layers_get_weights_by_the_seed_and_the_users_stay_lazy(digits: Splits, built: bool) -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.SiLU(), nn.Flatten(), nn.Dropout(0.2), nn.LazyLinear(10)
        )

    def found(network: nn.Module, seed: int) -> dict[str, Tensor]:
        model = (lambda in_channels, class_count: network) if built else network
        return learned(digits, model, seed=seed, policy=few_ops(), steps=2).model.state_dict()

    network, before = lazy(), torch.get_rng_state()
    one, again, other = found(network, 1), found(lazy(), 1), found(lazy(), 2)
    assert same_tensors(one, again)
    assert not same_tensors(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    if not built:
        assert isinstance(network[0], nn.LazyConv2d)
        assert isinstance(network[1], nn.LazyBatchNorm2d)
        assert network.train()(torch.rand(2, 1, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize("part", ["term", "estimator"])
def test_a_gradient_that_is_no_number_leaves_what_was_learned_and_names_its_part(digits: Splits, part: str) -> None:
    calls = []

    def spoiled() -> float:
        calls.append(0)
        return float("nan") if len(calls) > 3 else 0.1

    def term(policy: library.Policy) -> Tensor:
        return policy.op_logits.sum() * spoiled()

    def estimator(*given: Any) -> Any:
        found = library.estimators.Gumbel()(*given)
        return replace(found, grads=found.grads.map(lambda grad: grad * spoiled()))

    parts = {"regularizers": [term]} if part == "term" else {"estimator": estimator}
    with pytest.raises(library.NonFiniteError, match=rf"\b{part}\b") as caught:
        learned(digits, plain_model(), policy=few_ops(), steps=12, log_every=12, select_every=12, **parts)
    result = caught.value.result
    assert all(parameter.isfinite().all() for parameter in result.policy.parameters())
    assert not result.finished


@pytest.mark.parametrize("true", [True, np.True_, np.array(True), torch.tensor(True)])
def test_any_true_of_a_callback_ends_the_search(digits: Splits, true: Any) -> None:
    result = learned(digits, plain_model(), policy=few_ops(), callback=lambda row: true)
    assert not result.finished
    assert result.steps < STEPS["steps"]


@pytest.mark.parametrize("other", [None, 1, "stop", np.float64(1), torch.tensor(1), torch.tensor([True, True])])
def test_nothing_else_of_a_callback_ends_it(digits: Splits, other: Any) -> None:
    assert learned(digits, plain_model(), policy=few_ops(), callback=lambda row: other).finished
