"""What a newcomer gets wrong: one clear message, status 2, and nothing half-written."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch


def images(count: int = 60, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)


def labels(count: int = 60) -> np.ndarray:
    return np.arange(count) % 3


ARRAYS = {
    "missing key": ({"train_images": images()}, "train_labels"),
    "labels of the wrong length": ({"train_images": images(), "train_labels": labels(59)}, "59"),
    "floats outside 0..1": ({"train_images": images().astype(np.float32), "train_labels": labels()}, "0 .. 1"),
    "too small": ({"train_images": images(side=7), "train_labels": labels()}, "8"),
}


def check(done, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert 0 < len(done.stderr.strip().splitlines()) <= 6


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bad_npz(augrad, tmp_path: Path, name: str) -> None:
    content, word = ARRAYS[name]
    np.savez(tmp_path / "x.npz", **content)
    check(augrad("search", "data=arrays", "data.path=x.npz", "hydra.run.dir=out"), "x.npz", word)
    assert not (tmp_path / "out" / "policy.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch.steps=3"], ["serch"]),
        (["search.step=3"], ["step"]),
        (["search.batch_size=many"], ["batch_size", "many"]),
        (["search.batch_size=0"], ["batch_size"]),
        (["search.accumulation_steps=0"], ["accumulation_steps"]),
        (["search.accumulation_steps=2", "experiment=faster_autoaugment"], ["accumulation_steps", "bilevel"]),
        (["estimator=gumble"], ["gumble", "gumbel"]),
        (["estimator.temperature=0.0"], ["temperature"]),
        (["space.ops.rotate.hihg=3"], ["hihg"]),
        (["+space.ops.rotatee={}"], ["rotatee", "rotate"]),
        (["policy.probability=1.5"], ["probability"]),
        (["device=tpu"], ["tpu"]),
        (["data=arrays", "data.path=nowhere.npz"], ["nowhere.npz"]),
        (["data=arrays"], ["path"]),
        (["resume=nowhere"], ["nowhere"]),
        (["seed=-1"], ["seed"]),
        (["standard.cutout=-1"], ["standard.cutout", "-1"]),
        (["standard.crop_padding=16"], ["standard.crop_padding", "16"]),
        (["standard=none"], ["standard", "crop_padding", "none"]),
        (["search.optimizer.lrr=0.1"], ["lrr"]),
        (["search.optimizer.lr=-1.0"], ["search.optimizer", "learning rate"]),
        (["train.epochs=0"], ["epochs"]),
        (["compare.seeds=three"], ["compare.seeds"]),
        (["compare=0"], ["compare.seeds"]),
        (["search.clip_norm=inf"], ["clip_norm", "finite"]),
        (["+space.ops.rotate.signed=no"], ["rotate", "signed", "true or false"]),
        (["export.uniform=no"], ["export.uniform", "true or false"]),
        (["export=3"], ["export", "group of settings"]),
        (["device=null"], ["device"]),
        (["policy=file"], ["policy.file"]),
        (["hypergradient=unrolled", "hypergradient.steps=0"], ["hypergradient.steps", "at least 1"]),
        (["hypergradient=neumann", "hypergradient.damping=-1.0"], ["hypergradient.damping", "at least 0"]),
        (["hypergradient=cg", "hypergradient.iterations=0"], ["hypergradient.iterations", "at least 1"]),
        (["hypergradient=none"], ["takes a hypergradient method", "one_step"]),
        (["objective=density_matching", "hypergradient=cg"], ["DensityMatching", "hypergradient=none"]),
        (["objective=density_matching", "search.batch_size=1"], ["at least two images", "search.batch_size"]),
        (["objective=density_matching", "objective.penalty_weight=-1.0"], ["objective.penalty_weight"]),
        (["search.regularizers.identity_prior.mass=1.0"], ["identity_prior.mass", "between 0 and 1"]),
        (["search.regularizers=3"], ["search.regularizers", "3"]),
        (["+search.policy_rates={op_logit: 2.0}"], ["search.policy_rates", "op_logits", "op_logit"]),
        (["export.subpolicies=0"], ["export.subpolicies", "at least 1"]),
        (["data=cifar10"], ["data.root"]),
        (["model=[1,2]"], ["model=[1,2]", "the name of an option"]),
        (["experiment=[3]"], ["experiment=[3]", "the name of an option"]),
        (["policy=default", "policy.file=x.json"], ["policy.file=x.json", "belongs to policy=file"]),
        (["hypergradient.steps=3"], ["hypergradient.steps=3", "belongs to hypergradient=unrolled"]),
        (["objective.penalty_weight=3"], ["objective.penalty_weight=3", "belongs to objective=density_matching"]),
        (["space.ops.rotat.high=45"], ["space.ops.rotat.high=45", "did you mean space.ops.rotate", "+space.ops.rotat"]),
        (["estimator.drws=4"], ["estimator.drws=4", "did you mean estimator.draws"]),
        (["space.ops.zoom={}"], ["+space.ops.zoom"]),
        (["data._target_=builtins.dict", "allow_code=true"], ["data", "four splits"]),
        (["data._target_=builtins.dict"], ["data._target_: builtins.dict is code", "allow_code=true"]),
        (["model._partial_=abc"], ["model._partial_", "true or false"]),
        (["data=cifar10", "data.root=nowhere"], ["data.root: expected", "nowhere"]),
        (
            ["model=wrn_16_2", "model.dropout=0.3", "search.cuda_graphs=true"],
            ["search.cuda_graphs: the passes", "draws"],
        ),
        (["data.size=8"], ["data.size: expected at least 16 pixels, got 8"]),
        (["objective.derivative=finite_difference", "estimator.relaxation=soft"], ["finite_difference"]),
        (["search.optimizer._target_=torch.optim.RMSprop", "~search.optimizer.nesterov"], ["SGD, Adam and AdamW"]),
    ],
)
def test_a_wrong_word_on_the_command_line(augrad, arguments: list[str], words: list[str]) -> None:
    check(augrad("search", "search.steps=2", *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["compare", "policies=[none,missing.json]"], "missing.json"),
        (["compare", "policies=[none]", "policy.file=missing.json"], "missing.json"),
        (["compare", "policies=[none,random]", "+space.ops.rotatee={}"], "rotatee"),
        (["train", "policy.file=missing.json"], "missing.json"),
        (["train", "policy.file=random", "+space.ops.rotatee={}"], "rotatee"),
        (["search", "policy=file", "policy.file=missing.json"], "missing.json"),
    ],
)
def test_a_policy_that_cannot_be_is_told_before_the_data_are_read(augrad, arguments: list[str], word: str) -> None:
    """Nothing is trained before it either: these data are nowhere."""
    done = augrad(*arguments, "data=arrays", "data.path=nowhere.npz", "hydra.run.dir=out")
    check(done, word)
    assert "nowhere.npz" not in done.stderr
    assert not any(path for path in Path("out").rglob("*") if path.is_file())
    right = [argument.replace("missing.json", "identity") for argument in arguments if "rotatee" not in argument]
    check(augrad(*right, "data=arrays", "data.path=nowhere.npz", "hydra.run.dir=out"), "nowhere.npz")


@pytest.mark.parametrize("seeds", ["seeds=true", "seeds=0", "seed=4294967295", f"seeds={10**20}"])
def test_a_wrong_number_of_seeds(augrad, seeds: str) -> None:
    check(augrad("compare", "seeds=3", seeds), "seeds: expected", "got ")


def test_a_cuda_device_that_is_not_there(augrad) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    check(augrad("search", "device=cuda"), "cuda", "device=cpu")


def test_a_policy_file_with_a_typing_error(augrad, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(
        '{"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0,\n'
        ' "subpolicies": [{"weight": 1.0, "stages": [[{"op": "rotat", "weight": 1.0}]]}]}'
    )
    check(augrad("train", "policy.file=p.json"), "subpolicies[0].stages[0][0]", "rotate")
    check(augrad("policy", "validate", "p.json"), "rotate")
    (tmp_path / "q.json").write_text('{"format": "augrad.policy",}')
    check(augrad("train", "policy.file=q.json"), "line 1")
    check(augrad("compare", "policies=[none,missing.json]"), "missing.json")


def test_the_policy_command(augrad, tmp_path: Path) -> None:
    shown = augrad("policy", "show", "identity")
    assert shown.returncode == 0
    assert "identity" in shown.stdout
    assert augrad("policy", "validate", "identity").returncode == 0
    assert augrad("policy", "diff", "identity", "identity").returncode == 0
    assert augrad("policy", "shw", "identity").returncode == 2


@pytest.mark.parametrize(
    ("command", "override", "said"),
    [
        ("train", "+reuse=[old]", "augrad train has no setting reuse; it belongs to augrad compare"),
        ("train", "reuse=[old]", "augrad train has no setting reuse; it belongs to augrad compare"),
        ("train", "++search.steps=7", "augrad train has no setting search; it belongs to augrad search"),
        ("search", "+sead=1", "augrad search has no setting sead; did you mean seed?"),
        ("compare", "+mine=1", "augrad compare has no setting mine"),
        ("search", "search.learning_rate=1", "did you mean search.optimizer.lr or search.policy_optimizer.lr?"),
        ("search", "search.lr=0.1", "no such setting; did you mean search.optimizer.lr or search.policy_optimizer.lr?"),
        ("search", "search.policy_rates={op_logits: 2.0}", "to add one: ++search.policy_rates={op_logits: 2.0}"),
        ("search experiment=dada", "choose.seeds=1", "choose is null here, and nothing of it can be set"),
        ("train", "train.lr=0.1", "train.lr=0.1: no such setting; did you mean train.optimizer.lr?"),
        ("train", "lr=0.1", "augrad train has no setting lr; did you mean train.optimizer.lr?"),
        ("search", "steps=10", "augrad search has no setting steps; did you mean search.steps or train.steps?"),
        ("search", "space.ops.hue.high=0.3", "the chosen space has no hue; to add it: +space.ops.hue={}"),
        ("compare", "seeds=300000000", "seeds: expected at most 10000, got 300000000"),
        ("search", "choose.seeds=300000000", "choose.seeds: expected at most 10000, got 300000000"),
        ("search", "choose.folds=1", "choose.folds: expected at least 2 or 'auto', got 1"),
        ("search", "choose.folds=5000", "choose.folds: expected 2 to 1300 parts"),
        ("search", "choose.reaches=[]", "choose.reaches: expected at least one, got []"),
        ("search", "+export.subpolicis=3", "export.subpolicis: no such key; there are subpolicies, uniform"),
        ("search", "+compare.seed=3", "compare.seed: no such key; there are policies, seeds"),
        ("search", "choose.processes=100000", "choose.processes: expected at most"),
        ("search", "compare.processes=100000", "compare.processes: expected at most"),
        ("compare", "processes=100000", "processes: expected at most"),
    ],
)
def test_what_nothing_would_read_is_refused_and_leaves_no_folder(
    augrad, tmp_path: Path, command: str, override: str, said: str
) -> None:
    check(augrad(*command.split(), override, "device=cpu", "model.width=16"), said)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_of_ones_own_outlives_a_refused_command(augrad, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    time.sleep(0.2)  # the clocks of file systems are behind by up to half of that
    check(augrad("train", "device=nothing", "hydra.run.dir=mine"), "nothing")
    check(augrad("train", "device=nothing", "hydra.run.dir=other"), "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_setting_that_others_read_can_be_added(augrad) -> None:
    for reads in ("${sides}", "${oc.select:sides}", "${oc.select:sides,3}"):
        check(augrad("train", "+sides=16", f"data.size={reads}", "device=nothing"), "device: expected")
    check(augrad("train", "+sides=16", "data.size=${oc.select:side,16}", "device=nothing"), "no setting sides")
