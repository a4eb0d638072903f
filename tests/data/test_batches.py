import pytest
import torch

from augrad.data.batches import EpochBatches, batch_indices
from augrad.errors import UserError


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (13, 4), (4, 4), (7, 1)])
def test_every_index_once_an_epoch_except_for_the_remainder(size, batch_size):
    steps = size // batch_size
    for epoch in range(3):
        batches = [batch_indices(size, batch_size, epoch * steps + step, seed=5) for step in range(steps)]
        assert all(batch.shape == (batch_size,) and batch.dtype == torch.int64 for batch in batches)
        seen = torch.cat(batches)
        assert len(seen.unique()) == len(seen) == steps * batch_size
        assert seen.min() >= 0
        assert seen.max() < size


def test_what_an_epoch_leaves_out_is_not_always_the_same():
    left_out = set()
    for epoch in range(20):
        seen = torch.cat([batch_indices(5, 2, 2 * epoch + step, seed=0) for step in range(2)])
        left_out |= set(range(5)) - set(seen.tolist())
    assert left_out == set(range(5))


def test_a_small_split_is_one_batch_in_a_new_order_every_step():
    batches = [batch_indices(6, 128, step, seed=0) for step in range(8)]
    assert all(batch.sort().values.tolist() == list(range(6)) for batch in batches)
    assert len({tuple(batch.tolist()) for batch in batches}) > 4


def test_seed_and_epoch_are_not_exchangeable():
    orders = {tuple(batch_indices(50, 50, epoch, seed).tolist()) for epoch in range(6) for seed in range(-3, 3)}
    assert len(orders) == 36


def test_the_class_equals_the_function_also_when_steps_go_back():
    batches = EpochBatches(23, 5, seed=9)
    assert batches.batches_per_epoch == 4
    for step in [0, 1, 2, 3, 4, 11, 3, 12, 400, 0]:
        assert torch.equal(batches.indices(step), batch_indices(23, 5, step, seed=9))


def test_a_resumed_run_continues_exactly():
    running = EpochBatches(23, 5, seed=1)
    before = [running.indices(step) for step in range(10)]
    resumed = EpochBatches(23, 5, seed=1)
    assert all(torch.equal(before[step], resumed.indices(step)) for step in range(6, 10))


def test_a_batch_can_be_written_to_without_harm_to_what_follows():
    batches = EpochBatches(10, 5, seed=1)
    expected = batches.indices(0).clone()
    batches.indices(0).zero_()
    assert torch.equal(batches.indices(0), expected)


def test_moved_once_an_epoch_to_the_device_and_not_waited_for(monkeypatch):
    moves = []
    move = torch.Tensor.to

    def counted(tensor, device, non_blocking=False):
        assert non_blocking
        moves.append(device)
        return move(tensor, device)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    batches = EpochBatches(20, 5, seed=0, device="meta")
    assert all(batches.indices(step).device.type == "meta" for step in range(8))
    assert moves == ["meta", "meta"]


def test_the_global_generator_is_not_used():
    state = torch.get_rng_state()
    batch_indices(100, 10, 3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("size", "batch_size"), [(0, 4), (4, 0), (4, -1)])
def test_refuses_empty_splits_and_batches(size, batch_size):
    with pytest.raises(UserError, match=f"got {size} images and batch_size={batch_size}"):
        batch_indices(size, batch_size, 0, seed=0)
