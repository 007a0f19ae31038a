"""The order of training batches is a pure function of (seed, batch number), whatever the ranks and the history."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.data.images import binarize
from genlab.data.loader import EvalLoader, TrainStream

SEED_7 = [4, 0, 2, 7, 3, 5, 1, 6, 4, 2, 7, 5, 0, 3, 1, 6]  # two epochs of eight


def numbered(n: int) -> Batch:
    """Examples that carry their own index in every value, and ten times it as label."""
    index = torch.arange(n)
    return Batch(index.to(torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 3).contiguous(), 10 * index)


def indices(stream: TrainStream, batches: int) -> list[int]:
    return [int(i) for batch in islice(stream, batches) for i in batch.x[:, 0, 0, 0]]


@pytest.mark.parametrize(("n", "batch_size"), [(10, 5), (10, 4), (3, 8), (7, 7), (1, 3)])
def test_every_epoch_holds_every_example_once_and_every_batch_is_full(n: int, batch_size: int) -> None:
    batches = list(islice(TrainStream(numbered(n), batch_size, seed=0), 4 * n))
    assert all(batch.x.shape == (batch_size, 1, 2, 3) and batch.y.shape == (batch_size,) for batch in batches)
    order = torch.cat([batch.x[:, 0, 0, 0] for batch in batches]).tolist()
    assert len(order) >= 4 * n
    for start in range(0, len(order) - n + 1, n):
        assert sorted(order[start : start + n]) == list(range(n))


def test_rows_and_labels_stay_together() -> None:
    for batch in islice(TrainStream(numbered(10), 4, seed=1), 8):
        assert torch.equal(batch.y, 10 * batch.x[:, 0, 1, 2].long())
        assert batch.x.dtype == torch.uint8
        assert batch.y.dtype == torch.int64


def test_data_without_labels() -> None:
    batch = TrainStream(Batch(torch.randn(6, 2)), 4, seed=0).batch(0)
    assert batch.x.shape == (4, 2)
    assert batch.y is None


def test_the_order_depends_on_seed_and_epoch() -> None:
    first, second = (indices(TrainStream(numbered(50), 50, seed), 2) for seed in (0, 1))
    assert first[:50] != second[:50]
    assert first[:50] != first[50:]
    assert first[:50] != list(range(50))
    assert first == indices(TrainStream(numbered(50), 50, 0), 2)


def test_the_order_never_changes() -> None:
    # A resumed run meets the order of the version that started it: this is what seed 7 has always given.
    assert indices(TrainStream(numbered(8), 4, seed=7), 4) == SEED_7


def test_resuming_gives_the_batches_that_were_not_seen() -> None:
    whole = list(islice(TrainStream(numbered(10), 4, seed=3), 12))
    stream = TrainStream(numbered(10), 4, seed=3)
    list(islice(stream, 5))
    stream.start_batch = 5
    for expected, got in zip(whole[5:], stream, strict=False):
        assert torch.equal(expected.x, got.x)
    fresh = TrainStream(numbered(10), 4, seed=3, start_batch=11)
    assert torch.equal(next(iter(fresh)).x, whole[11].x)


def test_resuming_far_ahead_draws_only_the_epochs_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, randperm = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *args, **kwargs: drawn.append(1) or randperm(*args, **kwargs))
    stream = TrainStream(numbered(10), 4, seed=0, start_batch=10**9)
    iterator = iter(stream)
    assert drawn == []
    next(iterator)
    next(iterator)
    assert len(drawn) == 1  # positions 0-7 of one epoch of ten
    next(iterator)
    assert len(drawn) == 2


@pytest.mark.parametrize("transform", [None, binarize])
def test_the_ranks_slices_make_up_the_global_batch(transform: object) -> None:
    data = numbered(10)
    data = data._replace(x=data.x * 25)
    whole = TrainStream(data, 6, seed=0, draw_transform=transform)
    ranks = [TrainStream(data, 6, 0, rank, 3, draw_transform=transform) for rank in range(3)]
    for number in (0, 1, 7):
        parts = [stream.batch(number) for stream in ranks]
        assert torch.equal(torch.cat([part.x for part in parts]), whole.batch(number).x)
        assert torch.equal(torch.cat([part.y for part in parts]), whole.batch(number).y)


def test_the_noise_is_a_function_of_seed_and_batch_number() -> None:
    gray = Batch(torch.full((4, 1, 16, 16), 128, dtype=torch.uint8))
    stream, other = (TrainStream(gray, 4, seed, draw_transform=binarize) for seed in (0, 1))
    fifth = stream.batch(5).x
    assert not torch.equal(fifth, stream.batch(6).x)
    assert not torch.equal(fifth, other.batch(5).x)
    assert torch.equal(fifth, stream.batch(5).x)


def test_a_batch_is_a_copy() -> None:
    data = numbered(4)
    TrainStream(data, 4, seed=0).batch(0).x.zero_()
    assert data.x.sum() == numbered(4).x.sum()


def test_batches_lie_where_the_data_lie() -> None:
    data = numbered(10).to("meta")
    batch = TrainStream(data, 4, seed=0).batch(2)  # straddles two epochs
    assert batch.x.device.type == batch.y.device.type == "meta"
    assert batch.x.shape == (4, 1, 2, 3)


@pytest.mark.parametrize(("batch_size", "world_size"), [(5, 2), (0, 1), (-4, 2), (1, 4)])
def test_a_batch_size_that_cannot_be_shared_is_refused(batch_size: int, world_size: int) -> None:
    with pytest.raises(GenlabError, match=f"batch_size is {batch_size}, .* {world_size}"):
        TrainStream(numbered(10), batch_size, 0, 0, world_size)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        TrainStream(numbered(0), 4, 0)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 64, 100])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 200])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_evaluation_sees_every_example_once_in_equal_numbers_of_batches(
    n: int, batch_size: int, world_size: int
) -> None:
    loaders = [EvalLoader(numbered(n), batch_size, rank, world_size) for rank in range(world_size)]
    assert len({len(loader) for loader in loaders}) == 1
    seen = []
    for loader in loaders:
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(len(batch.x) <= max(1, batch_size // world_size) + 1 for batch in batches)
        assert n < world_size or all(len(batch.x) for batch in batches)
        for batch in batches:
            assert torch.equal(batch.y, 10 * batch.x[:, 0, 0, 0].long())
            seen += batch.x[:, 0, 0, 0].tolist()
    assert seen == list(range(n))


def test_evaluation_batches_are_views_of_full_size() -> None:
    data = numbered(10)
    loader = EvalLoader(data, 4)
    assert [len(batch.x) for batch in loader] == [4, 4, 2]
    second = list(loader)[1]
    assert second.x.data_ptr() == data.x[4].data_ptr()
    assert second.y.data_ptr() == data.y[4].data_ptr()


def test_evaluation_refuses_an_empty_batch() -> None:
    with pytest.raises(GenlabError, match="batch_size is 0"):
        EvalLoader(numbered(4), 0)
