"""A default stands in a YAML file and in Python: here they are held together."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from augrad.settings import SearchSettings, TrainSettings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = [*CONFIGS.glob("*.yaml"), *CONFIGS.glob("*/*.yaml")]

ON_PURPOSE = {
    # What a file is named after.
    *("model/wrn_16_2.yaml depth", "model/wrn_28_10.yaml depth", "model/wrn_28_10.yaml widen_factor"),
    *(f"space/{n}.yaml interpolation" for n in ("autoaugment", "dada", "randaugment", "trivialaugment_wide")),
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
