"""Values of a configuration are held against what they are given to, before anything is built."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from augrad import UserError, load_policy, save_policy
from augrad.cli.arms import policy_arm
from augrad.cli.building import built, keys_added
from augrad.cli.configs import config_directory
from augrad.cli.parts import checked_settings, exported, plain, starting_policy
from augrad.comparison.arms import training_seeds
from augrad.data.digits import load_digits
from augrad.data.planted import Planted
from augrad.learning.step import build_optimizer
from augrad.settings import SearchSettings
from odd_parts import Switched

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


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("policy_optimizer.betas=3", "search.policy_optimizer.betas: expected a list of 2, got 3"),
        ("policy_optimizer.betas=[0.5]", "search.policy_optimizer.betas[1]: expected one more number, got [0.5]"),
        ("policy_optimizer.betas=[0.5,a]", "search.policy_optimizer.betas[1]: expected a number, got 'a'"),
        ("policy_optimizer.lr=fast", "search.policy_optimizer.lr: expected a number, got 'fast'"),
        ("optimizer.momentum=true", "search.optimizer.momentum: expected a number, got True"),
        ("optimizer.nesterov=off", "search.optimizer.nesterov: expected true or false, got 'off'"),
        ("optimizer.weight_decay=inf", "search.optimizer.weight_decay: expected a finite number, got inf"),
    ],
)
def test_settings_of_an_optimiser_are_asked_for_by_their_keys(override: str, words: str) -> None:
    search = composed(f"search.{override}").search
    with pytest.raises(UserError) as refusal:
        built(search[override.partition(".")[0]], f"search.{override.partition('.')[0]}")
    assert str(refusal.value) == words


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [(torch.optim.LBFGS, "LBFGS computes its gradients itself"), (torch.optim.SparseAdam, "takes sparse gradients")],
)
def test_optimisers_that_no_training_here_can_use(optimizer: type[torch.optim.Optimizer], words: str) -> None:
    with pytest.raises(UserError, match=f"^search.optimizer: .*{words}"):
        build_optimizer(optimizer, [torch.nn.Parameter(torch.zeros(2))], "search.optimizer")


def test_an_optimiser_is_built_of_what_is_not_null() -> None:
    search = composed(
        "search.optimizer={momentum: null, nesterov: null}", "search.policy_optimizer.betas=[0.5,0.9]"
    ).search
    weights = [torch.nn.Parameter(torch.zeros(2))]
    assert build_optimizer(built(search.optimizer, "a"), weights, "a").defaults["momentum"] == 0
    assert list(build_optimizer(built(search.policy_optimizer, "b"), weights, "b").defaults["betas"]) == [0.5, 0.9]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("data=arrays", "data.path=''"), "path"),
        (("data=folder", "data.root=''"), "root"),
        (("data=svhn", "data.root=''"), "root"),
        (("data=fashion_mnist", "data.root=''"), "root"),
        (("data=imagenet", "data.root=''"), "root"),
    ],
)
def test_an_empty_name_of_data_is_asked_for_by_its_key(overrides: tuple[str, ...], key: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.{key}: expected a name that is not empty, got ''"):
        built(composed(*overrides).data, "data")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six pictures for training and two for validation, of two classes."""
    root = tmp_path_factory.mktemp("pictures")
    for index, (name, label) in enumerate([*[("train", "a"), ("train", "b")] * 3, ("val", "a"), ("val", "b")]):
        folder = root / name / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (30 * index, 0, 0)).save(folder / f"{index}.png")
    return str(root)


@pytest.mark.parametrize(
    ("option", "key", "value", "words"),
    [
        ("digits", "size", 8, "expected at least 16 pixels, got 8"),
        ("digits", "size", 10**6, "1,797 images of 1 x 1000000 x 1000000 pixels need "),
        ("folder", "size", 7, "expected a whole number of at least 8 pixels, got 7"),
        ("folder", "size", 10**7, "8 images of 3 x 10000000 x 10000000 pixels need "),
        ("folder", "channels", 4, "expected 3 (RGB) or 1 (grey), got 4"),
        ("folder", "reduced", 7, "expected 1 to 6 of the train images, got 7"),
        ("folder", "validation_fraction", 1.0, "expected a number between 0 and 1, got 1.0"),
        ("imagenet", "classes", 3, "expected 2 to 2, as many as train has, got 3"),
        ("imagenet", "classes", ["a", "x"], "expected a number, or two or more different names of folders"),
        ("imagenet", "reduced", 7, "expected 1 to 4 of the 6 training images"),
        ("cifar10", "root", "nowhere", "expected the files of cifar10 as torchvision keeps them in /"),
        ("fashion_mnist", "root", "nowhere", "expected train-images-idx3-ubyte or "),
    ],
)
def test_a_loader_names_its_argument_and_the_command_line_the_key(
    option: str, key: str, value: object, words: str, pictures: str
) -> None:
    """One message: from Python with what the caller wrote, at the command line with what the user typed."""
    roots = {"folder": [f"data.root={pictures}"], "imagenet": [f"data.root={pictures}", "data.selection_size=2"]}
    config = composed(f"data={option}", *roots.get(option, []), f"data.{key}={value}").data
    with pytest.raises(UserError) as from_python:
        get_method(config._target_)(**{name: given for name, given in plain(config).items() if name[0] != "_"})
    with pytest.raises(UserError) as at_the_command_line:
        built(config, "data")
    assert str(from_python.value).startswith(f"{key}: {words}")
    assert "data." not in str(from_python.value)
    assert str(at_the_command_line.value) == f"data.{from_python.value}"


def test_classes_are_named_in_a_list(pictures: str) -> None:
    few = ["data.size=8", "data.selection_size=2", "data.validation_fraction=0.4"]
    config = composed("data=imagenet", f"data.root={pictures}", "data.classes=[b,a]", *few).data
    assert built(config, "data").class_count == 2


@pytest.mark.parametrize("count", ["abc", "true", "1.5", "[1]", "0"])
def test_what_is_exported_is_asked_for_by_its_key(count: str) -> None:
    config = composed(f"export.subpolicies={count}")
    with pytest.raises(UserError, match=r"^export\.subpolicies: expected (a whole number|at least 1)"):
        exported(load_policy("identity"), config)


@pytest.mark.parametrize("use", [lambda config: policy_arm(config.policy.file, config),
                                 lambda config: starting_policy(config, 0)])  # fmt: skip
def test_an_empty_name_is_no_policy(use: Callable[[DictConfig], object]) -> None:
    with pytest.raises(UserError, match="expected a policy file, got an empty name"):
        use(composed("policy=file", "policy.file=''"))


@pytest.mark.parametrize("policy", ["default", "file"])
def test_a_random_arm_has_another_policy_for_each_seed(policy: str) -> None:
    arm = policy_arm("random", composed(f"policy={policy}", *(["policy.stages=2"] if policy == "default" else [])))
    first, again, other = (arm(seed) for seed in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first.slots[0]) == (2 if policy == "default" else 1)
    assert torch.equal(first.params.op_logits, again.params.op_logits)
    assert not torch.equal(first.params.op_logits, other.params.op_logits)


def test_the_policy_of_an_arm_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    save_policy(load_policy("identity"), file)
    config = composed("policy=file")
    arm = policy_arm(str(file), config)
    file.unlink()
    assert arm(0) is arm(1) is not None
    assert policy_arm("none", config)(0) is policy_arm(None, config)(0) is None
    with pytest.raises(UserError, match=r"policy\.json"):
        policy_arm(str(file), config)


@pytest.mark.parametrize(
    ("place", "overrides", "words"),
    [
        (
            "objective.teacher_weight",
            ["objective=adversarial", "objective.teacher_weight=-1.0"],
            "a number of at least 0",
        ),
        ("hypergradient.terms", ["hypergradient=neumann", "hypergradient.terms=-1"], "a whole number of at least 0"),
        ("estimator.final_temperature", ["estimator.final_temperature=0.0"], "a number above 0"),
        ("search.regularizers.identity_prior.weight", ["search.regularizers.identity_prior.weight=-1.0"], "a weight"),
        ("standard.cutout", ["standard.cutout=-1"], "a whole number of pixels"),
    ],
)
def test_what_a_part_refuses_is_told_by_its_key(place: str, overrides: list[str], words: str) -> None:
    """The part says the argument's name, as from Python; the key of the part comes before it."""
    part = place.rpartition(".")[0]
    with pytest.raises(UserError, match=rf"^{place}: expected {words}"):
        built(OmegaConf.select(composed(*overrides), part), part)


def test_what_is_refused_later_is_told_by_its_key() -> None:
    with pytest.raises(UserError, match=r"^search\.optimizer: Invalid"), keys_added():
        raise UserError("optimizer: Invalid learning rate")
    with pytest.raises(UserError, match=r"^model: cannot"), keys_added():
        raise UserError("model: cannot")


@pytest.fixture
def any_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after allow_code=true on the command line."""
    monkeypatch.setattr("augrad.cli.allowed_code.code_allowed", lambda: True)


def test_what_fits_is_built() -> None:
    config = composed("policy.learn=[ops]", "estimator.temperature=0.75", "data=arrays", "data.path=a.npz")
    assert built(config.policy, "policy").keywords["learn"] == ["ops"]
    assert built(config.estimator, "estimator").temperature == 0.75
    with pytest.raises(InstantiationException, match=r"a\.npz: expected an .npz file"):  # a path is a value that fits
        built(config.data, "data")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("bias: 'no'", "model.bias: expected true or false, got 'no'"),
        ("bias: 1", "model.bias: expected true or false, got 1"),
        ("depth: deep", "model.depth: expected a whole number, got 'deep'"),
        ("rate: .nan", "model.rate: expected a finite number, got nan"),
        ("_partial_: abc", "model._partial_: expected true or false, got 'abc'"),
        ("_convert_: abc", "model._convert_: expected 'none', 'partial', 'object' or 'all', got 'abc'"),
        ("_recursive_: 3", "model._recursive_: expected true or false, got 3"),
    ],
)
@pytest.mark.usefixtures("any_code")
def test_values_for_any_target_are_held_against_its_signature(override: str, words: str) -> None:
    node = OmegaConf.create(f"_target_: odd_parts.Switched\n{override}")
    with pytest.raises(UserError) as refusal:
        built(node, "model")
    assert str(refusal.value) == words


@pytest.mark.usefixtures("any_code")
def test_what_fits_any_target_is_built() -> None:
    node = OmegaConf.create(
        "{_target_: odd_parts.Switched, _partial_: true, bias: true, depth: 3, rate: 1, name: null}"
    )
    assert isinstance(built(node, "model")(in_channels=1, class_count=2), Switched)
    for target in ("torch.nn.Conv2d", "torchvision.models.resnet18", "builtins.dict"):
        built(OmegaConf.create({"_target_": target, "_partial_": True, "bias": False, "padding": [1, 2]}), "model")


@pytest.mark.parametrize(
    ("override", "part", "words"),
    [
        ("+data._partial_=true", "data", "data._partial_: expected false, got true"),
        ("+estimator._partial_=true", "estimator", "estimator._partial_: expected false, got true"),
        ("+objective._partial_=true", "objective", "objective._partial_: expected false, got true"),
        ("policy.stages=17", "policy", "policy.stages: expected at most 16, got 17"),
        ("policy.subpolicies=1000000", "policy", "policy.subpolicies: expected at most 10000, got 1000000"),
        (f"policy.stages={10**20}", "policy", f"policy.stages: expected at most 16, got {10**20}"),
        (f"estimator.draws={10**12}", "estimator", f"estimator.draws: expected at most 10000, got {10**12}"),
        (
            "hypergradient=unrolled hypergradient.steps=10001",
            "hypergradient",
            "hypergradient.steps: expected a whole number of at most 10000, got 10001",
        ),
        (
            f"hypergradient=neumann hypergradient.terms={10**20}",
            "hypergradient",
            f"hypergradient.terms: expected a whole number of at most 10000, got {10**20}",
        ),
        (
            "hypergradient=cg hypergradient.iterations=1e20",
            "hypergradient",
            "hypergradient.iterations: expected a whole number, got 1e+20",
        ),
        (f"objective.draws={10**20}", "objective", f"objective.draws: expected at most 10000, got {10**20}"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_made(override: str, part: str, words: str) -> None:
    with pytest.raises(UserError) as refusal:
        built(composed(*override.split())[part], part)
    assert str(refusal.value).startswith(words)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("steps=-2", "search.steps: expected more than 0, got -2"),
        ("steps=true", "search.steps: expected a whole number, got True"),
        ("steps=1.5", "search.steps: expected a whole number, got 1.5"),
        ("clip_norm=abc", "search.clip_norm: expected a number, got 'abc'"),
        ("final_rate=2", "search.final_rate: expected at most 1, got 2"),
        ("schedule=cosin", "search.schedule: expected 'cosine' or 'constant', got 'cosin'"),
        ("clip_norm=true", "search.clip_norm: expected a number, got True"),
        ("+policy_rates.op_logits=true", "search.policy_rates.op_logits: expected a number, got True"),
        ("autocast=3", "search.autocast: expected true or false, got 3"),
        ("policy_rates=3", "search.policy_rates: expected values by name, got 3"),
        ("+policy_rates.op_logits=-1", "search.policy_rates.op_logits: expected more than 0, got -1"),
    ],
)
def test_a_setting_is_asked_for_by_its_key(override: str, words: str) -> None:
    config = composed(f"+search.{override[1:]}" if override.startswith("+") else f"search.{override}")
    with pytest.raises(UserError) as refusal:
        checked_settings(SearchSettings, config.search, "search", "optimizer", "policy_optimizer", "regularizers")
    assert str(refusal.value) == words


@pytest.mark.parametrize(("count", "seed"), [(True, 0), (0, 0), ("3", 0), (2**40, 0), (3, 2**32 - 1)])
def test_a_number_of_seeds_is_one(count: object, seed: int) -> None:
    with pytest.raises(UserError, match=r"^seeds: expected "):
        training_seeds(seed, count, "seeds")
    assert list(training_seeds(3, 2, "seeds")) == [1300, 1301]
    last = (2**32 - 1001) // 100
    assert len(training_seeds(last, 2**32 - 1000 - 100 * last, "seeds")) < 200  # up to the last seed that there is


@pytest.mark.parametrize("node", [None, 3, "abc", [1]])
def test_what_is_no_part_is_refused(node: object) -> None:
    with pytest.raises(UserError, match="model: expected a part with a _target_"):
        built(node, "model")


@pytest.mark.parametrize("value", ["no", "off", 1, None])
def test_words_are_not_true(value: object) -> None:
    config = composed("export.subpolicies=1")
    config.export.uniform = value
    with pytest.raises(UserError, match=r"^export\.uniform: expected true or false, got"):
        exported(load_policy("identity"), config)


PLANTED = "{_target_: augrad.data.planted.Planted, op: %s, low: %s, high: 0.5}"


def test_planted_operations_may_be_a_list() -> None:
    one, other = PLANTED % ("rotate", "-45"), PLANTED % ("brightness", "-0.5")
    single, several = (built(composed(f"data.planted={given}").data, "data") for given in (one, f"[{one},{other}]"))
    turned = load_digits(planted=Planted("rotate", -45.0, 0.5))
    assert torch.equal(single.test.images, turned.test.images)
    expected = load_digits(planted=[Planted("rotate", -45.0, 0.5), Planted("brightness", -0.5, 0.5)])
    assert torch.equal(several.test.images, expected.test.images)
    with pytest.raises(UserError, match=r"^data\.planted\[1\]\.low: expected a number, got 'dark'"):
        built(composed(f"data.planted=[{one},{PLANTED % ('brightness', 'dark')}]").data, "data")
