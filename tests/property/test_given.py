"""What people hand over instead of tensors and numbers: refused in words that say what to do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import augrad
from augrad import Policy
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, pair_policy

REFUSED = """
import warnings
from dataclasses import replace
from fractions import Fraction
import numpy as np, torch, augrad
from PIL import Image
from functools import partial
from augrad.data.arrays import load_arrays
from augrad.data.digits import load_digits
from augrad.data.folder import load_folder
from augrad.data.planted import Planted
from augrad.data.standard import StandardAugmentation
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.unrolled import Unrolled
from augrad.policy.heaviest import heaviest
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.density_matching import DensityMatching
from augrad.regularizers.identity_prior import IdentityPrior
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.regularizers.strength_reward import StrengthReward
from augrad.ops.space import make_space
warnings.simplefilter("ignore")  # nested and sparse tensors are prototypes
space = make_space({"rotate": None, "cutout": None})
policy = initial_policy(space)
turns = initial_policy(make_space({"rotate": None}))
images, picture = torch.rand(4, 3, 8, 8), Image.new("RGB", (8, 8))
sample, zeros, ones = policy.sample(4).detach(), torch.zeros(4), torch.full((4, 2), 1.5)
Slot, like = augrad.policy.Slot, augrad.policy.parameters_like
KINDS = [torch.zeros(4).to_sparse(), torch.zeros(4).to(torch.float8_e4m3fn), torch.zeros(4, dtype=torch.complex64),
         torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.quint8)]
array, relaxed = np.zeros((8, 8, 3), "uint8"), policy.rsample(4)

# Arguments that are whole numbers, and those that are numbers, of what is made in a training loop of one's own.
COUNTED = {
    Gumbel: ["draws"], Enumerate: ["max_outcomes"], Relax: ["hidden"], Bilevel: ["draws"], Neumann: ["terms"],
    ConjugateGradients: ["iterations"], Unrolled: ["steps"], StandardAugmentation: ["cutout", "crop_padding"],
    load_digits: ["size", "seed", "train_size"], partial(load_folder, "here"): ["size", "channels", "seed"],
    partial(initial_policy, space): ["stages", "subpolicies", "seed"], partial(random_policy, policy): ["seed"],
    partial(SmallConvNet, 3, 10): ["width"],
}
MEASURED = {
    Gumbel: ["temperature"], Mixture: ["gate_temperature"], Rebar: ["eta", "learning_rate"], Relax: ["temperature"],
    Reinforce: ["decay"], Neumann: ["step_size"], ConjugateGradients: ["damping"], Adversarial: ["teacher_decay"],
    DensityMatching: ["class_weight"], SelectionEntropy: ["weight"], IdentityPrior: ["mass"],
    StrengthReward: ["weight"],
    partial(load_arrays, "here"): ["test_fraction"], partial(initial_policy, space): ["level", "scale", "jitter"],
    partial(Planted, "rotate", high=1.0): ["low"],
}

def called_with(value, **options):
    return lambda: policy(value, **options)

def changed(**fields):
    return replace(sample, layout=sample.layout, **fields)

def filled(fill):
    return [
        lambda: make_space({"rotate": None}, fill=fill),
        lambda: augrad.Policy(policy.ops, policy.slots, policy.params, fill=fill),
        lambda: augrad.ops.rotate(images, torch.zeros(4), fill=fill),
        lambda: augrad.ops.cutout(images, torch.zeros(4), fill=fill),
    ]

cases = [
    *[(called_with(value), words) for value, words in [
        (picture, "a PIL image; torchvision.transforms.v2.functional.pil_to_tensor"),
        (array, "a NumPy array (8, 8, 3); torch.from_numpy(array) is a tensor, and .permute(2, 0, 1)[None]"),
        (np.zeros((4, 8, 8, 3)), ".permute(0, 3, 1, 2)"),
        ([images[0], images[1]], "a list that begins with a Tensor; torch.stack"),
        ((picture, picture), "a tuple that begins with a PIL image; torch.stack"),
        ([[0.5]], "a list that begins with a list that begins with a float"),
        ([], "got a list"),
        (None, "got None; give the pictures themselves"),
        ("cat.png", "got a str"),
        ({"image": images}, "got a dict"),
        (images > 0.5, "got torch.bool; convert them first: images.to(torch.uint8)"),
        ((images * 255).long(), "got torch.int64; convert"),
        ((images * 255).to(torch.uint16), "got torch.uint16; convert"),
        (images.to(torch.complex64), "got torch.complex64; convert"),
        (images.to(torch.float8_e4m3fn), "got torch.float8_e4m3fn; convert"),
        (images.to_sparse(), "expected images as a dense tensor, got torch.sparse_coo"),
        (torch.nested.nested_tensor([images[0], images[1]]), "got a nested one"),
        (images[0], "add or permute dimensions"),
        (images.movedim(1, -1), "add or permute dimensions"),
        (images[:0], "at least one image"),
    ]],
    (lambda: policy(images, masks=picture), "masks: expected a tensor"),
    (lambda: policy(images, boxes=[[0, 0, 1, 1]]), "boxes: expected a tensor"),
    (lambda: policy(images, params={"op": 1}), "params: expected a PolicySample or RelaxedSample, got dict; policy."),
    (lambda: policy(images, params=policy(images, return_params=True)), "got tuple"),
    (lambda: policy(images, generator=0), "expected a torch.Generator, got 0; torch.Generator().manual_seed(0)"),
    (lambda: policy(images, generator=np.random.default_rng(0)), "expected a torch.Generator, got Generator(PCG64)"),
    (lambda: policy.rsample(4, generator="cpu"), "expected a torch.Generator, got 'cpu'"),
    *[(lambda count=count: policy.sample(count), "expected a batch size, a whole number of at least 1, got")
      for count in (0, -1, 2.0, "4", None, True, images)],
    *[(lambda count=count: policy.rsample(count), "expected a batch size") for count in (0, 2.0, images)],
    *[(lambda value=value: augrad.ops.rotate(value, torch.zeros(4)), "expected images as a tensor")
      for value in (picture, array, [images[0]])],
    *[(lambda value=value: augrad.ops.rotate(images, value), "expected magnitudes as a tensor [B]")
      for value in (10.0, 10, [1.0, 2.0, 3.0, 4.0], np.zeros(4), None)],
    *[(lambda value=value: augrad.ops.rotate(images, value), "expected magnitudes as a dense tensor of numbers, got")
      for value in (*KINDS, zeros > 0)],
    *[(lambda name=name, draw=draw, width=width: augrad.ops.get(name).apply(images, zeros, draw),
       f"{name}: expected draw as a tensor of uniform numbers in [0, 1) of shape [4, {width}], got")
      for name, width in ((op.name, op.draws) for op in map(augrad.ops.get, augrad.ops.names()) if op.draws)
      for draw in ([0.5], np.zeros((4, width)), 0.5, zeros, torch.zeros(4, 3), torch.zeros(1, width), ones[:, :width],
                   -ones[:, :width], ones[:, :width] * float("nan"), torch.zeros(4, width, dtype=torch.int64))],
    *[(lambda others=others: augrad.ops.sample_pairing(images, zeros, others=others), words) for others, words in [
        (array, "expected images as a tensor"), ([images], "a list that begins with a Tensor"), (0.5, "got a float"),
        ((images * 255).long(), "got torch.int64; convert"), (images[:2], "others: expected a batch of the shape of"),
        (images[:, :1], "others: expected a batch of the shape of"),
    ]],
    *[(lambda index=index: sample[index], "expected a slice, or indices or booleans as a list or a tensor [N]")
      for index in (0, torch.tensor(1), torch.tensor([[0, 1]]), torch.tensor([0.5]), "a", ["a"], [0.5], None, (0, 1))],
    *[(lambda index=index: relaxed[index], "expected some of 4 images, got sample[")
      for index in ([9], [-5], torch.tensor([0, 4]), [True], torch.ones(5, dtype=torch.bool))],
    *[(lambda value=value: type(sample).concatenate(value), "concatenate: expected") for value in
      (None, sample, "ab", [None], [sample, relaxed], 3)],
    *[(lambda value=value: type(relaxed).concatenate(value), "concatenate: expected") for value in
      (None, relaxed, "ab", [relaxed, None], [relaxed, sample], [relaxed, "a"])],
    *[(lambda count=count: sample[:1].expand(count), "expected a batch size, a whole number of at least 1, got")
      for count in (0, -1, "a", 2.0, None, True)],
    (lambda: sample.expand(3), "expand: expected the draw of one image, got 4"),
    (lambda: policy.harden(sample), "expected a RelaxedSample, got PolicySample"),
    (lambda: policy.score_terms(relaxed), "expected a PolicySample, got RelaxedSample"),
    *[(lambda fields=fields, use=use: use(changed(**fields)), words)
      for use in (lambda draw: policy(images, params=draw), policy.score_terms) for fields, words in [
        (dict(op=sample.op + 99), "params: expected op from 0 to 1, got"),
        (dict(op=sample.op * 0 - 1), "params: expected op from 0 to 1, got -1"),
        (dict(gate=sample.gate.float()), "expected gate as a tensor of torch.bool, got torch.float32"),
        (dict(draw=None), "got NoneType"),
        (dict(magnitude=sample.magnitude[:, 0]), "got magnitude (4,) beside op (4, 1)"),
        (dict(magnitude=sample.magnitude[:1]), "got magnitude (1, 1) beside op (4, 1)"),
        (dict(sign=sample.sign[:3]), "got sign (3, 1) beside op (4, 1)"),
        (dict(op=sample.op[:, 0]), "beside op (4,)"),
        (dict(draw=sample.draw[:, 0]), "got draw (4, 2) beside op (4, 1)"),
        (dict(draw=sample.draw[:, :, :1], op=sample.op * 0 + 1, slot=sample.slot * 0 + 1, gate=sample.gate | True),
         "params: expected 2 extra numbers for cutout, got 1"),
        (dict(draw=sample.draw - 1), "params: expected draw as numbers from 0 to 1"),
        (dict(draw=sample.draw * float("nan")), "params: expected draw as numbers from 0 to 1"),
    ]],
    (lambda: policy.score_terms(changed(slot=sample.slot + 2)), "params: expected slot from 0 to 1"),
    (lambda: policy.score_terms(changed(slot=1 - sample.slot)), "expected the operations of the candidates that were"),
    (lambda: policy(images, params=replace(relaxed, layout="", sign=relaxed.sign[:2])), "got sign (2, 1, 1, 2) beside"),
    (lambda: policy(images, params=replace(relaxed, layout="", gate=relaxed.gate[..., :1])), "got gate (4, 1, 1, 1)"),
    *[(lambda value=value, draw=draw: policy(images, draw, generator=value), "generator: expected a torch.Generator")
      for draw in (None, sample, relaxed) for value in (3, "cpu", np.random.default_rng(0))],
    *[(lambda name=name, value=value: policy(images, **{name: value}), f"{name}: expected true or false, got")
      for name in ("same_on_batch", "return_params") for value in ("false", 1, None, torch.tensor(True), zeros)],
    (lambda: policy.rsample(4, hard="no"), "hard: expected true or false, got 'no'"),
    *[(lambda name=name, target=target: turns(images, **{name: target}),
       f"{name}: expected a dense tensor of numbers, got")
      for name, shape in (("masks", (4, 8, 8)), ("boxes", (4, 1, 4)), ("keypoints", (4, 1, 2)))
      for target in (torch.zeros(shape).to_sparse(), torch.zeros(shape).to(torch.float8_e4m3fn),
                     torch.zeros(shape, dtype=torch.complex64))],
    *[(lambda value=value: augrad.load_policy("identity", allow=value), f"allow{place}: expected text")
      for value, place in ((None, ""), (5, ""), ([None], "[0]"))],
    *[(lambda value=value: initial_policy(space, learn=value), f"learn{place}: expected {words}")
      for value, place, words in ((None, "", "a list"), (3, "", "a list"), ("ops", "", "a list"),
                                  ([None], "[0]", "'subpolicies', 'ops'"))],
    *[(lambda take=take: take(None, 1), "expected a policy, got NoneType") for take in (random_policy, heaviest)],
    *[(lambda ops=ops, slots=slots: augrad.Policy(ops, slots, policy.params), words) for ops, slots, words in [
        (["rotate"], policy.slots, "policy: expected ops as operations"), ([], policy.slots, "policy: expected ops as"),
        *[(policy.ops, slots, "policy: expected ") for slots in ((), ((),), (((),),), (((1,),),), None, 5)],
        *[(policy.ops, (((Slot(op),),),), "policy: expected a slot's op to be the place of one of the 2 operations")
          for op in (2, -1, 0.0, True, None)],
    ]],
    *[(lambda params=params: augrad.Policy(policy.ops, policy.slots, params), words) for params, words in [
        (None, "policy: expected PolicyParams, got NoneType; augrad.policy.parameters_like"),
        *[(replace(policy.params, **{name: value}), f"policy: expected parameters {name} as a tensor of numbers")
          for name in ("subpolicy_logits", "gate_logits") for value in (None, zeros, torch.zeros(1, 1, 1))],
        (replace(policy.params, gate_logits=torch.zeros(1, 1, 2, dtype=torch.complex64)), "got torch.complex64"),
    ]],
    (lambda: augrad.Policy(policy.ops, policy.slots, policy.params, provenance=[1]), "policy: expected provenance as"),
    *[(lambda slots=slots: like(slots), "expected at least one candidate") for slots in ((), ((),), (((),),))],
    (lambda: policy.with_params(None), "policy: expected PolicyParams, got NoneType"),
    *[(call, words) for fill, words in [
        (None, "expected a fill in 0..1, got None; give a number"),
        (True, "got True; give a number"),
        ("0.5", "got '0.5'; give a number"),
        (1.5, "got 1.5; give a number"),
        (float("nan"), "got nan; give a number"),
        ([0.5, None, 0.2], "got [0.5, None, 0.2]; give one number, the same for all channels"),
        ((0.1, 0.2, 0.3), "give one number, the same for all channels"),
        (np.zeros(3), "give one number, the same for all channels"),
        (torch.zeros(3), "give one number, the same for all channels"),
    ] for call in filled(fill)],
    (lambda: make_space({"rotate": None}, interpolation="bicubic"), "expected interpolation bilinear or nearest"),
    (lambda: augrad.Policy(policy.ops, policy.slots, policy.params, "Nearest"), "expected interpolation bilinear or"),
    (lambda: make_space(["rotate"]), "expected a mapping of operations to their options"),
    (lambda: initial_policy({"rotate": None}), "expected a Space, got {'rotate': None}; augrad.Policy.over"),
    (lambda: StandardAugmentation(cutout=2, fill=[0.5, 0.5, 0.5]), "fill: expected a tensor [C]"),
    *[(lambda make=make, value=value: make(space, probability=value), "expected probability from 0 to 1")
      for make in (initial_policy, pair_policy) for value in (-0.1, 1.1)],
    *[(lambda make=make, value=value: make(space, probability=value), "probability: expected a")
      for make in (initial_policy, pair_policy) for value in (float("nan"), None, True, "1")],
    *[(lambda value=value: policy.rsample(4, temperature=value), "expected a temperature, a finite number above 0")
      for value in ("a", 0, -1, float("nan"), float("inf"), True, None)],
    *[(lambda make=make, name=name, value=value: make(**{name: value}), f"{name}: expected a")
      for make, names in COUNTED.items() for name in names for value in ("a", 1.5, True, np.float64(1.0), [1], None)],
    *[(lambda make=make, name=name, value=value: make(**{name: value}), f"{name}: expected a")
      for make, names in MEASURED.items() for name in names
      for value in ("a", True, [1.0], None, float("inf"), np.float32("nan"))],
]
for number, (call, words) in enumerate(cases):
    try:
        found = f"accepted: {call()!r}"
    except augrad.UserError as error:
        found = str(error)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    if words not in found:
        print(number, "expected", words, "found", found[:200])
for accepted in (0, 1, 0.5, np.float32(0.5), np.int64(1), Fraction(1, 2)):
    assert make_space({"rotate": None}, fill=accepted).fill == float(accepted)
    assert (initial_policy(space, probability=accepted).gate_probabilities() == float(accepted)).all()
print(len(cases), "cases")
"""


def test_what_is_no_tensor_and_no_number_is_refused_in_words() -> None:
    # In a process of its own: here the checks of types would be the first to refuse.
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=False)
    assert done.stdout == "501 cases\n", done.stdout[-3000:] + done.stderr[-2000:]


@pytest.mark.parametrize("make", [initial_policy, pair_policy])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always_are_probabilities(make: Callable[..., Policy], probability: float, tmp_path: Path) -> None:
    policy = make(make_space({"invert": {}, "rotate": {}, "cutout": {}}), probability=probability)
    images = torch.rand(40, 3, 8, 8)
    output, sample = policy(images, return_params=True)
    assert sample.gate.all() if probability else not sample.gate.any()
    assert torch.equal(output, images) == (probability == 0)
    # They stay, and what is learned beside them has finite gradients.
    relaxed = policy(images, params=policy.rsample(40, hard=True)).square().sum()
    (relaxed + torch.stack(policy.score_terms(sample)).sum()).backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert policy.gate_logits.grad is not None
    assert not policy.gate_logits.grad.any()
    augrad.save_policy(policy, tmp_path / "policy.json")
    loaded = augrad.load_policy(tmp_path / "policy.json")
    assert torch.equal(loaded.gate_probabilities(), torch.full_like(policy.gate_logits, probability))
