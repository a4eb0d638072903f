"""Operations that are not augrad's own: any importable function, checked when the space is made."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import open_ops
from augrad import UserError, ops
from augrad.engines.choice import plan_of
from augrad.engines.contract import Settings, Stages
from augrad.engines.grouped.engine import by_selecting
from augrad.errors import AugradWarning
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.ops.external import external_op
from augrad.ops.probe import probe
from augrad.ops.space import make_candidate, make_space
from augrad.ops.spec import Op
from augrad.policy.initial import initial_policy, space_of

STRENGTH = {"low": 0.0, "high": 0.9, "unit": "strength"}


def made(name: str, **options: Any) -> Op:
    return external_op(f"open_ops.{name}", {**STRENGTH, **options})[0]


def images_like(batch: int = 5, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(batch, channels, 9, 11, generator=generator).to(dtype)


def derivative(op: Op, images: Tensor, magnitude: Tensor, *draw: Tensor) -> Tensor:
    """d (weighted sum of the pixels) / d magnitude, [B]."""
    magnitude = magnitude.clone().requires_grad_()
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=images.dtype).reshape(images[0].shape)
    (found,) = torch.autograd.grad((op.apply(images, magnitude, *draw) * weights).sum(), magnitude)
    return found


# --- the checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ops.names() if ops.get(name).kind != "mix"])
def test_augrads_own_operations_pass_the_checks(name: str) -> None:
    finding = probe(ops.get(name))
    assert finding.channels == (1, 3)
    assert finding.change_at_low <= 1 / 255


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("detached", {}, "a derivative with respect to the magnitude, got none .*surrogate: finite_difference"),
    ("step", {}, "a derivative with respect to the magnitude, got zeros .*magnitude_grad: none"),
    ("wrong_derivative", {}, "that finite differences give, got .*magnitude_grad: straight_through"),
    ("own_surrogate", {}, "that finite differences give"),
    ("step", {"surrogate": "open_ops.wrong_slope"}, "points the way of finite differences .*cosine of -"),
    ("step", {"magnitude_grad": "straight_through"}, "a derivative with respect to the magnitude, got zeros"),
    ("infinite_derivative", {"low": 1.0, "high": 2.0}, "a finite gradient for the images, .* values of 0 or 1"),
    ("infinite_derivative", {"low": 1.0, "high": 2.0, "image_grad": "straight_through"}, "a finite derivative"),
    ("does_nothing", {}, "images that the magnitude changes, got the same ones at both ends of its range, 0.0 and 0.9"),
    ("too_bright", {}, r"values in \[0, 1\], got 0 \.\. 1\.[0-9]+ .*clamp\(0, 1\)"),
    ("not_finite", {}, "finite values, got NaN or infinity"),
    ("smaller", {}, r"shape and type that came in, \[5, 3, 24, 20\] torch.float64, got \[5, 3, 24, 19\]"),
    ("always_single", {}, r"\[5, 3, 24, 20\] torch.float64, got \[5, 3, 24, 20\] torch.float32"),
    ("gives_a_list", {}, "shape and type that came in, .* got list"),
    ("writes_to_its_input", {}, "input is left as it is"),
    ("draws_by_itself", {}, "draws from torch's generator; .*draws: 2"),
    ("draws_elsewhere", {}, "the same images for the same input, got others .*draws: 2"),
    ("same_for_all", {}, r"itself and its own magnitude, .*magnitude\[:, None, None, None\]"),
    ("batch_statistics", {}, "another image when it is alone"),
    ("fails", {}, r"got an exception: KeyError: 'nothing here'"),
    ("magnitude_as_it_is", {}, r"got an exception: .*is magnitude\[:, None, None, None\] beside the images"),
    ("through_numpy", {}, "a gradient for the images, got an exception with autograd, .*image_grad: straight_through"),
    ("through_numpy", {"image_grad": "straight_through"}, "for the magnitude, got an exception .*surrogate"),
]


@pytest.mark.parametrize(("name", "options", "message"), WRONG, ids=[f"{name} {list(o)}" for name, o, _ in WRONG])
def test_an_operation_that_breaks_the_contract_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    generator = torch.get_rng_state()
    with pytest.raises(UserError, match=message) as caught:
        make_space({"identity": {}, f"open_ops.{name}": {**STRENGTH, **options}})
    assert str(caught.value).startswith(f"space: open_ops.{name}: ")
    assert torch.equal(torch.get_rng_state(), generator)


OPTIONS: list[tuple[str, Any, str]] = [
    ("gamma", {}, r"^expected a function of \(images\), got gamma\(images: .*magnitude.* give low, high and unit"),
    ("gamma", 3, "expected options as in .* got 3"),
    ("gamma", {"high": 1.0}, "low: expected a number, the weak end .* come together"),
    ("gamma", {"low": 0.0, "high": 1.0}, "unit: expected the unit .* got nothing"),
    ("gamma", {**STRENGTH, "unit": "radian"}, "unit: expected the unit of the magnitude: factor, .* got 'radian'"),
    ("gamma", {**STRENGTH, "high": 0.0}, "high: expected a number other than low"),
    ("gamma", {**STRENGTH, "high": True}, "high: expected a number, .* got True"),
    ("gamma", {**STRENGTH, "high": float("inf")}, "high: expected a number, .* got inf"),
    ("gamma", {**STRENGTH, "hihg": 1.0}, "expected only low, high, unit, .* got hihg"),
    ("gamma", {**STRENGTH, "kind": "mix"}, "kind: expected geometric, color, filter or erase, got 'mix'"),
    ("gamma", {**STRENGTH, "draws": 2}, r"expected a function of \(images, magnitude, draw\)"),
    ("gamma", {**STRENGTH, "draws": 0}, "draws: expected a whole number from 1 to 64, got 0"),
    ("gamma", {**STRENGTH, "parameter": "sigma"}, "parameter: expected no such option, .* kornia"),
    ("gamma", {**STRENGTH, "arguments": {"a": 1}}, "arguments: expected no such option, .* kornia"),
    ("gamma", {**STRENGTH, "surrogate": "slope"}, "surrogate: expected finite_difference, or the name"),
    ("gamma", {**STRENGTH, "surrogate": "open_ops.TABLE"}, "surrogate: expected a function"),
    ("gamma", {**STRENGTH, "surrogate": "open_ops.step_slop"}, "did you mean step_slope"),
    ("step", {**STRENGTH, "surrogate": "finite_difference", "magnitude_grad": "exact"}, "magnitude_grad: expected str"),
    ("negative", {"signed": True}, "signed: expected no such option"),
    ("negative", {"surrogate": "finite_difference"}, "surrogate: expected no such option"),
    ("three_arguments", STRENGTH, r"expected a function of \(images, magnitude\), got three_arguments\("),
    ("Gamma", STRENGTH, "expected a function .* got a class"),
    ("TABLE", STRENGTH, "expected a function .* got a value of type ndarray"),
    ("gama", STRENGTH, "expected a function of open_ops, got 'gama', which it does not have; did you mean gamma"),
]


@pytest.mark.parametrize(("name", "options", "message"), OPTIONS)
def test_wrong_options_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        external_op(f"open_ops.{name}", options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.ops.gamma", "there is no module no_such_package: .*PYTHONPATH"),
        ("open_ops.inner.gamma", "there is no module open_ops.inner"),
        ("open_ops.", "expected a name as in package.module.function"),
        ("open ops.gamma", "expected a name as in package.module.function"),
        ("open_ops.class", "expected a name as in package.module.function"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        external_op(name, STRENGTH)


def test_a_module_that_misses_another_one_says_which(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="there is no module a_package_that_is_not_there"):
        external_op("needs_more.gamma", STRENGTH)


def test_a_weak_end_that_is_not_the_identity_is_told() -> None:
    with pytest.warns(AugradWarning, match=r"open_ops.darken: at the weak end of its range, 0.2 strength, pixels"):
        make_space({"open_ops.darken": {**STRENGTH, "low": 0.2}})


# --- what is made of a good one --------------------------------------------------------------------------------------


def test_options_become_the_operation() -> None:
    candidate = make_candidate("open_ops.gamma", {**STRENGTH, "signed": True, "kind": "color"})
    op = candidate.op
    assert (op.name, op.low, op.high, op.unit, op.signed) == ("open_ops.gamma", 0.0, 0.9, "strength", True)
    assert (op.kind, op.magnitude_grad, op.draws) == ("color", "exact", 0)
    assert (candidate.low, candidate.high, candidate.signed) == (0.0, 0.9, True)
    plain = make_candidate("open_ops.negative").op
    assert (plain.has_magnitude, plain.magnitude_grad, plain.kind) == (False, "none", "geometric")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_every_type_goes_in_and_comes_out(dtype: torch.dtype) -> None:
    images = images_like()
    given = (255 * images).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    magnitude = torch.linspace(0, 0.9, 5, dtype=torch.float64)
    output = made("gamma").apply(given, magnitude)
    assert output.dtype == dtype
    scale = 255 if dtype == torch.uint8 else 1
    shown = (given.double() / scale) if dtype == torch.uint8 else given.double()
    expected = open_ops.gamma(shown, magnitude)
    atol = {torch.uint8: 0.51 / 255, torch.bfloat16: 4e-3, torch.float16: 1e-3}.get(dtype, 1e-6)
    assert ((output.double() / scale) - expected).abs().max() <= atol


def test_an_exact_derivative_passes_gradcheck() -> None:
    images = (0.2 + 0.6 * images_like(2, dtype=torch.float64)[..., :4, :4]).requires_grad_()
    magnitude = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(made("gamma").apply, (images, magnitude))


def test_a_surrogate_replaces_the_derivative_and_nothing_else() -> None:
    op = made("step", surrogate="open_ops.step_slope")
    assert op.magnitude_grad == "straight_through"
    images, magnitude = images_like(dtype=torch.float64), torch.linspace(0.1, 0.8, 5, dtype=torch.float64)
    assert torch.equal(op.apply(images, magnitude), open_ops.step(images, magnitude))
    smooth = made("darken")
    torch.testing.assert_close(derivative(op, images, magnitude), derivative(smooth, images, magnitude))
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(op.apply(images, magnitude).sum(), images)
    factor = open_ops.step(torch.ones_like(images), magnitude)
    torch.testing.assert_close(gradient, factor)


def test_the_finite_difference_is_that_of_the_forward_pass_and_stays_in_the_range() -> None:
    op = made("step", surrogate="finite_difference")
    images = images_like(dtype=torch.float64)
    magnitude = torch.tensor([0.0, 0.05, 0.33, 0.42, 0.9], dtype=torch.float64)
    h = 0.9 / 8
    above, below = (magnitude + h).clamp(max=0.9), (magnitude - h).clamp(min=0.0)
    slope = (open_ops.step(images, above) - open_ops.step(images, below)) / open_ops.column(above - below)
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=images.dtype).reshape(images[0].shape)
    torch.testing.assert_close(derivative(op, images, magnitude), (slope * weights).sum((1, 2, 3)))


def test_an_operation_may_bring_its_own_surrogate() -> None:
    op = made("own_surrogate", magnitude_grad="straight_through")
    images, magnitude = images_like(dtype=torch.float64), torch.linspace(0.1, 0.8, 5, dtype=torch.float64)
    assert torch.equal(op.apply(images, magnitude), open_ops.step(images, magnitude))
    torch.testing.assert_close(derivative(op, images, magnitude), derivative(made("darken"), images, magnitude))


def test_without_a_derivative_a_magnitude_has_none() -> None:
    op = made("step", magnitude_grad="none")
    magnitude = torch.full((5,), 0.4, requires_grad=True)
    assert not op.apply(images_like(), magnitude).requires_grad


def test_an_image_gradient_may_pass_straight_through() -> None:
    op = made("through_numpy", magnitude_grad="none", image_grad="straight_through")
    images, magnitude = images_like().requires_grad_(), torch.linspace(0, 0.9, 5)
    output = op.apply(images, magnitude)
    assert torch.equal(output, open_ops.darken(images, magnitude))
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((output * weights).sum(), images)
    assert torch.equal(gradient, weights)


def test_numbers_that_an_operation_draws_come_from_the_sample() -> None:
    space = make_space({"open_ops.rain": {**STRENGTH, "draws": 1}, "identity": {}})
    policy = initial_policy(space, probability=0.999, learn=[])
    assert policy.extra_draws == 1
    images, generator = images_like(40), torch.get_rng_state()
    output, sample = policy(images, return_params=True, generator=torch.Generator().manual_seed(0))
    acted = (sample.op[:, 0] == 0) & sample.gate[:, 0]
    width = images.shape[-1]
    changed = (output != images).any(1).any(1)  # [B, W]
    assert torch.equal(changed.sum(1), acted.long())
    assert torch.equal(changed.long().argmax(1)[acted], (sample.draw[acted, 0, 0] * width).long())
    assert len(changed.long().argmax(1)[acted].unique()) > 3
    assert torch.equal(policy(images, params=sample), output)
    assert torch.equal(policy(images[7:11], params=sample[7:11]), output[7:11])
    assert torch.equal(torch.get_rng_state(), generator)


def test_operations_are_tried_on_drawn_numbers_of_the_type_that_a_policy_hands_them() -> None:
    policy = initial_policy(make_space({"open_ops.speckle": {**STRENGTH, "draws": 1}}), probability=1.0)
    for dtype in (torch.float16, torch.float32, torch.float64):
        images = images_like(8).to(dtype)
        output, sample = policy(images, return_params=True)
        assert output.dtype == dtype
        assert sample.draw.dtype == torch.float32
        assert (output != images).flatten(1).any(1).all()


def test_a_policy_with_such_operations_can_be_sent_to_workers() -> None:
    space = make_space({"open_ops.gamma": STRENGTH, "open_ops.step": {**STRENGTH, "surrogate": "finite_difference"}})
    policy = initial_policy(space)
    images = images_like(20)
    output, sample = policy(images, return_params=True)
    assert torch.equal(pickle.loads(pickle.dumps(policy))(images, params=sample), output)


def test_an_operation_for_colour_refuses_grey_images_by_name() -> None:
    policy = initial_policy(make_space({"open_ops.only_colour": STRENGTH}), probability=0.999)
    assert policy(images_like()).shape == (5, 3, 9, 11)
    with pytest.raises(UserError, match=r"open_ops.only_colour takes images with 3 channels, got 1"):
        policy(images_like(channels=1))


def test_the_selected_path_of_a_gpu_gives_the_same() -> None:
    rain = {**STRENGTH, "draws": 1}
    policy = initial_policy(make_space({"open_ops.gamma": STRENGTH, "open_ops.rain": rain, "rotate": {}}), stages=2)
    images, sample = images_like(24), policy.sample(24)
    chosen = torch.where(sample.gate, sample.op, -1)
    settings = Settings(0.0, "bilinear", images)
    stages = Stages(plan_of(policy.ops), chosen, sample.magnitude * sample.sign, sample.draw, settings)
    output = by_selecting(by_selecting(images, stages.one(0)), stages.one(1))
    torch.testing.assert_close(policy(images, params=sample), output)


# --- spaces ----------------------------------------------------------------------------------------------------------


def test_a_dotted_name_may_be_given_part_by_part_and_changed_later() -> None:
    space = make_space(
        {
            "rotate": {"high": 45},
            "open_ops.gamma": STRENGTH,
            "open_ops": {"gamma": {"high": 0.5}, "negative": {}, "darken": STRENGTH},
        }
    )
    assert space.names == ("rotate", "open_ops.gamma", "open_ops.negative", "open_ops.darken")
    assert space.candidates[1].high == 0.5
    assert space.candidates[1].op.unit == "strength"
    left = make_space({"identity": {}, "open_ops.gamma": STRENGTH, "open_ops": {"gamma": False}})
    assert left.names == ("identity",)
    with pytest.raises(UserError, match=r"space: open_ops.gamma: expected only low, .* got hihg"):
        make_space({"open_ops": {"gamma": {"hihg": 0.5}}})


# --- targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["masks", "boxes", "keypoints"])
def test_targets_stay_only_where_pixels_are_said_to_stay(target: str) -> None:
    corners = torch.tensor([[1.0, 2.0, 6.0, 7.0], [0.0, 0.0, 11.0, 9.0]])
    masks = torch.arange(5 * 9 * 11).reshape(5, 9, 11)
    given = {
        target: {"masks": masks, "boxes": corners.expand(5, 2, 4), "keypoints": corners[:, :2].expand(5, 2, 2)}[target]
    }
    policy = initial_policy(make_space({"open_ops.gamma": STRENGTH}))
    with pytest.raises(UserError, match=rf"open_ops.gamma cannot move {target}: .*kind: color"):
        policy(images_like(), **given)
    for kind in ("color", "filter", "erase"):
        policy = initial_policy(make_space({"open_ops.gamma": {**STRENGTH, "kind": kind}}))
        torch.testing.assert_close(getattr(policy(images_like(), **given), target), given[target])


# --- estimators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [Gumbel(magnitude="pathwise"), Enumerate(magnitude="pathwise"), Mixture()])
def test_an_estimator_that_needs_the_derivative_says_so(estimator: Callable[..., Any]) -> None:
    def scalar(sample: Any) -> Tensor:
        return policy(images_like(), params=sample).mean((1, 2, 3))

    policy = initial_policy(make_space({"open_ops.step": {**STRENGTH, "magnitude_grad": "none"}, "identity": {}}))
    with pytest.raises(UserError, match=r"differentiates magnitudes .* open_ops.step with magnitude_grad: none"):
        estimator(scalar, policy, 5, torch.Generator(), 0.0)
    Gumbel()(scalar, policy, 5, torch.Generator(), 0.0)  # learns it by its score
    policy = initial_policy(make_space({"open_ops.step": {**STRENGTH, "surrogate": "finite_difference"}}))
    assert estimator(scalar, policy, 5, torch.Generator(), 0.0).grads.magnitude_locations.abs() > 0


COMPILE = """
import torch
from augrad.policy.initial import initial_policy, space_of
from augrad.ops.space import make_space
strength = {"low": 0.0, "high": 0.9, "unit": "strength"}
ops = {"open_ops.gamma": strength, "open_ops.rain": {**strength, "draws": 1}, "identity": {}}
policy = initial_policy(make_space(ops))
images, sample = torch.rand(16, 3, 12, 14), policy.sample(16)
compiled = torch.compile(lambda x, s: policy(x, params=s), fullgraph=True, backend="eager")
torch.testing.assert_close(compiled(images, sample), policy(images, params=sample))
print("compiled")
"""


@pytest.mark.slow
def test_functions_compile_as_one_graph() -> None:
    # In a process of its own: the tests' shape checks are not for compilers.
    paths = [str(Path(open_ops.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "compiled", done.stderr[-3000:]


# --- functions in the place of names ----------------------------------------------------------------------------------


def test_a_function_stands_for_its_name() -> None:
    """Of the user's, of augrad, of a surrogate; in a mapping and in a list."""
    given = {open_ops.gamma: STRENGTH, ops.rotate: {"high": 20.0}, open_ops.negative: None, "identity": None}
    named = {"open_ops.gamma": STRENGTH, "rotate": {"high": 20.0}, "open_ops.negative": None, "identity": None}
    found, expected = make_space(given), make_space(named)
    assert found.names == expected.names == ("open_ops.gamma", "rotate", "open_ops.negative", "identity")
    assert [(one.low, one.high, one.signed) for one in found.candidates] == [
        (one.low, one.high, one.signed) for one in expected.candidates
    ]
    by_function = make_space({open_ops.step: {**STRENGTH, "surrogate": open_ops.step_slope}})
    assert by_function.candidates[0].op.apply.definition.surrogate == "open_ops.step_slope"
    assert space_of([open_ops.negative, ops.invert]).names == ("open_ops.negative", "invert")
    with pytest.raises(UserError, match="expected each operation once"):
        space_of([ops.invert, "invert"])


def test_a_function_of_the_script_is_in_its_file_and_found_again(tmp_path: Path) -> None:
    script = """
import augrad, torch
def fade(images, magnitude):
    return images * (1 - magnitude[:, None, None, None])
policy = augrad.Policy.over({fade: {"low": 0.0, "high": 0.9, "unit": "strength"}, "identity": None})
augrad.save_policy(policy, "policy.json")
again = augrad.load_policy("policy.json", allow=["__main__"])
images = torch.rand(4, 3, 8, 8)
made = [one(images, generator=torch.Generator().manual_seed(0)) for one in (policy, again)]
assert torch.equal(*made) and not torch.equal(made[0], images)
assert "__main__.fade" in open("policy.json").read()
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Callable3:
    def __call__(self, images: Tensor) -> Tensor:
        return images


def _shadowed(images: Tensor) -> Tensor:
    return 1 - images


_OLD = _shadowed


def _shadowed(images: Tensor) -> Tensor:  # type: ignore[no-redef]
    return images


def test_what_no_name_stands_for_is_refused() -> None:
    def inner(images: Tensor) -> Tensor:
        return 1 - images

    wrong: dict[Any, str] = {
        inner: "a function with a name of its own.*<locals>.inner.*at the top level",
        (lambda images: images): "a function with a name of its own.*<lambda>",
        Callable3(): "a function with a name of its own.*Callable3",
        _OLD: "got another one of that name",
    }
    for given, words in wrong.items():
        with pytest.raises(UserError, match=f"space: .*{words}"):
            make_space({given: None})
