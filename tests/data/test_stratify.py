import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augrad.data.stratify import stratified_split
from augrad.errors import UserError


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=8),
    fractions=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_exhaustive_of_exact_size_and_hold_every_class(counts, fractions, seed):
    classes, total = len(counts), sum(counts)
    labels = torch.arange(classes).repeat_interleave(torch.tensor(counts))
    # Any sizes that leave one image of each class for every part are possible.
    spare, sizes = total - 4 * classes, {}
    for name, fraction in zip("abc", fractions, strict=True):
        extra = int(fraction * spare)
        spare -= extra
        sizes[name] = classes + extra
    parts = stratified_split(labels, sizes, "rest", seed, "data")
    assert list(parts) == ["a", "b", "c", "rest"]
    assert torch.equal(torch.cat(list(parts.values())).sort().values, torch.arange(total))
    for name, indices in parts.items():
        assert len(indices) == sizes.get(name, total - sum(sizes.values()))
        assert labels[indices].unique().tolist() == list(range(classes))
        assert torch.equal(indices, indices.sort().values)


def test_proportions_are_exact_where_they_can_be():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    parts = stratified_split(labels, {"a": 20, "b": 30}, "c", 0, "data")
    assert [labels[part].bincount().tolist() for part in parts.values()] == [[12, 6, 2], [18, 9, 3], [30, 15, 5]]


def test_members_depend_on_the_seed_alone_and_are_not_the_first():
    labels = torch.arange(2).repeat(50)
    one, same, other = (stratified_split(labels, {"a": 20}, "b", seed, "data")["a"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.max() > 50


def test_a_class_that_cannot_be_in_every_part_is_named():
    labels = torch.tensor([0] * 20 + [7] * 2)
    with pytest.raises(
        UserError, match=r"^mine: class 7 has too few images.*a, b and c: expected at least 3, got 2; add"
    ):
        stratified_split(labels, {"a": 5, "b": 5}, "c", 0, "mine")
