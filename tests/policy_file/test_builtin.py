"""The built-in policies: their files, and that they do what torchvision's transforms of their names do."""

import runpy
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

import augrad
from augrad.interop.builtin_documents import builtin_documents
from augrad.interop.torchvision import NAMES
from augrad.policy_file import Entry, Uniform, Value, format_policy
from augrad.policy_file.convert import read_document
from pictures import every_kind, in_levels

SIDE = 32
"""Of the images for which translations are torchvision's."""
UNITS = {"TranslateX": SIDE, "TranslateY": SIDE, "Solarize": 255}
"""How much of torchvision's is one of ours, where it is not 1."""
RAND, WIDE = RandAugment(), TrivialAugmentWide()
TORCHVISION = {
    "randaugment": RAND._augmentation_space(RAND.num_magnitude_bins, (SIDE, SIDE)),
    "trivialaugment_wide": WIDE._augmentation_space(WIDE.num_magnitude_bins),
}


def expected(name: str) -> dict[str, tuple[str, Tensor | None, bool]]:
    """Of each operation, by our name: torchvision's name, its 31 magnitudes in our unit or None, whether signed."""
    return {
        NAMES.get(known, known.lower()): (
            known,
            magnitudes.double() / UNITS.get(known, 1) if magnitudes.ndim else None,
            signed,
        )
        for known, (magnitudes, signed) in TORCHVISION[name].items()
    }


def stages_of(name: str) -> tuple[tuple[Entry, ...], ...]:
    (subpolicy,) = read_document(name).subpolicies
    return subpolicy.stages


def test_their_names_are_listed() -> None:
    assert augrad.builtin_policies() == (
        *(f"autoaugment_{images}" for images in ("cifar10", "imagenet", "svhn")),
        *(f"dada_{images}" for images in ("cifar10", "cifar100", "imagenet", "svhn")),
        *(f"fast_autoaugment_{images}" for images in ("cifar10", "imagenet", "svhn")),
        "identity",
        "randaugment",
        "trivialaugment_wide",
    )
    assert set(augrad.builtin_policies()) == set(builtin_documents())


@pytest.mark.parametrize("name", augrad.builtin_policies())
def test_the_files_are_what_the_documents_say(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["augrad.interop", name])
    runpy.run_module("augrad.interop", run_name="__main__")
    file = files("augrad.policy_file").joinpath("builtin", f"{name}.json").read_text(encoding="utf-8")
    assert file == capsys.readouterr().out, (
        "the file of the built-in policy is out of date; write it anew with: "
        f"PYTHONPATH=lib python -m augrad.interop {name} > lib/augrad/policy_file/builtin/{name}.json"
    )


@pytest.mark.parametrize("name", augrad.builtin_policies())
def test_a_saved_copy_is_the_same_file_and_does_the_same(name: str, tmp_path: Path) -> None:
    policy, path = augrad.load_policy(name), tmp_path / "policy.json"
    augrad.save_policy(policy, path)
    assert path.read_text(encoding="utf-8") == format_policy(read_document(name))
    images = every_kind(3, SIDE, SIDE)
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy(images, params=sample), output)
    assert torch.equal(augrad.load_policy(path)(images, generator=torch.Generator().manual_seed(0)), output)
    assert torch.equal(output, images) == (name == "identity")


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_operation_has_torchvisions_chance_range_and_sign(name: str) -> None:
    document, transform = read_document(name), RAND if name == "randaugment" else WIDE
    assert (document.interpolation, document.fill) == (transform.interpolation.value, transform.fill or 0.0)
    assert len(stages_of(name)) == getattr(transform, "num_ops", 1)
    known = expected(name)
    for stage in stages_of(name):
        assert sorted(entry.op for entry in stage) == sorted(known)
        for entry in stage:
            _, magnitudes, signed = known[entry.op]
            assert entry.weight == pytest.approx(1 / len(known), abs=1e-12)
            assert entry.probability == 1
            assert entry.signed == signed
            if magnitudes is None:
                assert entry.magnitude is None
            elif name == "randaugment":
                assert isinstance(entry.magnitude, Value)
                assert entry.magnitude.value == pytest.approx(float(magnitudes[RAND.magnitude]), abs=1e-5)
            else:
                assert isinstance(entry.magnitude, Uniform)
                assert [entry.magnitude.low, entry.magnitude.high] == pytest.approx(
                    magnitudes[[0, -1]].tolist(), abs=1e-6
                )


@pytest.mark.parametrize("name", TORCHVISION)
def test_what_is_drawn_is_distributed_as_torchvisions(name: str) -> None:
    count, policy, known = 60_000, augrad.load_policy(name), expected(name)
    sample = policy.sample(count, torch.Generator().manual_seed(1))
    assert sample.gate.all()
    for stage in range(sample.op.shape[1]):
        for index, op in enumerate(policy.ops):
            chosen = sample.op[:, stage] == index
            number = int(chosen.sum())
            assert number / count == pytest.approx(1 / len(known), abs=5 * (1 / len(known) / count) ** 0.5)
            _, magnitudes, signed = known[op.name]
            if magnitudes is None:
                continue
            positive = float((sample.sign[chosen, stage] == 1).double().mean())
            assert positive == pytest.approx(0.5 if signed else 1.0, abs=2.5 / number**0.5)
            drawn = sample.magnitude[chosen, stage].double()
            if name == "randaugment":
                assert (drawn - magnitudes[RAND.magnitude]).abs().max() < 1e-5
                continue
            # Each of 31 values stands for a 31st of the range: no share below a value is off by more than that.
            drawn = drawn.round() if op.unit == "bits" else drawn
            shares, theirs = ((values[:, None] <= magnitudes + 1e-6).double().mean(0) for values in (drawn, magnitudes))
            assert (shares - theirs).abs().max() < 1 / 31 + 2.5 / number**0.5
            mean = (magnitudes[0] - magnitudes[-1]).abs() / number**0.5
            assert abs(drawn.mean() - magnitudes.mean()) < 1.5 * mean  # 5 standard errors of a uniform draw


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TORCHVISION)
def test_pixels_are_torchvisions(name: str, channels: int) -> None:
    """Of every image on which one operation acts, beside the identity, with the sign that was drawn.

    RandAugment's magnitude is torchvision's own. TrivialAugment's is the one that was drawn, in whole pixels and bits.
    """
    count, policy, known = 1500, augrad.load_policy(name), expected(name)
    pictures = in_levels(every_kind(channels, SIDE, SIDE))
    images = pictures[torch.arange(count) % len(pictures)]
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(2))
    acts = sample.op != [op.name for op in policy.ops].index("identity")
    met = set()
    for i in (acts.sum(1) <= 1).nonzero()[:, 0].tolist():
        stage = int(acts[i].int().argmax())
        op, sign = policy.ops[sample.op[i, stage]].name, int(sample.sign[i, stage])
        theirs_name, magnitudes, _ = known[op]
        magnitude = 0.0
        if magnitudes is not None:
            magnitude = magnitudes[RAND.magnitude] if name == "randaugment" else sample.magnitude[i, stage]
            magnitude = sign * float(magnitude) * UNITS.get(theirs_name, 1)
            if name != "randaugment" and op in ("translate_x", "translate_y", "posterize"):
                magnitude = float(round(magnitude))
        theirs = _apply_op(images[i], theirs_name, magnitude, InterpolationMode.NEAREST, None)
        assert (output[i].int() - theirs.int()).abs().max() <= 1, (op, magnitude)
        met.add((op, sign))
    assert met == {(op, sign) for op, (_, _, signed) in known.items() for sign in ((1, -1) if signed else (1,))}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_weak_end_of_every_range_is_the_identity(channels: int) -> None:
    images = in_levels(every_kind(channels, SIDE, SIDE))
    for entry in stages_of("trivialaugment_wide")[0]:
        if isinstance(entry.magnitude, Uniform):
            same = augrad.ops.get(entry.op).apply(images, torch.full((len(images),), entry.magnitude.low))
            assert (same.int() - images.int()).abs().max() <= 1, entry.op
