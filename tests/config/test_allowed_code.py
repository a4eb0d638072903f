"""What a `_target_` may name: every part that augrad brings, and no code of others unless the command line says so."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from augrad import UserError
from augrad.cli import main
from augrad.cli.allowed_code import require_allowed, require_inside
from augrad.cli.building import built
from augrad.cli.resume import resolve_resume
from augrad.cli.run_directory import resume_line
from augrad.cli.unread import groups_and_settings

CONFIGS = Path(__file__).parents[2] / "configs"


def targets_in(content) -> list[str]:
    if isinstance(content, dict):
        own = [content["_target_"]] if "_target_" in content else []
        return own + [name for value in content.values() for name in targets_in(value)]
    return [name for value in content for name in targets_in(value)] if isinstance(content, list) else []


def test_everything_that_the_configuration_names_is_allowed():
    files = [yaml.safe_load(file.read_text()) or {} for file in CONFIGS.rglob("*.yaml")]
    names = {name for content in files for name in targets_in({**content, "hydra": None})}
    assert len(names) > 40
    for name in names:
        require_allowed({"_target_": name}, "part")


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "augrad.atomic.write_text",
        "augrad.cli.main",
        "augrad.runs.checkpoint.save_checkpoint",
        "augrad.data.decode.os.system",
        "augrad.models.own.importlib.import_module",
        "torch.hub.load",
        "torch.load",
        "torch.optim.sgd.torch.hub.load",
        "torch.optimizers.Mine",
        "augrad_plus.data.Mine",
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_other_code_is_refused_before_it_is_called(name: str, deep: bool):
    part = {"_target_": name}
    whole = {"_target_": "augrad.models.small_conv.SmallConvNet", "width": {"x": [1, {"y": part}]}} if deep else part
    where = "model.width.x[1].y._target_" if deep else "model._target_"
    with pytest.raises(UserError) as refusal:
        built(OmegaConf.create(whole), "model")
    assert str(refusal.value).startswith(f"{where}: {name} is code that does not come with augrad")
    assert "allow_code=true" in str(refusal.value)


def test_nothing_that_is_not_allowed_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "noisy_code.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="is code"):
        built(OmegaConf.create({"_target_": "noisy_code.Mine"}), "model")


def test_a_name_that_an_interpolation_makes():
    config = OmegaConf.create({"who": "os.system", "model": {"_target_": "${who}"}})
    with pytest.raises(UserError, match=r"os\.system is code"):
        built(config.model, "model")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"x")
    return tmp_path / "run"


def test_a_run_directory_does_not_allow_itself(run: Path):
    (run / ".hydra" / "overrides.yaml").write_text("[seed=1, allow_code=true, ++allow_code=true]")
    resumed = resolve_resume([f"resume={run}"])
    assert "seed=1" in resumed
    assert not any("allow_code" in one for one in resumed)
    assert "allow_code=true" in resolve_resume([f"resume={run}", "allow_code=true"])


@pytest.mark.parametrize("own", ["hydra.callbacks.x._target_=os.system", "+hydra/launcher=ray", "~hydra.callbacks"])
def test_a_run_directory_says_nothing_to_hydra(run: Path, own: str):
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["seed=1", own]))
    with pytest.raises(UserError, match="is no list of overrides"):
        resolve_resume([f"resume={run}"])


@pytest.mark.parametrize(
    "given",
    [
        "experiment=../../evil",
        "+experiment=../evil",
        "experiment=[quick,../evil]",
        "experiment=quick,../evil",
        "hydra/launcher=../evil",
        "model@_global_=../evil",
        "+mine=../evil",
        "policy='../evil'",
    ],
)
def test_no_option_of_a_group_comes_from_outside(given: str):
    with pytest.raises(UserError, match="--config-dir"):
        require_inside(["seed=1", given], *groups_and_settings("search"))


def test_paths_may_lead_anywhere():
    for command, given in {
        "search": ["resume=../x", "data.root=../x", "policy.file=../x", "hydra.run.dir=../x", "experiment=quick"],
        "compare": ["policies=[none,../x.json]", "reuse=[../x]"],
    }.items():
        require_inside(given, *groups_and_settings(command))


def test_a_doctored_run_brings_no_file_for_hydra(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A configuration beside the run, which names a callback of Hydra's, by the way that its record shows."""
    (run / "evil.yaml").write_text(
        "# @package _global_\nhydra: {callbacks: {evil: {_target_: numpy.load, file: none, allow_pickle: true}}}"
    )
    up = "/".join([".."] * 20)
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"experiment={up}{run}/evil"]))
    monkeypatch.chdir(tmp_path)
    assert main(["search", f"resume={run}"]) == 2
    assert "expected the name of an option" in capsys.readouterr().err


def test_the_line_that_takes_up_a_run_allows_what_the_run_was_allowed(monkeypatch: pytest.MonkeyPatch):
    assert resume_line("search", Path("out")).endswith("augrad search resume=out")
    monkeypatch.setattr("augrad.cli.run_directory.code_allowed", lambda: True)
    assert resume_line("search", Path("out")).endswith("augrad search resume=out allow_code=true")
