"""The named recipes: the papers' numbers on each data set, and a few real steps of each on the digits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

import augrad as library
from augrad.cli import main
from augrad.cli.configs import config_directory
from augrad.cli.parts import exported, regularizers_of, settings_of, standard_of, starting_policy
from augrad.data.standard import StandardAugmentation
from augrad.estimators.mixture import Mixture
from augrad.estimators.relax import Relax
from augrad.learning.step import build_optimizer
from augrad.objectives.adversarial import Adversarial
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import require_fitting
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.settings import SearchSettings

RECIPES = ["dada", "dada_gumbel", "faster_autoaugment", "ddas", "madao", "adversarial_autoaugment", "online"]
DATA = ["digits", "folder", "fashion_mnist", "cifar10", "cifar100", "svhn", "imagenet"]


def composed(recipe: str, data: str = "digits", *overrides: str, name: str = "search") -> DictConfig:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return compose(name, [f"experiment={recipe}", f"data={data}", *overrides])


def settings(config: DictConfig) -> SearchSettings:
    return SearchSettings(**settings_of(config.search, "optimizer", "policy_optimizer", "regularizers"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("data", DATA)
def test_every_recipe_goes_with_every_data_set(recipe: str, data: str) -> None:
    config = composed(recipe, data)
    settings(config)
    require_fitting(*(instantiate(config[part]) for part in ("objective", "hypergradient", "estimator")))
    regularizers_of(config)
    policy = starting_policy(config, 0)
    exported(policy, config)
    assert instantiate(config.model)(in_channels=3, class_count=10) is not None
    for part in ("optimizer", "policy_optimizer"):
        build_optimizer(instantiate(config.search[part]), list(policy.parameters()), part)
    for name in ("train", "compare"):
        composed(recipe, data, name=name)


PUBLISHED: dict[tuple[str, str], dict[str, Any]] = {
    ("dada", "cifar10"): {
        "search.steps": 20 * (2000 // 128), "search.batch_size": 128, "search.optimizer.lr": 0.1,
        "search.optimizer.weight_decay": 2e-4, "data.reduced": 4000, "data.validation_fraction": 0.5,
        "model.depth": 40, "model.widen_factor": 2,
    },
    ("dada", "cifar100"): {
        "search.steps": 20 * (2000 // 32), "search.batch_size": 32, "search.optimizer.lr": 0.1,
        "search.optimizer.weight_decay": 5e-4, "data.reduced": 4000, "data.validation_fraction": 0.5,
        "model.depth": 40, "model.widen_factor": 2,
    },
    ("dada", "svhn"): {
        "search.steps": 20 * (500 // 32), "search.batch_size": 32, "search.optimizer.lr": 0.00125,
        "search.optimizer.weight_decay": 1e-3, "data.reduced": 1000, "data.validation_fraction": 0.5,
        "model.depth": 28, "model.widen_factor": 10,
    },
    ("dada", "imagenet"): {
        "search.steps": 20 * (3000 // 32), "search.batch_size": 32, "search.optimizer.lr": 0.00125,
        "search.optimizer.weight_decay": 1e-4, "data.reduced": 6000, "data.validation_fraction": 0.5,
        "data.classes": 120, "data.size": 224, "model._target_": "augrad.models.resnet.resnet_50",
    },
    **{
        ("faster_autoaugment", data): {
            "search.steps": 20 * (4000 // 128), "search.batch_size": 128, "model.depth": 40, "model.widen_factor": 2,
            "search.optimizer.lr": 1e-3, "search.policy_optimizer.lr": 1e-3,
        }
        for data in ("cifar10", "cifar100", "svhn")
    },
}  # fmt: skip
PUBLISHED |= {("dada_gumbel", data): numbers for (recipe, data), numbers in PUBLISHED.items() if recipe == "dada"}


@pytest.mark.parametrize(("recipe", "data"), PUBLISHED)
def test_the_papers_numbers_for_each_data_set(recipe: str, data: str) -> None:
    config = composed(recipe, data)
    assert {key: OmegaConf.select(config, key) for key in PUBLISHED[recipe, data]} == PUBLISHED[recipe, data]
    if recipe == "faster_autoaugment":
        pool = config.data.reduced
        assert pool - round(config.data.validation_fraction * pool) == 4000
    else:
        peak, end = config.search.optimizer.lr, config.search.optimizer.lr * config.search.final_rate
        assert (config.search.schedule, end) == ("cosine", pytest.approx(1e-3))
        assert peak == PUBLISHED[recipe, data]["search.optimizer.lr"]


# smallest_area, crop_padding, flip and cutout beside the policy: in the search, and in the training after it.
CIFAR, HOUSE_NUMBERS, PHOTOS = (1.0, 4, True, 16), (1.0, 4, True, 20), (0.08, 0, True, 0)
STANDARD = {
    ("online", "digits"): ((1.0, 0, False, 0),) * 2,
    ("online", "svhn"): ((1.0, 4, False, 20),) * 2,
    ("dada", "cifar10"): (CIFAR,) * 2,
    ("dada_gumbel", "cifar100"): (CIFAR,) * 2,
    ("dada", "svhn"): (CIFAR, HOUSE_NUMBERS),  # the search cuts out as much as on CIFAR
    ("dada_gumbel", "imagenet"): ((0.08, 0, True, 16), PHOTOS),
    ("faster_autoaugment", "cifar10"): ((1.0, 4, True, 0), CIFAR),
    ("faster_autoaugment", "svhn"): ((1.0, 4, False, 0), (1.0, 4, False, 20)),
}


@pytest.mark.parametrize(("recipe", "data"), STANDARD)
def test_what_images_undergo_beside_the_policy(recipe: str, data: str) -> None:
    for name, expected in zip(("search", "train"), STANDARD[recipe, data], strict=True):
        found = standard_of(composed(recipe, data, name=name))
        assert (found.smallest_area, found.crop_padding, found.flip, found.cutout) == expected


def test_what_images_undergo_can_be_said() -> None:
    assert standard_of(composed("dada", "cifar10", "standard.cutout=3")) == StandardAugmentation(4, True, 3)
    assert standard_of(composed("dada", "cifar10", "standard=null")) == StandardAugmentation()


def test_the_final_training_on_imagenet() -> None:
    train = composed("dada", "imagenet", name="train").train
    assert (train.epochs, train.batch_size, train.warmup_epochs) == (270, 512, 3.0)
    assert (train.optimizer.lr, train.optimizer.weight_decay, train.optimizer.nesterov) == (0.1 * 2, 1e-4, True)


# Epochs, warm-up, batch, peak learning rate, weight decay and limit of the gradient, of the training after the search.
FINAL = {
    ("dada", "cifar10"): (200, 5.0, 512, 0.1 * 4, 2e-4, 5.0),
    ("dada", "cifar100"): (200, 5.0, 512, 0.1 * 4, 5e-4, 5.0),
    ("dada_gumbel", "svhn"): (200, 5.0, 1024, 0.02 * 4, 5e-4, 5.0),
    ("dada", "imagenet"): (270, 3.0, 512, 0.1 * 2, 1e-4, None),
    **{("faster_autoaugment", data): (200, 5.0, 128, 0.1, 5e-4, None) for data in ("cifar10", "cifar100", "svhn")},
}


@pytest.mark.parametrize(("recipe", "data"), FINAL)
@pytest.mark.parametrize("name", ["train", "compare"])
def test_the_final_training(recipe: str, data: str, name: str) -> None:
    config = composed(recipe, data, name=name)
    train = config.train
    found = (train.epochs, train.warmup_epochs, train.batch_size, train.optimizer.lr, train.optimizer.weight_decay)
    assert (*found, train.clip_norm) == FINAL[recipe, data]
    assert (train.schedule, train.final_rate, train.optimizer.nesterov) == ("cosine", 0.0, True)
    assert (config.with_validation, config.with_selection, config.final_training) == (True, True, True)


def test_the_control_variate_has_the_papers_size() -> None:
    found = instantiate(composed("dada").estimator)
    assert (found.hidden, found.learning_rate) == (100, 0.005)


def test_faster_autoaugment_starts_where_the_paper_does() -> None:
    """w uniform in 0..1, so that softmax(w / 0.05) has 2.7 effective operations of 15; so are all other numbers."""
    policy = starting_policy(composed("faster_autoaugment"), 0)
    weights = policy.op_logits.detach() * 0.05
    assert 0 <= float(weights.min()) < 0.02 < 0.98 < float(weights.max()) <= 1
    chosen = policy.op_probabilities().detach()
    assert float((-(chosen * chosen.log()).sum(-1)).exp().mean()) == pytest.approx(2.7, abs=0.6)
    gates = policy.gate_probabilities().detach()
    assert (float(gates.mean()), float(gates.std())) == pytest.approx((0.5, 12**-0.5), abs=0.06)
    other = starting_policy(composed("faster_autoaugment"), 1)
    assert not torch.equal(policy.op_logits, other.op_logits)
    ends = {c.op.name: (c.low, c.high) for c in instantiate(composed("faster_autoaugment").space).candidates}
    assert ends["posterize"] == (8.0, 1.0)
    assert all(ends[name] == (0.0, 1.0) for name in ("brightness", "color", "contrast", "sharpness"))


@pytest.mark.parametrize(
    ("command", "recipe", "words"),
    [
        ("train", "dada", "it has one on data=cifar10, cifar100, imagenet, svhn"),
        ("compare", "faster_autoaugment", "it has one on data=cifar10, cifar100, svhn"),
        *((command, recipe, "it has none on any") for command, recipe in
          [("train", "online"), ("compare", "madao"), ("train", "ddas"), ("compare", "adversarial_autoaugment")]),
    ],
)  # fmt: skip
def test_no_final_training_is_made_up(command: str, recipe: str, words: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, f"experiment={recipe}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"experiment: {recipe} has no training after the search on data=digits ({words})" in told
    assert f"leave experiment={recipe} out" in told


@pytest.mark.parametrize("recipe", ["dada", "dada_gumbel"])
def test_dada(recipe: str) -> None:
    config = composed(recipe)
    policy = starting_policy(config, 0)
    assert policy.shape == (105, 2, 1)
    learned = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert learned == {"subpolicy_logits", "gate_logits", "magnitude_locations"}
    assert bool((policy.gate_probabilities() == 0.5).all())
    estimator = instantiate(config.estimator)
    assert estimator.temperature == 0.5
    assert isinstance(estimator, Relax) == (recipe == "dada")
    optimizer = build_optimizer(instantiate(config.search.policy_optimizer), list(policy.parameters()), "")
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], list(optimizer.defaults["betas"])) == (0.005, [0.5, 0.999])
    assert (config.search.clip_norm, config.search.optimizer.momentum) == (5.0, 0.9)
    assert exported(policy, config).shape == (25, 2, 1)
    torch.testing.assert_close(
        exported(policy, config).subpolicy_probabilities().detach(), torch.full((25,), 0.04, dtype=torch.float64)
    )


def test_faster_autoaugment() -> None:
    config = composed("faster_autoaugment")
    policy = starting_policy(config, 0)
    assert policy.shape == (10, 2, 15)
    objective, estimator = instantiate(config.objective), instantiate(config.estimator)
    assert objective == DensityMatching(penalty_weight=10.0, class_weight=0.1)
    assert estimator == Mixture(1.0, 1.0, 0.1, "uniform")
    for part in ("optimizer", "policy_optimizer"):
        optimizer = build_optimizer(instantiate(config.search[part]), list(policy.parameters()), part)
        assert isinstance(optimizer, torch.optim.Adam)
        assert (optimizer.defaults["lr"], list(optimizer.defaults["betas"])) == (1e-3, [0.0, 0.999])
    # softmax(w / 0.05) of the paper, as logits w / 0.05 whose steps are 1 / 0.05 as long.
    assert settings(config).policy_rates == {"op_logits": pytest.approx(1 / 0.05)}


def test_the_adversary_is_bounded() -> None:
    config = composed("adversarial_autoaugment")
    assert instantiate(config.objective) == Adversarial(teacher_weight=0.0)
    assert any(isinstance(term, SelectionEntropy) and term.weight > 0 for term in regularizers_of(config))
    taught = composed("adversarial_autoaugment", "digits", "objective.teacher_weight=1.0")
    assert instantiate(taught.objective).teacher_weight == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_few_steps_on_the_digits(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["search.steps=3", "search.batch_size=32", "search.select_every=2", "search.log_every=1", "model.width=8"]
    status = main(["search", f"experiment={recipe}", *small, "compare=null", "hydra.run.dir=out"])
    assert status == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    policy = library.load_policy(tmp_path / "out" / "policy.json")
    assert policy(torch.rand(4, 1, 16, 16)).shape == (4, 1, 16, 16)
    assert len(policy.slots) == {"dada": 25, "dada_gumbel": 25, "faster_autoaugment": 10}.get(
        recipe, composed(recipe).policy.subpolicies if "subpolicies" in composed(recipe).policy else 1
    )
    assert policy.provenance["metrics"]["policy_from_step"] == 3
    kept = recipe in ("online", "madao", "adversarial_autoaugment")
    assert (tmp_path / "out" / "model.pt").exists() == kept
