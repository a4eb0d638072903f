"""What one of several processes has of a batch."""

import pytest
import torch

from augrad import UserError
from augrad.ranks import ALONE, Ranks


@pytest.mark.parametrize(("size", "count"), [(7, 3), (6, 3), (3, 3), (5, 1)])
@pytest.mark.parametrize("repeats", [1, 2])
def test_shares_are_of_all_images_and_nearly_equal(size: int, count: int, repeats: int) -> None:
    shares = [Ranks(index, count).share(size, repeats=repeats) for index in range(count)]
    assert torch.cat(shares).sort().values.tolist() == list(range(size * repeats))
    lengths = [len(share) // repeats for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert sum(Ranks(index, count).weight(size) for index in range(count)) == pytest.approx(1.0)


def test_a_batch_with_fewer_images_than_processes_is_refused() -> None:
    with pytest.raises(UserError, match="batches of at least 4 images, one for each of them, got 3"):
        Ranks(0, 4).share(3)


def test_alone_nothing_is_communicated() -> None:
    value, flag = torch.tensor(2.0, requires_grad=True), {"any": "thing"}
    assert ALONE.total(value) is value
    vector = torch.zeros(2)
    assert ALONE.shared(vector) is vector
    assert ALONE.agreed(True)
    assert not ALONE.agreed(False)
    assert ALONE.of_the_first(flag) is flag
    assert torch.equal(ALONE.taken(torch.arange(3), torch.tensor([2])), torch.tensor([2]))
    assert ALONE.summed([value, None]) == [value, None]
