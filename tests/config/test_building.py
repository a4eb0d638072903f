"""Values of a configuration are held against what they are given to, before anything is built."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException

from augrad import UserError
from augrad.cli.building import built, require_boolean
from augrad.cli.configs import config_directory

WRONG = ["null", "abc", "[1]", "inf", "2.5", "true"]
PARTS = {
    "model": ("width",),
    "data": ("size", "seed", "train_size"),
    "estimator": ("draws",),
    "objective": ("draws",),
    "policy": ("subpolicies", "stages"),
    "standard": ("crop_padding", "cutout"),
}


def composed(*overrides: str):
    with initialize_config_dir(config_directory(), version_base="1.3"):
        return compose("search", list(overrides))


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(("part", "key"), [(part, key) for part, keys in PARTS.items() for key in keys])
def test_a_whole_number_is_asked_for_by_its_key(part: str, key: str, value: str) -> None:
    config = composed(f"{part}.{key}={value}")
    with pytest.raises(UserError, match=rf"^{part}\.{key}: expected .*, got "):
        built(config[part], part)


@pytest.mark.parametrize("value", ["null", "abc", "[1]", "inf", "nan"])
@pytest.mark.parametrize(("part", "key"), [("estimator", "temperature"), ("policy", "scale"), ("policy", "level")])
def test_a_number_is_asked_for_by_its_key(part: str, key: str, value: str) -> None:
    config = composed(f"{part}.{key}={value}")
    with pytest.raises(UserError, match=rf"^{part}\.{key}: expected .*, got "):
        built(config[part], part)


def test_what_fits_is_built() -> None:
    config = composed("policy.learn=[ops]", "estimator.temperature=0.75", "data=arrays", "data.path=a.npz")
    assert built(config.policy, "policy").keywords["learn"] == ["ops"]
    assert built(config.estimator, "estimator").temperature == 0.75
    with pytest.raises(InstantiationException, match=r"a\.npz: expected an .npz file"):  # a path is a value that fits
        built(config.data, "data")


@pytest.mark.parametrize("node", [None, 3, "abc", [1]])
def test_what_is_no_part_is_refused(node: object) -> None:
    with pytest.raises(UserError, match="model: expected a part with a _target_"):
        built(node, "model")


@pytest.mark.parametrize("value", ["no", "off", 1, None])
def test_words_are_not_true(value: object) -> None:
    with pytest.raises(UserError, match=r"export\.uniform: expected true or false, got"):
        require_boolean(value, "export.uniform")
