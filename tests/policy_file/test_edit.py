"""Several policies as one, and a policy without what it hardly ever does."""

from collections import defaultdict

import pytest

from augrad import UserError
from augrad.policy_file import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.convert import read_document
from augrad.policy_file.edit import merged, pruned
from problems import shapes_unchecked


def document_of(*weights: float, fill: float = 0.0) -> PolicyDocument:
    """One sub-policy of one stage: rotate-less operations with these weights."""
    names = ("invert", "equalize", "auto_contrast", "grayscale")
    stage = tuple(Entry(op=name, weight=weight) for name, weight in zip(names, weights, strict=False))
    return PolicyDocument(
        interpolation="bilinear", fill=fill, subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),), provenance={"a": 1}
    )


def test_a_merged_policy_is_one_of_its_policies_for_each_image() -> None:
    first, second = read_document("autoaugment_svhn"), read_document("dada_svhn")
    document = merged([first, second], [3.0, 1.0])
    assert len(document.subpolicies) == 50
    assert sum(sub.weight for sub in document.subpolicies[:25]) == pytest.approx(0.75)
    assert document.subpolicies[25].stages == second.subpolicies[0].stages
    assert document.provenance["merged"] == [first.provenance, second.provenance]
    assert sum(sub.weight for sub in merged([first, second]).subpolicies[:25]) == pytest.approx(0.5)


def test_policies_that_cannot_be_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"expected policies with one fill, got 0\.0 in the first and 0\.5 in policy 2"):
        merged([document_of(1.0), document_of(1.0, fill=0.5)])
    with pytest.raises(
        UserError, match="expected policies with one interpolation, got bilinear in the first and nearest in policy 2"
    ):
        merged([document_of(1.0), read_document("randaugment")])
    with pytest.raises(UserError, match="expected at least one policy, got none"):
        merged([])
    for wrong in ([float("nan"), 1.0], ["1", 1.0], 3, [True, 1.0]):
        with shapes_unchecked(), pytest.raises(UserError, match=r"^weights(\[0\])?: expected"):
            merged([document_of(1.0), document_of(1.0)], wrong)  # type: ignore[arg-type]
    with shapes_unchecked(), pytest.raises(UserError, match=r"^documents"):
        merged([3])  # type: ignore[list-item]
    for weights in ([1.0], [0.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(UserError, match="expected 2 weights of at least 0 and not all 0"):
            merged([document_of(1.0), document_of(1.0)], weights)


def shares_of(document: PolicyDocument) -> dict[str, float]:
    """How many times an image meets each operation."""
    shares: dict[str, float] = defaultdict(float)
    for sub in document.subpolicies:
        for entry in (entry for stage in sub.stages for entry in stage):
            shares[entry.op] += sub.weight * entry.weight * entry.probability
    return shares


def test_what_a_pruned_policy_keeps_it_does_as_often_as_before() -> None:
    left = pruned(document_of(0.6, 0.2, 0.15, 0.05), 0.18)
    (stage,) = left.subpolicies[0].stages
    assert {entry.op: entry.weight for entry in stage} == pytest.approx(
        {"invert": 0.6, "equalize": 0.2, "identity": 0.2}
    )
    assert left.provenance == {"a": 1, "pruned below": 0.18}
    assert pruned(document_of(0.6, 0.4), 0.0).subpolicies == document_of(0.6, 0.4).subpolicies
    # What is often chosen and hardly ever applied leaves its place to nobody.
    stage = (Entry(op="invert", weight=0.9, probability=0.005), Entry(op="equalize", weight=0.1))
    seldom = PolicyDocument(
        interpolation="bilinear", fill=0.0, subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),), provenance={}
    )
    assert shares_of(pruned(seldom, 0.01)) == pytest.approx({"equalize": 0.1, "identity": 0.9})


def test_an_operation_is_judged_by_all_its_places() -> None:
    before = read_document("dada_cifar10")
    after, shares = shares_of(pruned(before, 0.02)), shares_of(before)
    assert {op for op in shares if shares[op] >= 0.02} == {op for op in after if op != "identity"}
    assert all(after[op] == pytest.approx(shares[op]) for op in after if op != "identity")
    (lightest,) = [op for op, often in shares.items() if often == min(shares.values())]
    after = shares_of(pruned(before, 1.01 * shares[lightest]))
    assert lightest not in after
    assert all(after[op] == pytest.approx(shares[op]) for op in shares if op != lightest)


def test_what_has_no_operation_left_leaves_images_as_they_are() -> None:
    left = pruned(document_of(0.5, 0.5), 0.7)
    assert [[entry.op for entry in stage] for stage in left.subpolicies[0].stages] == [["identity"]]
    with pytest.raises(UserError, match=r"expected a share of at most 0\.04, the heaviest sub-policy's, got 0\.5"):
        pruned(read_document("dada_svhn"), 0.5)
    with pytest.raises(UserError, match="expected a share from 0 to 1, got 2"):
        pruned(document_of(1.0), 2.0)


def test_policies_with_other_operations_under_one_name_are_refused() -> None:
    def of(neutral: float) -> PolicyDocument:
        name = "kornia.augmentation.RandomGamma"
        given = {"parameter": "gamma", "low": 1.0, "high": 2.0, "unit": "factor", "neutral": neutral}
        entry = {"op": name, "unit": "factor", "magnitude": {"value": 1.5}}
        return PolicyDocument.model_validate(
            {
                "interpolation": "bilinear",
                "fill": 0.0,
                "definitions": {name: given},
                "subpolicies": [{"weight": 1.0, "stages": [[entry]]}],
            }
        )

    assert len(merged([of(1.0), of(1.0)]).subpolicies) == 2
    with pytest.raises(UserError, match=r"expected one definition of kornia\.augmentation\.RandomGamma, got two"):
        merged([of(1.0), of(2.0)])


def test_more_than_a_document_holds_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="subpolicies"):
        merged([read_document("fast_autoaugment_svhn")] * 30)
