"""A default stands in a YAML file and in Python: here they are held together."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from augrad import Policy, Splits, learn
from augrad.data.arrays import load_arrays
from augrad.estimators import Gumbel
from augrad.hypergradients import OneStep
from augrad.ops.space import published_space
from augrad.policy.initial import initial_policy
from augrad.settings import SearchSettings, TrainSettings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = [*CONFIGS.glob("*.yaml"), *CONFIGS.glob("*/*.yaml")]

ON_PURPOSE = {
    # What a file is named after.
    *("model/wrn_16_2.yaml depth", "model/wrn_28_10.yaml depth", "model/wrn_28_10.yaml widen_factor"),
    *(f"model/shake_shake_26_2x{width}d.yaml width" for width in (96, 112)),
    *(f"space/{n}.yaml interpolation" for n in ("autoaugment", "dada", "randaugment", "trivialaugment_wide")),
    # Where a search begins. A policy in Python begins in the middle.
    *(f"policy/default.yaml {name}" for name in ("stages", "probability", "level")),
    # Ten times as many steps, which are shorter.
    "experiment/persistent.yaml search.policy_optimizer lr",
    # Terms that are there to be turned on.
    *(f"search.yaml search.regularizers.{name} weight" for name in ("strength_reward", "identity_prior")),
}


def parts(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """What a file builds by `_target_`, and where it says so."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("augrad."):
            yield place, node
        for key, value in node.items():
            yield from parts(value, f"{place}.{key}".lstrip("."))


def differences() -> dict[str, tuple[Any, Any]]:
    """Every value in a file that is not the default of the argument that it is given to."""
    found = {}
    for path in FILES:
        for place, node in parts(yaml.safe_load(path.read_text())):
            defaults = inspect.signature(get_object(node["_target_"])).parameters
            for key, value in node.items():
                if str(value).startswith("${") or (isinstance(value, dict) and "_target_" in value):
                    continue  # it stands elsewhere
                if value is None and key not in defaults:
                    continue  # what another optimizer has in its place: left out where it is built
                default = inspect.Parameter.empty if key.startswith("_") else defaults[key].default
                given = tuple(value) if isinstance(default, tuple) else value
                if default is not inspect.Parameter.empty and value != "???" and given != default:
                    name = " ".join(filter(None, [str(path.relative_to(CONFIGS)), place, key]))
                    found[name] = (value, default)
    return found


def test_parts_have_the_defaults_of_their_files() -> None:
    assert set(differences()) == ON_PURPOSE, differences()


@pytest.mark.parametrize(
    ("settings", "file", "group"), [(SearchSettings, "search.yaml", "search"), (TrainSettings, "recipe.yaml", "train")]
)
def test_settings_have_the_defaults_of_their_file(settings: type, file: str, group: str) -> None:
    written = yaml.safe_load((CONFIGS / file).read_text())[group]
    defaults = dataclasses.asdict(settings())
    assert {key: written.get(key, "missing") for key in defaults} == defaults


def built_by(node: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a part names, and the arguments that it gives."""
    return get_object(node["_target_"]), {key: value for key, value in node.items() if not key.startswith("_")}


def group(name: str, option: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / name / f"{option}.yaml").read_text())


def test_learn_has_the_defaults_of_the_command() -> None:
    """Its parts are the options that the command takes, with the values of their files (see the first test)."""
    default = {name: parameter.default for name, parameter in inspect.signature(learn).parameters.items()}
    shared = yaml.safe_load((CONFIGS / "parts.yaml").read_text())
    chosen = {name: option for entry in shared["defaults"] if isinstance(entry, dict) for name, option in entry.items()}
    node = group("objective", chosen["objective"])
    assert type(default["objective"]) is built_by(node.get("objective", node))[0]
    assert default["objective"] == type(default["objective"])()
    assert default["model"] is built_by(group("model", chosen["model"]))[0]
    for name, needed in {"hypergradient": OneStep, "estimator": Gumbel}.items():
        # None: as the objective needs, which is this one here.
        assert (default[name], built_by(group(name, chosen[name]))[0]) == (None, needed)
    assert (default["seed"], default["device"]) == (shared["seed"], shared["device"])
    kind, values = built_by(shared["standard"])
    assert default["standard"] == kind(**values)

    search = yaml.safe_load((CONFIGS / "search.yaml").read_text())["search"]
    assert default["settings"] == SearchSettings()
    for name in ("optimizer", "policy_optimizer"):
        kind, values = built_by(search[name])
        found = {
            key: list(value) if isinstance(value, tuple) else value for key, value in default[name].keywords.items()
        }
        assert (default[name].func, found) == (kind, values)
    terms = [built_by(term) for term in search["regularizers"].values()]
    assert list(default["regularizers"]) == [kind(**values) for kind, values in terms if values["weight"]]
    assert (default["policy"], chosen["policy"], chosen["space"]) == (None, "default", "randaugment")


def test_a_policy_over_a_space_has_the_defaults_of_a_searchs_start() -> None:
    defaults = {name: one.default for name, one in inspect.signature(initial_policy).parameters.items()}
    own = {name: one.default for name, one in inspect.signature(Policy.over).parameters.items()}
    assert own == {**defaults, "interpolation": None, "fill": None}


@pytest.mark.parametrize("make", [Splits.from_arrays, Splits.from_datasets])
def test_splits_have_the_fractions_of_a_file(make: Any) -> None:
    of_a_file, own = (inspect.signature(one).parameters for one in (load_arrays, make))
    for name in ("validation_fraction", "selection_fraction", "test_fraction", "seed"):
        assert own[name].default == of_a_file[name].default, name


def test_a_published_space_is_that_of_its_file() -> None:
    for path in (CONFIGS / "space").glob("*.yaml"):
        kind, values = built_by(yaml.safe_load(path.read_text()))
        assert published_space(path.stem) == kind(**values)
