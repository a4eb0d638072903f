"""Operations of kornia.augmentation in a space: each image its own parameter and draws, and the right gradient."""

import copy
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from augrad import UserError
from augrad.ops.external import external_op
from augrad.ops.space import make_candidate, make_space
from augrad.ops.spec import Op
from augrad.policy.initial import initial_policy

pytestmark = pytest.mark.slow

kornia = pytest.importorskip("kornia.augmentation")
KORNIA = "kornia.augmentation."

EXACT: dict[str, dict[str, Any]] = {
    "RandomGaussianBlur": {"parameter": "sigma", "low": 0.1, "high": 2.0, "unit": "pixel",
                           "arguments": {"kernel_size": [7, 7]}},
    "RandomRotation": {"parameter": "degrees", "low": 0.0, "high": 30.0, "unit": "degree", "signed": True},
    "RandomAffine.scale": {"low": 1.0, "high": 1.5, "unit": "factor", "arguments": {"degrees": 0.0}},
    "RandomAffine.shear_x": {"low": 0.0, "high": 20.0, "unit": "degree", "signed": True, "arguments": {"degrees": 0.0}},
    "RandomTranslate.translate_x": {"low": 0.0, "high": 6.0, "unit": "pixel", "signed": True,
                                    "arguments": {"translate_x": [0.0, 0.1]}},
    "RandomBrightness": {"parameter": "brightness_factor", "neutral": 1.0, "low": 0.0, "high": 0.9, "unit": "strength",
                         "signed": True},
    "RandomContrast": {"parameter": "contrast_factor", "neutral": 1.0, "low": 0.0, "high": 0.9, "unit": "strength",
                       "signed": True},
    "RandomHue": {"parameter": "hue_factor", "low": 0.0, "high": 0.5, "unit": "fraction", "signed": True},
    "RandomGamma": {"parameter": "gamma_factor", "low": 1.0, "high": 3.0, "unit": "factor"},
    "RandomSharpness": {"parameter": "sharpness", "neutral": 1.0, "low": 0.0, "high": 2.0, "unit": "strength"},
    "RandomPlasmaBrightness": {"parameter": "intensity", "low": 0.0, "high": 0.5, "unit": "strength", "signed": True},
    "ColorJitter.brightness_factor": {"neutral": 1.0, "low": 0.0, "high": 0.9, "unit": "strength", "signed": True},
}  # fmt: skip
THROUGH = {"surrogate": "finite_difference"}
SURROGATE: dict[str, dict[str, Any]] = {
    "RandomSolarize": {"parameter": "thresholds", "low": 1.0, "high": 0.0, "unit": "threshold", **THROUGH,
                       "arguments": {"additions": 0.0}},
    "RandomPosterize": {"parameter": "bits_factor", "low": 8.0, "high": 4.0, "unit": "bits", **THROUGH,
                        "image_grad": "straight_through"},
    "RandomSnow": {"parameter": "snow_coefficient", "low": 0.0, "high": 0.8, "unit": "factor", **THROUGH},
}  # fmt: skip
RANDOM = ["RandomErasing", "RandomPerspective", "RandomElasticTransform", "RandomGaussianNoise", "RandomChannelShuffle",
          "RandomSaltAndPepperNoise", "RandomRotation90"]  # fmt: skip
PLAIN = ["RandomHorizontalFlip", "RandomInvert", "RandomAutoContrast"]
ARGUMENTS = {"RandomRotation90": {"arguments": {"times": [0, 3]}}}


@pytest.fixture(autouse=True)
def global_generator_stays() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def made(name: str) -> Op:
    options = {**EXACT, **SURROGATE}.get(name) or ARGUMENTS.get(name, {})
    return external_op(KORNIA + name, options)[0]


def images_like(batch: int = 5, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(batch, channels, 5, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(18, 22), mode="bilinear")
    return (0.8 * smooth + 0.2 * torch.rand(smooth.shape, generator=generator)).to(dtype)


def magnitudes(op: Op, count: int = 5) -> Tensor:
    if not op.has_magnitude:
        return torch.zeros(count, dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0]).repeat(count)[:count] if op.signed else 1.0
    return (op.low + (op.high - op.low) * torch.linspace(0.1, 0.9, count, dtype=torch.float64)) * sign


def draws(op: Op, count: int = 5) -> tuple[Tensor, ...]:
    numbers = torch.rand(count, op.draws, generator=torch.Generator().manual_seed(7))
    return (numbers,) if op.draws else ()


@pytest.mark.parametrize("name", [*EXACT, *SURROGATE, *RANDOM, *PLAIN])
def test_each_image_gets_its_own_magnitude_and_draw(name: str) -> None:
    op = made(name)
    images, magnitude, draw = images_like(), magnitudes(op), draws(op)
    output = op.apply(images, magnitude, *draw)
    assert output.shape == images.shape
    assert output.min() >= 0
    assert output.max() <= 1
    assert torch.equal(op.apply(images, magnitude, *draw), output)
    for index in range(5):
        one = slice(index, index + 1)
        alone = op.apply(images[one], magnitude[one], *(numbers[one] for numbers in draw))
        torch.testing.assert_close(alone, output[one], rtol=0, atol=1e-5)
    if op.has_magnitude:  # another magnitude for one image changes that image, and no other
        changed = magnitude.clone()
        changed[2] = op.low + 0.95 * (op.high - op.low)
        difference = (op.apply(images, changed, *draw) - output).abs().amax((1, 2, 3))
        assert (difference > 1e-4).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("name", [name for name in EXACT if name != "RandomPlasmaBrightness"])  # draws a map as well
def test_it_is_what_kornia_does_with_that_parameter(name: str) -> None:
    """Compared with the operation itself, an image at a time, its range narrowed to the one value."""
    op = made(name)
    assert op.draws == 0
    images, magnitude = images_like(), magnitudes(op)
    output = op.apply(images, magnitude)
    cls, _, parameter = name.partition(".")
    parameter = parameter or EXACT[name]["parameter"]
    fixed = {key: tuple(value) if isinstance(value, list) else value for key, value in
             EXACT[name].get("arguments", {}).items()}  # fmt: skip
    argument = {"angle": "degrees", "shear_x": "shear"}.get(parameter, parameter.removesuffix("_factor"))
    for index in range(5):
        value = float(EXACT[name].get("neutral", 0.0) + magnitude[index])
        span = (value, value, 0.0, 0.0) if parameter == "shear_x" else (value, value)
        if parameter == "translate_x":  # kornia's own argument is a fraction of the width
            span = (value / images.shape[-1], value / images.shape[-1])
        if cls == "RandomSharpness":
            span = value  # one number: 0 .. value; the drawn one is replaced below
        operation = getattr(kornia, cls)(**{**fixed, argument: span}, p=1.0)
        with torch.random.fork_rng():
            drawn = operation.forward_parameters(torch.Size((1, *images.shape[1:])))
            if cls == "RandomSharpness":
                drawn["sharpness"] = torch.tensor([value])
            torch.testing.assert_close(drawn[parameter].flatten()[0], torch.tensor(value), rtol=1e-5, atol=1e-5)
            theirs = operation(images[index : index + 1], params=drawn)
        torch.testing.assert_close(output[index : index + 1], theirs.clamp(0, 1), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", EXACT)
def test_the_derivative_reaches_the_policys_parameters(name: str) -> None:
    """d loss / d location, against a finite difference through the whole policy in float64."""
    policy = initial_policy(make_space({KORNIA + name: EXACT[name]}), probability=0.999999, scale=0.4)
    images = images_like(8, dtype=torch.float64)
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=torch.float64).reshape(images[0].shape)
    noise = policy.draw_noise(8, torch.Generator().manual_seed(1))

    def loss() -> Tensor:
        return (policy(images, params=policy.sample_from(noise)) * weights).sum()

    (found,) = torch.autograd.grad(loss(), policy.magnitude_locations)
    step = 1e-6
    with torch.no_grad():
        policy.magnitude_locations += step
        above = loss()
        policy.magnitude_locations -= 2 * step
        below = loss()
    torch.testing.assert_close(found.sum(), (above - below) / (2 * step), rtol=1e-3, atol=1e-6)
    assert found.abs() > 1e-6


@pytest.mark.parametrize("name", SURROGATE)
def test_a_parameter_without_a_derivative_is_refused_and_taken_with_a_surrogate(name: str) -> None:
    without = {key: value for key, value in SURROGATE[name].items() if key != "surrogate"}
    message = rf"kornia.augmentation.{name}: expected .* derivative .* the parameter {without['parameter']}.*surrogate"
    with pytest.raises(UserError, match=message):
        make_space({KORNIA + name: without})
    op = made(name)
    assert op.magnitude_grad == "straight_through"
    images = images_like().requires_grad_()
    magnitude = magnitudes(op).requires_grad_()
    weights = torch.linspace(-1, 1, images[0].numel()).reshape(images[0].shape)
    gradients = torch.autograd.grad((op.apply(images, magnitude) * weights).sum(), (images, magnitude))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    plain = external_op(KORNIA + name, {**without, "magnitude_grad": "none"})[0]
    assert torch.equal(plain.apply(images, magnitude), op.apply(images, magnitude))


@pytest.mark.parametrize("name", RANDOM)
def test_what_it_draws_follows_from_the_sample(name: str) -> None:
    op = made(name)
    assert op.draws == 1
    space = make_space({KORNIA + name: ARGUMENTS.get(name, {}), "identity": {}})
    policy = initial_policy(space, stages=2, probability=0.9)
    images = images_like(1).expand(24, -1, -1, -1)
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy(images, params=sample), output)
    assert torch.equal(pickle.loads(pickle.dumps(policy))(images, params=sample), output)
    assert torch.equal(copy.deepcopy(policy)(images, params=sample), output)
    assert len({tuple(image.flatten().tolist()) for image in output}) > 5  # every image its own draw
    part = policy(images[5:9], params=sample[5:9])
    torch.testing.assert_close(part, output[5:9], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["RandomGaussianBlur", "RandomErasing"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_every_type_goes_in_and_comes_out(name: str, dtype: torch.dtype) -> None:
    op = made(name)
    images = images_like()
    given = (255 * images).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    scale = 255 if dtype == torch.uint8 else 1
    output = op.apply(given, magnitudes(op), *draws(op))
    assert output.dtype == dtype
    expected = op.apply(given.float() / scale, magnitudes(op), *draws(op))
    torch.testing.assert_close(output.float() / scale, expected, rtol=0, atol=5e-3)


def test_a_call_leaves_no_trace_in_the_operation() -> None:
    from augrad.ops.kornia_op import _module

    op = made("RandomGaussianBlur")
    magnitude = magnitudes(op).requires_grad_()
    op.apply(images_like(), magnitude)
    kept = _module(op.apply.function.operation, op.apply.function.arguments, torch.device("cpu"), torch.float32)
    assert kept._params == {}
    assert kept._transform_matrix is None


def test_what_moves_pixels_is_geometric_and_the_rest_is_colour() -> None:
    assert made("RandomRotation").kind == made("RandomHorizontalFlip").kind == "geometric"
    assert made("RandomGaussianBlur").kind == made("RandomErasing").kind == "color"
    images, masks = images_like(), torch.ones(5, 18, 22)
    stays = initial_policy(make_space({KORNIA + "RandomGaussianBlur": EXACT["RandomGaussianBlur"]}))
    assert torch.equal(stays(images, masks=masks, generator=torch.Generator()).masks, masks)
    moves = initial_policy(make_space({KORNIA + "RandomHorizontalFlip": {}}))
    with pytest.raises(UserError, match="RandomHorizontalFlip cannot move masks"):
        moves(images, masks=masks, generator=torch.Generator())
    with pytest.raises(UserError, match="kind: expected geometric, got color; RandomHorizontalFlip moves pixels"):
        make_space({KORNIA + "RandomHorizontalFlip": {"kind": "color"}})


BLUR = EXACT["RandomGaussianBlur"]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("RandomGaussianBlurr", {}, "did you mean RandomGaussianBlur"),
    ("RandomBrightness", {"low": 0.0, "high": 1.0, "unit": "strength"}, "parameter: expected one of brightness_factor"),
    ("RandomGaussianBlur", {**BLUR, "parameter": "sigm", "arguments": {"kernel_size": 3, "sigma": [0.1, 2.0]}},
     "parameter: expected a parameter that RandomGaussianBlur draws, got 'sigm'; did you mean sigma"),
    ("RandomGaussianBlur", {**BLUR, "arguments": {}}, "arguments: expected also kernel_size"),
    ("RandomGaussianBlur", {**BLUR, "arguments": {"kernel_size": [7, 7], "p": 0.5}}, "arguments.p: .* policy decides"),
    ("RandomGaussianBlur", {**BLUR, "arguments": {"kernel_size": 3, "border": 1}}, "arguments.border: .*border_type"),
    ("RandomGaussianBlur", {**BLUR, "arguments": {"kernel_size": 3, "border_type": "round"}}, "it says: "),
    ("RandomGaussianBlur", {**BLUR, "arguments": {"kernel_size": {1, 2}}}, "arguments: expected numbers, strings"),
    ("RandomGaussianBlur", {**BLUR, "draws": 2}, "draws: expected no such option"),
    ("RandomAffine.scale", {**EXACT["RandomAffine.scale"], "parameter": "angle"}, "parameter: expected scale"),
    ("RandomAffine.scale", {"arguments": {"degrees": 0.0}}, "low: expected the range"),
    ("RandomPerspective.start_points", {"low": 0.0, "high": 1.0, "unit": "pixel"}, "one number for each image, got st"),
    ("RandomCrop", {"arguments": {"size": [8, 8]}}, r"got \[5, 3, 8, 8\]"),
    ("RandomPlasmaContrast.roughness", {"low": 0.1, "high": 0.7, "unit": "factor"}, "parameter roughness changes"),
    ("RandomMixUpV2", {}, "two-dimensional operation of kornia, got a class"),
    ("AugmentationSequential", {}, "two-dimensional operation of kornia, got a class"),
    ("RandomEqualize", {}, "a gradient for the images, got zeros; write image_grad: straight_through"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "message"), WRONG)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_space({KORNIA + name: options})


def test_an_operation_derived_from_kornias_is_one() -> None:
    options = {"low": 0.0, "high": 0.5, "unit": "addend"}
    op = external_op("open_kornia.Lighter.amount", options)[0]
    assert op.kind == "color"
    images, magnitude = images_like(), magnitudes(op)
    torch.testing.assert_close(
        op.apply(images, magnitude), (images + magnitude.float()[:, None, None, None]).clamp(0, 1)
    )


@pytest.mark.parametrize("page", ["README.md", "docs/open_space.md"])
def test_the_examples_of_the_documents_are_true(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    spaces = [block.get("ops", block) for block in blocks if "kornia.augmentation" in str(block)]
    assert spaces
    (tmp_path / "mypackage").mkdir()
    functions = re.findall(r"```python\n# mypackage/ops.py\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mypackage" / "ops.py").write_text("".join(functions))
    monkeypatch.syspath_prepend(tmp_path)
    images = images_like(64)
    for space in spaces:
        policy = initial_policy(make_space(space), stages=2)
        output, sample = policy(images, return_params=True, generator=torch.Generator())
        assert torch.equal(policy(images, params=sample), output)


def test_without_kornia_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "kornia"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr("importlib.machinery.PathFinder.find_spec", _all_but_kornia())
    with pytest.raises(UserError, match=r"expected kornia to be installed, .* pip install 'augrad\[interop\]'"):
        make_candidate(KORNIA + "RandomInvert")


def _all_but_kornia() -> Any:
    from importlib.machinery import PathFinder

    original = PathFinder.find_spec

    def find_spec(name: str, *arguments: Any) -> Any:
        return None if name == "kornia" else original(name, *arguments)

    return find_spec
