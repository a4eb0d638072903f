"""Every configuration composes, and its parts build."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from augrad import Policy
from augrad.cli.configs import config_directory
from augrad.cli.parts import recipe_of, regularizers_of, settings_of, starting_policy
from augrad.estimators.estimate import Estimator
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.objectives.objective import Objective
from augrad.settings import SearchSettings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and not folder.name.startswith("__"))

PLANTED = {"recover_rotation", "recover_invert", "recover_translation", "recover_brightness", "rotation_range"}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return compose(name, list(overrides))


def test_there_are_at_most_nine_groups_and_they_are_the_promised_ones() -> None:
    promised = {"data", "model", "space", "policy", "objective", "estimator", "hypergradient", "tracker", "experiment"}
    assert set(GROUPS) == promised


@pytest.mark.parametrize("name", ["search", "train", "compare"])
def test_the_promised_keys_are_there(name: str) -> None:
    config = composed(name)
    assert config.seed == 0
    assert config.device == "auto"
    assert config.train.epochs > 0
    assert config.train.batch_size == "auto"
    assert config.tracker._target_.endswith("NoTracker")


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in options(g)])
def test_every_option_composes_into_a_search(group: str, option: str) -> None:
    extra = ["data.path=x.npz"] if option == "arrays" else []
    if (group, option) == ("policy", "file"):
        extra = ["policy.file=identity"]
    if (group, option) == ("model", "torch"):
        extra = ["model.path=augrad.models.small_conv:SmallConvNet"]
    config = composed("search", f"{group}={option}", *extra)
    SearchSettings(**settings_of(config.search, "optimizer", "policy_optimizer", "regularizers"))
    assert isinstance(instantiate(config.estimator), Estimator)
    assert isinstance(instantiate(config.objective), Objective)
    assert len(regularizers_of(config)) in (2, 3)
    assert isinstance(instantiate(config.hypergradient), Hypergradient)
    instantiate(config.tracker)
    recipe_of(config)
    assert isinstance(starting_policy(config, 0), Policy)
    assert instantiate(config.model)(in_channels=1, class_count=10) is not None


@pytest.mark.parametrize("option", options("experiment"))
def test_every_experiment_composes_for_train_and_compare(option: str) -> None:
    for name in ("train", "compare"):
        assert (composed(name, f"experiment={option}").data.planted is not None) == (option in PLANTED)


def test_one_word_changes_a_range_or_removes_an_operation() -> None:
    config = composed("search", "space.ops.rotate.high=45", "~space.ops.solarize")
    policy = starting_policy(config, 0)
    names = [op.name for op in policy.ops]
    assert "solarize" not in names
    assert float(policy.tables.high[0, 0, names.index("rotate")]) == 45.0
