"""Batches as large as memory allows, with a device that is made up."""

from __future__ import annotations

import pytest
import torch

from genlab.measure.batches import FIRST, MOST, MOST_BYTES, ON_CPU, BatchSizes

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def cut(sizes: BatchSizes, count: int, holds: int = 10**9) -> list[tuple[int, int]]:
    """What is computed of a device whose memory holds so many examples."""

    def work(start: int, size: int) -> tuple[int, int]:
        if size > holds:
            raise torch.OutOfMemoryError("no memory is left")
        return start, size

    return list(sizes.each(count, work))


def test_all_examples_are_taken_once() -> None:
    assert cut(BatchSizes(3, CPU), 7) == [(0, 3), (3, 3), (6, 1)]
    assert cut(BatchSizes(None, CPU), 300) == [(0, ON_CPU), (ON_CPU, 50)]
    assert cut(BatchSizes(None, CPU), 0) == []


def test_what_does_not_fit_is_tried_by_halves_unless_a_size_was_asked_for() -> None:
    found = cut(BatchSizes(None, CPU), 300, holds=100)
    assert [start for start, _ in found] == [sum(size for _, size in found[:k]) for k in range(len(found))]
    assert {size for _, size in found[:-1]} == {ON_CPU // 4}
    assert sum(size for _, size in found) == 300
    for sizes, holds in ((BatchSizes(200, CPU), 100), (BatchSizes(None, CPU), 0)):
        with pytest.raises(torch.OutOfMemoryError):
            cut(sizes, 300, holds)


@pytest.mark.parametrize(
    ("free", "bytes_of_each", "expected"),
    [(700_000, 100, 5000), (700_000, 1, MOST), (700_000, 10**6, FIRST), (2**40, MOST_BYTES // 300, 300)],
)
def test_on_a_gpu_a_small_batch_says_how_many_fit(
    free: int, bytes_of_each: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what is free, and of the 300,000 bytes that the allocator holds without using them."""
    for name, value in {
        "reset_peak_memory_stats": None,
        "memory_allocated": 2000,
        "memory_reserved": 302_000,
        "max_memory_allocated": 2000 + FIRST * bytes_of_each,
        "mem_get_info": (free, 0),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    sizes = BatchSizes(None, GPU)
    assert sizes.warm_up == FIRST
    assert cut(sizes, 20_000)[:2] == [(0, FIRST), (FIRST, expected)]
