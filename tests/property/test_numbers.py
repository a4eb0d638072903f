"""NaN, infinities and values outside: where they go, the same in every engine, and what is refused."""

import json
import math
import warnings
from dataclasses import replace

import PIL.Image
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor
from torchvision.transforms.v2.functional import affine
from torchvision.transforms.v2.functional import pil_to_tensor as to_tensor

from augrad import ImageRangeWarning, Policy, PolicySample, UserError, ops
from augrad.engines.choice import ENGINES as EVERY_ENGINE
from augrad.engines.grouped.engine import by_selecting, by_sorting
from augrad.ops import numeric
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.policy_file.parse import parse_policy
from odd_numbers import CASES, HEIGHT, NAMES, WIDTH, Case, assert_same, each_alone, outcome
from ways import ENGINES

pytestmark = pytest.mark.filterwarnings("ignore::augrad.ImageRangeWarning")

WAYS = {name: EVERY_ENGINE[name].apply for name in ENGINES} | {"sorted": by_sorting, "selected": by_selecting}
del WAYS["grouped"]  # one of the last two
WITH_MAGNITUDE = [name for name in NAMES if ops.get(name).has_magnitude]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_does_what_the_operations_do(way: str, case: Case, channels: int) -> None:
    assert_same(outcome(WAYS[way], case, channels), outcome(each_alone, case, channels), case)


def window(reach: int, channels: slice = slice(0, 1)) -> Tensor:
    """The pixels so near to the one in row 4 and column 5."""
    result = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    result[channels, max(4 - reach, 0) : 5 + reach, max(5 - reach, 0) : 6 + reach] = True
    return result


EVERYWHERE = slice(None)
SPREAD = {
    # Where one NaN, in the first channel, goes when it is not moved.
    **dict.fromkeys(NAMES, window(0)),
    **dict.fromkeys(("color", "hue", "grayscale"), window(0, EVERYWHERE)),
    **dict.fromkeys(("auto_contrast", "equalize"), window(99)),
    "contrast": window(99, EVERYWHERE),
    "sharpness": window(1),
    "gaussian_blur": window(6),
    "horizontal_flip": window(0).flip(2),
    "vertical_flip": window(0).flip(1),
}


@pytest.mark.parametrize("name", NAMES)
def test_where_one_pixel_that_is_no_number_goes(name: str) -> None:
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    images[0, 0, 4, 5] = math.nan
    op = ops.get(name)
    others = {"others": torch.rand_like(images)} if op.kind == "mix" else {}
    output = op.apply(images, torch.full((2,), op.low or 0.0), **others)
    assert torch.equal(output[0].isnan(), SPREAD[name])
    assert output[1].isfinite().all()


def test_what_is_cut_out_or_moved_out_is_gone() -> None:
    images = torch.rand(1, 1, 8, 8)
    images[..., 4, 4], images[..., 0, 7] = math.nan, math.inf
    cut = ops.cutout(images, torch.tensor([0.5], requires_grad=True), fill=0.25)
    assert (cut[..., 4, 4] == 0.25).all()
    assert (cut[..., 0, 7] == math.inf).all()
    assert ops.translate_x(images[..., 1:, :], torch.tensor([0.5])).isfinite().all()
    moved = ops.translate_x(images, torch.tensor([0.125]))  # a whole pixel: a neighbour of weight 0 does not count
    assert moved.isnan().nonzero().tolist() == [[0, 0, 4, 5]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", WITH_MAGNITUDE)
def test_a_magnitude_that_is_no_number_takes_its_own_image_along(name: str, dtype: torch.dtype) -> None:
    op = ops.get(name)
    images = torch.rand(3, 3, 6, 7, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    middle = (op.low + op.high) / 2  # type: ignore[operator]
    magnitude = torch.tensor([middle, math.nan, middle], requires_grad=True)
    others = {"others": torch.rand(3, 3, 6, 7).to(dtype)} if op.kind == "mix" else {}
    output = op.apply(images, magnitude, **others)
    assert output.dtype == dtype
    by_images, by_magnitude = torch.autograd.grad(output.sum(), (images, magnitude))
    for values in (output, by_images, by_magnitude):
        assert values[1].isnan().all()
        assert values[::2].isfinite().all()
    with pytest.raises(UserError, match=f"{name}: expected a .*got NaN, which 8 bits cannot hold"):
        op.apply((images.detach() * 255).to(torch.uint8), magnitude)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # of torch's own derivatives
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", [name for name in WITH_MAGNITUDE if ops.get(name).kind == "geometric"])
def test_a_magnitude_that_is_no_number_has_no_place_to_read_at(name: str, interpolation: str) -> None:
    """Where every expression is seen through, and where images hold NaN: no index comes from it."""
    images = torch.rand(3, 2 + 1, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    magnitude = torch.tensor([0.1, math.nan, 0.1])

    def op(given: Tensor) -> Tensor:
        return ops.get(name).apply(given, magnitude, interpolation=interpolation)

    with_nan = images.clone()
    with_nan[0, 0, 2, 3] = math.nan
    leaf = with_nan.clone().requires_grad_()
    found = {
        "float64": op(images),
        "NaN among pixels": op(with_nan),
        "gradient": torch.func.grad(lambda given: op(given).sum())(images),
        "tangent": torch.func.jvp(op, (images,), (images,))[1],
        "gradient with a graph": torch.autograd.grad(op(leaf).sum(), leaf, create_graph=True)[0],
    }
    for way, values in found.items():
        assert values[1].isnan().all(), way
        assert values[2].isfinite().all(), way


def sample_of(policy: Policy, name: str, magnitude: float, batch: int = 2) -> PolicySample:
    sample = policy.sample(batch, generator=torch.Generator().manual_seed(0)).detach()
    return replace(
        sample,
        op=torch.full_like(sample.op, [op.name for op in policy.ops].index(name)),
        gate=torch.ones_like(sample.gate),
        magnitude=torch.full_like(sample.magnitude, magnitude),
        sign=torch.ones_like(sample.sign),
    )


def test_a_policy_of_parameters_that_are_no_numbers() -> None:
    policy = initial_policy(make_space({"rotate": None, "posterize": None, "invert": None}))
    with torch.no_grad():
        policy.magnitude_locations.fill_(math.nan)
        policy.gate_logits.fill_(30.0)
    images = torch.rand(30, 3, 6, 7)
    generator = torch.Generator().manual_seed(0)
    output, sample = policy(images, return_params=True, generator=generator)
    inverts = torch.tensor([policy.ops[int(index)].name == "invert" for index in sample.op[:, 0]])
    assert torch.equal(output[inverts], 1 - images[inverts])
    assert output[~inverts].isnan().all()
    with pytest.raises(UserError, match="8 bits cannot hold"):
        policy((images * 255).to(torch.uint8), generator=generator)


MEANINGLESS = [
    ("brightness", -1.01),
    ("color", -2.0),
    ("contrast", -2.0),
    ("sharpness", -1.5),
    ("solarize", 1.5),
    ("solarize", -0.1),
    ("posterize", 9.0),
    ("posterize", -1.0),
    ("gaussian_blur", -1.0),
    ("cutout", -0.2),
    ("sample_pairing", 1.1),
    *((name, end) for name in WITH_MAGNITUDE for end in (math.inf, -math.inf)),
]


@pytest.mark.parametrize(("name", "magnitude"), MEANINGLESS)
def test_magnitudes_without_a_meaning_are_refused_where_they_are_given(name: str, magnitude: float) -> None:
    images, low = torch.rand(2, 3, 5, 6), ops.get(name).low
    for dtype in (torch.float32, torch.uint8):
        given = (images * 255).to(dtype) if dtype == torch.uint8 else images
        with pytest.raises(UserError, match=f"{name}: expected a "):
            ops.get(name).apply(given, torch.tensor([low, magnitude]))
        policy = initial_policy(make_space({name: None, "invert": None}))
        with pytest.raises(UserError, match=f"{name}: expected a "):
            policy(given, params=sample_of(policy, name, magnitude))
        policy(given, params=replace(sample_of(policy, "invert", magnitude)))  # it has none
    for range_ in ({"low": magnitude, "signed": False}, {"high": magnitude, "signed": False}):
        with pytest.raises(UserError, match=f"space: {name}: expected finite numbers"):
            make_space({name: range_})
    slot = replace(policy.slots[0][0][0], high=magnitude, signed=False)
    with pytest.raises(UserError, match=f"{name}: expected finite numbers"):
        Policy(policy.ops, (((slot,),),), policy.params.map(lambda tensor: tensor[..., :1]))
    entry = {"op": name, "unit": ops.get(name).unit, "magnitude": {"low": low, "high": magnitude}}
    with pytest.raises(UserError, match=r"magnitude\.high: expected"):
        read(entry)


def read(entry: dict[str, object]) -> None:
    subpolicies = [{"weight": 1.0, "stages": [[{"probability": 1.0, "weight": 1.0, **entry}]]}]
    document = {"format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0}
    parse_policy(json.dumps({**document, "subpolicies": subpolicies}))


def test_a_sign_is_part_of_what_has_a_meaning() -> None:
    with pytest.raises(UserError, match=r"from -1 to 1 .* both signs"):
        make_space({"brightness": {"high": 1.5}})
    assert make_space({"brightness": {"high": 1.5, "signed": False}}).candidates[0].high == 1.5
    entry = {"op": "contrast", "unit": "strength", "magnitude": {"value": 1.5}}
    read(entry)
    with pytest.raises(UserError, match=r"magnitude\.value: expected a number from -1 to 1"):
        read({**entry, "signed": True})


@pytest.mark.parametrize("bound", [1e7, 10**400, True, "0.3", math.nan, None])
def test_no_bound_that_a_policy_file_cannot_hold(bound: object) -> None:
    with pytest.raises(UserError, match="space: rotate: expected finite numbers"):
        make_space({"rotate": {"high": bound}})


@pytest.mark.parametrize("fill", [True, math.nan, math.inf, -0.1, 1.5, "0.5", None, [0.5] * 3])
def test_a_fill_is_a_number_in_the_range_of_pixels(fill: object) -> None:
    images, policy = torch.rand(2, 3, 5, 6), initial_policy(make_space({"rotate": None}))
    for call in (
        lambda: ops.rotate(images, torch.ones(2), fill=fill),
        lambda: ops.cutout(images, torch.ones(2), fill=fill),
        lambda: make_space({"rotate": None}, fill=fill),  # type: ignore[arg-type]
        lambda: Policy(policy.ops, policy.slots, policy.params, fill=fill),  # type: ignore[arg-type]
    ):
        with pytest.raises((UserError, TypeCheckError), match=r"expected a fill|'fill'"):
            call()
    with pytest.raises(UserError, match="bilinear or nearest"):
        ops.rotate(images, torch.ones(2), interpolation="bicubic")


@pytest.fixture
def unwarned():
    """As in a process that has not been warned yet."""
    numeric._warn_of_range.cache_clear()
    yield
    numeric._warn_of_range.cache_clear()


@pytest.mark.parametrize("call", ["operation", "policy"])
def test_images_outside_the_range_are_warned_of_once(unwarned: None, call: str) -> None:
    policy = initial_policy(make_space({"invert": None}))
    apply = policy if call == "policy" else lambda images: ops.invert(images, torch.zeros(len(images)))
    images = torch.rand(4, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (images, images * 1.4 - 0.2, images * 1e-7 - 1e-6, images * math.nan, (images * 255).byte()):
            apply(fine)  # what resampling overshoots by, too
    normalised = (images - 0.45) / 0.25
    for wrong in (normalised, images * 255, normalised.half()):
        numeric._warn_of_range.cache_clear()
        with pytest.warns(ImageRangeWarning, match="augment before Normalize"):
            apply(wrong)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            apply(wrong)  # said once


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_position_halfway_is_read_as_pil_reads_it(axis: str) -> None:
    """230 shifts, half of them by half a pixel more than a whole number of them; by every way, and of masks."""
    name, size = f"translate_{axis}", 24
    images = torch.randint(0, 256, (1, 1, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shifts = torch.arange(-115, 115, dtype=torch.float64) / 10
    shifts = torch.where(torch.arange(len(shifts)) % 2 == 0, shifts.floor() + 0.5, shifts)
    picture = PIL.Image.fromarray(images[0, 0].numpy())
    expected = torch.stack(
        [
            to_tensor(
                affine(picture, 0, [value, 0] if axis == "x" else [0, value], 1, [0.0, 0.0], fill=[0])  # type: ignore[arg-type]
            )
            for value in shifts.tolist()
        ]
    )
    batch, magnitude = images.expand(len(shifts), -1, -1, -1), shifts / size
    for typed in (magnitude, magnitude.float()):
        assert torch.equal(ops.get(name).apply(batch, typed, interpolation="nearest"), expected)
    policy = initial_policy(make_space({name: None, "invert": None}, "nearest"))
    sample = replace(sample_of(policy, name, 1.0, len(shifts)), magnitude=magnitude[:, None])
    for dtype in (torch.uint8, torch.float32, torch.float64):
        output = policy(batch if dtype == torch.uint8 else batch.to(dtype) / 255, params=sample, masks=batch)
        assert torch.equal(output.masks, expected)
        levels = output.images if dtype == torch.uint8 else (output.images * 255).round()
        assert torch.equal(levels.to(torch.uint8), expected)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (9, 6)])
def test_images_and_masks_read_the_same_pixels_where_many_positions_are_halfway(height: int, width: int) -> None:
    turns = {"rotate": [90.0, -90.0, 180.0, 45.0], "shear_x": [0.5, -0.25, 1.0], "shear_y": [0.5, -0.125, 1.0]}
    shifts = {
        name: [(k + 0.5) / side for k in range(-4, 4)]
        for name, side in (("translate_x", width), ("translate_y", height))
    }
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name, magnitudes in {**turns, **shifts}.items():
        policy = initial_policy(make_space({name: None, "invert": None}, "nearest", fill=0.0))
        batch = images.expand(len(magnitudes), -1, -1, -1)
        magnitude = torch.tensor(magnitudes, dtype=torch.float64)[:, None]
        sample = replace(sample_of(policy, name, 1.0, len(magnitudes)), magnitude=magnitude)
        for dtype in (torch.float32, torch.float64, torch.float16):
            output = policy(batch.to(dtype), params=sample, masks=batch.to(dtype))
            assert torch.equal(output.images, output.masks), (name, dtype)
