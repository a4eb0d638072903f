"""What a document may ask for is bounded by what it says, and loading takes accordingly."""

import json
import math
import os
import resource
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from augrad import PolicyFileError, load_policy, ops, save_policy
from augrad.ops.space import make_space
from augrad.policy import Policy, Slot, parameters_like
from augrad.policy_file import files, format_policy, parse_policy
from augrad.policy_file.convert import document_of
from augrad.policy_file.decode import decode
from odd_policies import ODD, document, one, policy_of, rotate

INVERT = {"op": "invert"}


def ragged(short: int, stages: int, width: int) -> dict[str, Any]:
    """`short` sub-policies of one operation, and one of stages x width."""
    wide = [[{**INVERT, "weight": 1 / width}] * width] * stages
    weight = 1 / (short + 1)
    return document([{"weight": weight, "stages": [[INVERT]]}] * short + [{"weight": weight, "stages": wide}])


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_sub_policies_of_unlike_size_cost_what_they_say(tmp_path: Path) -> None:
    """2,001 x 16 x 256 places, of which 6,096 have an operation: 800 MB of tables. Nor does drawing fill them."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(ragged(2000, 16, 256)))
    before = resident()
    policy = load_policy(path)
    assert policy.shape == (2001, 16, 256)
    assert resident() - before < 300e6
    images = torch.rand(32, 1, 4, 4)
    assert policy(images, generator=torch.Generator().manual_seed(0)).shape == images.shape
    assert resident() - before < 400e6


def test_large_and_small_tables_hold_the_same() -> None:
    """A table large enough for pages of its own, against one built entry by entry."""
    wide = policy_of(ragged(600, 16, 256))
    assert int(wide.tables.present.sum()) == 600 + 16 * 256
    assert wide.tables.present[:600].sum((1, 2)).tolist() == [1] * 600
    assert wide.tables.present[600].all()
    assert torch.equal(wide.tables.op_index >= 0, wide.tables.present)
    assert wide.op_probabilities()[600].sum(-1).tolist() == pytest.approx([1.0] * 16)
    assert not any(tensor[~wide.tables.present].any() for tensor in wide.params.tensors()[1:])
    drawn = wide.sample(500, torch.Generator().manual_seed(0))
    assert drawn.gate[:, 0].all()  # probability 1, of whichever sub-policy
    assert torch.equal(drawn.gate[:, 1:].any(1), drawn.subpolicy == 600)


def test_drawing_does_not_depend_on_how_many_images_are_drawn_for() -> None:
    """Few sub-policies are weighed before the draw of one, many after it."""
    policy = policy_of(ODD["ragged"])
    noise = policy.draw_noise(64, torch.Generator().manual_seed(0))
    whole = policy.sample_from(noise)
    for index in range(64):
        single = policy.sample_from(noise.map(lambda tensor, at=index: tensor[at : at + 1]))
        for name in ("subpolicy", "slot", "op", "gate", "magnitude", "sign", "draw"):
            expected = getattr(whole, name)[index : index + 1]
            torch.testing.assert_close(getattr(single, name), expected, rtol=1e-12, atol=1e-12)


def test_a_table_with_too_many_empty_places_is_refused_with_its_size() -> None:
    content = json.dumps(ragged(9_999, 16, 256))
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(content)
    assert str(caught.value) == (
        "subpolicies: expected sub-policies of like size: a table of sub-policies x stages x operations of which at "
        "most 10000000 places are empty, got 10000 x 16 x 256 places for 14095 operations; leave out sub-policies of "
        "weight 0 and operations of weight 0, or divide the largest sub-policy"
    )


@pytest.mark.parametrize(("unit", "count"), [("[]", 1_000_001), ('{"a":0}', 1_000_001), ("[[]]", 500_001)])
def test_objects_and_lists_are_counted_before_they_are_made(unit: str, count: int) -> None:
    text = '{"provenance": [' + ",".join([unit] * count) + "]}"
    with pytest.raises(PolicyFileError, match=r"^line 1, column \d+: expected at most 1000000 objects and lists, got"):
        decode(text)
    decode('{"provenance": [' + ",".join([unit] * 1000) + "]}")


def test_the_largest_policy_stays_within_the_number_of_objects() -> None:
    """The shortest text for an operation, as often as 16 MiB hold it: two brackets in 29 bytes, at most."""
    stage = json.dumps([{**INVERT, "weight": 1 / 256}] * 256, separators=(",", ":"))
    assert 16 * 2**20 / len(stage) * (256 + 1) < 1_000_000
    assert 10_000 * (2 + 16 * 2) < 1_000_000  # sub-policies of single operations, as many as there may be


def test_a_policy_of_too_many_subpolicies_is_refused_before_its_entries_are_made() -> None:
    slots = (((Slot(0),) * 16,),) * 10_001  # the entries would take many times as long as the policy
    begin = time.process_time()
    policy = Policy([ops.get("invert")], slots, parameters_like(slots))
    made = time.process_time() - begin
    with pytest.raises(PolicyFileError, match=r"^subpolicies: expected a list of 1 to 10000 .* got a list of 10001$"):
        document_of(policy)
    assert time.process_time() - begin < 2 * made


def test_a_bad_file_is_refused_after_few_problems() -> None:
    bad = {"weight": "x", "stages": [[{"op": 1}]] * 16}
    with pytest.raises(PolicyFileError, match=r"^subpolicies\[0\]\.weight: .* \(and 199 more problems\)$"):
        parse_policy(json.dumps(document([bad] * 100)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{}".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        ("{}".encode("utf-16-be").join([b"\xfe\xff", b""]), "it is UTF-16: save it as UTF-8"),
        (b"\x1f\x8b\x08\x00\xff", "it is compressed: unpack it first"),
        (b"PK\x03\x04\xff", "it is a zip archive: unpack it first"),
    ],
)
def test_other_formats_are_named(content: bytes, what: str) -> None:
    with pytest.raises(PolicyFileError, match=rf"^document: expected UTF-8 text, got the byte 0x.*; {what}$"):
        parse_policy(content)


def test_a_pipe_is_read_and_a_silent_one_is_left_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, text = tmp_path / "pipe", json.dumps(ODD["ragged"])
    os.mkfifo(pipe)
    writer = threading.Timer(0.2, lambda: pipe.write_text(text + " " * 300_000))  # more than a pipe holds
    writer.start()
    assert files.read_policy(pipe) == parse_policy(text)
    writer.join()
    terminal, keyboard = os.openpty()  # where text comes when it is typed
    typed = threading.Timer(0.2, lambda: os.write(terminal, b"[]\n\x04"))
    typed.start()
    with pytest.raises(PolicyFileError, match="expected a JSON object, got an empty list"):
        files.read_policy(os.ttyname(keyboard))
    typed.join()
    os.close(terminal)
    os.close(keyboard)
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with pytest.raises(PolicyFileError, match=r"got none: it is a pipe into which nothing was written for 0 seconds$"):
        files.read_policy(pipe)


# --- whatever a search makes of a policy goes into a file -------------------------------------------------------------


def moved(policy: Policy, **groups: Any) -> Policy:
    return policy.with_params(replace(policy.params.detach(), **groups))


def test_numbers_at_the_end_of_the_format_stay_there(tmp_path: Path) -> None:
    policy = policy_of(ODD["far out"])
    params = policy.params.detach()
    further = moved(
        policy,
        magnitude_locations=params.magnitude_locations * 1.5,
        magnitude_log_scales=params.magnitude_log_scales + 1,
    )
    save_policy(further, tmp_path / "policy.json")
    (stage,) = load_policy(tmp_path / "policy.json").magnitude_locations[0]
    assert stage.tolist() == [1e6, -1e6]


@pytest.mark.parametrize("shift", [0.0, 0.9e-6, 1.1e-6, 1.9e-6, -1.5e-6, 1e-3])
def test_weights_that_hardly_sum_to_one_are_made_to(shift: float) -> None:
    policy = policy_of(ODD["ragged"])
    params = policy.params.detach()
    content = document_of(
        moved(policy, op_logits=params.op_logits + shift, subpolicy_logits=params.subpolicy_logits + shift)
    )
    assert math.fsum(sub.weight for sub in content.subpolicies) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("weight", [1.000001, 0.9999991, 1.0000005])
def test_weights_at_the_edge_of_what_sums_to_one_go_back_as_they_came(weight: float) -> None:
    content = document([{"weight": weight, "stages": [[{**INVERT, "weight": weight}]]}])
    (again,) = document_of(policy_of(content)).subpolicies
    assert (again.weight, again.stages[0][0].weight) == (weight, weight)


@pytest.mark.parametrize("probability", [5e-324, 1e-320, 1e-310, 2e-308, 1e-300])
def test_the_smallest_probabilities_go_back_as_they_came(probability: float) -> None:
    content = document_of(policy_of(one([{**INVERT, "probability": probability}])))
    assert content.subpolicies[0].stages[0][0].probability == pytest.approx(probability, rel=1e-11, abs=0)


def test_padding_has_no_weight() -> None:
    """Policies built in Python pad with zeros."""
    slots = (((Slot(0), Slot(1)),), ((Slot(0),), (Slot(1),)))
    ops = [candidate.op for candidate in make_space({"invert": {}, "identity": {}}).candidates]
    content = document_of(Policy(ops, slots, parameters_like(slots)))
    assert [[[e.weight for e in stage] for stage in sub.stages] for sub in content.subpolicies] == [
        [[0.5, 0.5]],
        [[1.0], [1.0]],
    ]


@pytest.mark.parametrize("name", [name for name in ODD if name != "nearly fixed"])  # a probability that rounds to 1
def test_loading_and_saving_keeps_what_is_odd(name: str) -> None:
    policy = policy_of(ODD[name])
    again = policy_of(json.loads(format_policy(document_of(policy))))
    for group, tensor in vars(policy.params).items():
        if group == "magnitude_locations" and name in ("no scale", "up to a fixed end"):
            continue  # written as the value that it is
        torch.testing.assert_close(getattr(again, group), tensor, rtol=1e-11, atol=1e-11)


def test_a_policy_that_is_not_a_number_is_refused_in_words() -> None:
    policy = policy_of(one([rotate()]))
    policy.gate_logits.data.fill_(torch.nan)
    with pytest.raises(PolicyFileError, match="expected a number from 0 to 1, got NaN"):
        document_of(policy)
