"""Operations that are not augrad's own, from the command line: searched, written, loaded where they are allowed."""

import json
import signal
from pathlib import Path

import pytest
import torch

import augrad as library
from augrad.cli.comparison import read_comparison
from augrad.comparison.rows import names_of

pytestmark = pytest.mark.slow

SPACE = """\
_target_: augrad.ops.space.make_space
_convert_: all
interpolation: bilinear
fill: 0.0
ops:
  identity: {}
  rotate: {high: 45}
  open_ops.gamma: {low: 0.0, high: 0.9, unit: strength, signed: true, kind: color}
  open_ops.step: {low: 0.0, high: 0.9, unit: strength, surrogate: finite_difference}
  open_ops.rain: {low: 0.0, high: 0.9, unit: strength, draws: 1}
"""
KORNIA = """\
  kornia.augmentation.RandomGaussianBlur:
    {parameter: sigma, low: 0.1, high: 2.0, unit: pixel, arguments: {kernel_size: [5, 5]}}
  kornia.augmentation.RandomErasing: {}
"""
CUSTOM = ["open_ops.gamma", "open_ops.step", "open_ops.rain"]
OF_KORNIA = ["kornia.augmentation.RandomGaussianBlur", "kornia.augmentation.RandomErasing"]


@pytest.fixture
def mine(tmp_path: Path) -> list[str]:
    """Overrides that choose a space with functions of a user and, `space=kornia`, operations of kornia."""
    folder = tmp_path / "conf" / "space"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(SPACE)
    (folder / "kornia.yaml").write_text(SPACE + KORNIA)
    return ["--config-dir", str(tmp_path / "conf"), "space=mine"]


def rows(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def refused(done, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    said = done.stderr.strip().splitlines()
    assert len([line for line in said if not line.startswith("data: ")]) == 1  # what was read is said first


@pytest.mark.parametrize("kind", ["functions", pytest.param("kornia", marks=pytest.mark.slow)])
def test_a_search_a_file_a_training_and_a_comparison(augrad, small, mine, tmp_path: Path, kind: str) -> None:
    names, allow = CUSTOM, ["open_ops"]
    if kind == "kornia":
        pytest.importorskip("kornia")
        names, allow, mine[-1] = [*CUSTOM, *OF_KORNIA], ["open_ops", "kornia.augmentation"], "space=kornia"
    done = augrad("search", *mine, *small, "compare.seeds=1", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    shown = augrad("policy", "show", "--all", "out/policy.json").stdout
    for name in names:
        assert f"{name.rpartition('.')[2]}: {name}" in shown
        shares = [row[f"mass/{name}"] for row in rows(tmp_path / "out") if f"mass/{name}" in row]
        assert len(shares) > 2
        assert all(0 < share < 1 for share in shares)
        assert f'title="{name}">{name.rpartition(".")[2]}<' in (tmp_path / "out" / "report.html").read_text()
    assert rows(tmp_path / "out")[0]["strength/open_ops.gamma"] != rows(tmp_path / "out")[-1]["strength/open_ops.gamma"]

    file = str(tmp_path / "out" / "policy.json")
    assert set(json.loads(Path(file).read_text())["definitions"]) == set(names)
    with pytest.raises(library.PolicyFileError, match="expected operations of allowed modules only"):
        library.load_policy(file)
    policy = library.load_policy(file, allow=allow)
    images = torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    generator = torch.get_rng_state()
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy(images, params=sample), output)
    assert torch.equal(torch.get_rng_state(), generator)

    allowed = f"policy.allow=[{','.join(allow)}]"
    short = ["train.epochs=1", "data.train_size=200", f"policy.file={file}"]
    refused(augrad("train", *short), "definitions[", "policy.allow=[")
    assert augrad("train", *short, allowed, "hydra.run.dir=trained").returncode == 0
    compare = ["policies=[none,random]", "seeds=1", "hydra.run.dir=compared"]
    refused(augrad("compare", *mine, *short, *compare), "definitions[", "policy.allow=[")
    assert augrad("compare", *mine, *short, *compare, allowed).returncode == 0
    assert set(names_of(read_comparison(tmp_path / "compared"))) == {"none", "random", file}
    again = ["policy=file", f"policy.file={file}", "compare=null", "hydra.run.dir=again"]
    refused(augrad("search", *small, *again), "definitions[", "policy.allow=[")
    assert augrad("search", *small, *again, allowed).returncode == 0

    assert augrad("policy", "diff", file, file).stdout.strip() == "the policies do the same"
    refused(augrad("policy", "validate", file), "definitions[")
    options = [option for module in allow for option in ("--allow", module)]
    assert augrad("policy", "validate", *options, file).returncode == 0


def test_a_definition_that_differs_is_a_difference(augrad, tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "policy_file" / "golden" / "version_1_definitions.json"
    (tmp_path / "other.json").write_text(golden.read_text().replace('"kind": "color"', '"kind": "filter"'))
    done = augrad("policy", "diff", str(golden), "other.json")
    assert done.returncode == 1
    assert "defined otherwise: open_ops.gamma (--text shows how)" in done.stdout
    assert '"kind": "filter"' in augrad("policy", "diff", "--text", str(golden), "other.json").stdout


@pytest.mark.slow
def test_a_resumed_run_draws_what_it_would_have_drawn(augrad, small, tmp_path: Path) -> None:
    gamma = "+space.ops.open_ops.gamma={low: 0.0, high: 0.9, unit: strength}"
    rain = "+space.ops.open_ops.rain={low: 0.0, high: 0.9, unit: strength, draws: 1}"
    common = [*small, gamma, rain, "compare=null"]
    assert augrad("search", *common, "hydra.run.dir=whole").returncode == 0
    # Stopped halfway, as Ctrl-C does it.
    from augrad.cli.search_run import SearchRun

    with pytest.MonkeyPatch.context() as patch:
        come = SearchRun.interrupted

        def at_three(run):
            if run.state.step == 3:
                signal.raise_signal(signal.SIGINT)
            return come(run)

        patch.setattr(SearchRun, "interrupted", at_three)
        assert augrad("search", *common, "hydra.run.dir=cut").returncode == 130
    assert augrad("search", "resume=cut").returncode == 0
    kept = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["state"]["state"] for name in ("cut", "whole")
    ]
    leaves, others = (torch.utils._pytree.tree_flatten(state)[0] for state in kept)
    for one, other in zip(leaves, others, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


MISTAKES = [
    ("{low: 0.0, high: 0.9, unit: strength}", "open_ops.step", ["open_ops.step", "magnitude", "zeros", "surrogate"]),
    ("{low: 0.0, high: 0.9, unit: strength}", "open_ops.gama", ["open_ops.gama", "did you mean gamma"]),
    ("{low: 0.0, high: 0.9}", "open_ops.gamma", ["open_ops.gamma", "unit"]),
    ("{low: 0.0, high: 0.9, unit: strength}", "nowhere.gamma", ["nowhere.gamma", "no module nowhere", "PYTHONPATH"]),
    ("{low: 0.0, hihg: 0.9, unit: strength}", "open_ops.gamma", ["hihg"]),
    ("{low: 0.0, high: 0.9, unit: strength}", "open_ops.only_colour", ["open_ops.only_colour", "3 channels, got 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "name", "words"), MISTAKES)
def test_a_mistake_in_a_space_is_told_in_one_line(augrad, small, options: str, name: str, words: list[str]) -> None:
    refused(augrad("search", *small, "compare=null", f"+space.ops.{name}={options}"), *words)


def test_a_parameter_of_kornia_without_a_derivative_is_told_in_one_line(augrad, small) -> None:
    pytest.importorskip("kornia")
    entry = (
        "+space.ops.kornia.augmentation.RandomSolarize={parameter: thresholds, low: 1.0, high: 0.0, unit: threshold}"
    )
    words = ["kornia.augmentation.RandomSolarize", "the parameter thresholds", "got none from autograd", "surrogate"]
    refused(augrad("search", *small, "compare=null", entry), *words)


def test_one_word_changes_or_removes_an_entry_of_a_file(augrad, small, mine, tmp_path: Path) -> None:
    changed = ["+space.ops.open_ops.gamma.high=0.3", "+space.ops.open_ops.rain=false"]
    done = augrad("search", *mine, *small, *changed, "compare=null", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    definitions = json.loads((tmp_path / "out" / "policy.json").read_text())["definitions"]
    assert definitions["open_ops.gamma"]["high"] == 0.3
    assert set(definitions) == {"open_ops.gamma", "open_ops.step"}


def test_policy_allow_is_a_list_of_names(augrad) -> None:
    refused(augrad("train", "policy.file=identity", "policy.allow=3"), "policy.allow", "[mypackage.ops]", "got 3")
    refused(augrad("train", "policy.file=identity", "policy.allow=[3]"), "policy.allow")
