"""Windows of one sequence: what an epoch sees, and that a batch is a function of its number."""

from __future__ import annotations

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.data.windows import WindowStream, disjoint_windows

SEQUENCE = torch.arange(1003, dtype=torch.int16)


def test_windows_that_do_not_overlap_are_cut_from_the_start() -> None:
    windows = disjoint_windows(SEQUENCE, 10)
    assert windows.shape == (100, 10)
    assert windows.dtype == torch.int64
    assert windows.flatten().tolist() == list(range(1000))


def test_a_text_shorter_than_a_window_is_told() -> None:
    with pytest.raises(GenlabError, match=r"data.length is 10, but a split has 9 symbols only"):
        disjoint_windows(SEQUENCE[:9], 10)


def test_an_epoch_sees_each_value_at_most_once_and_nearly_all_of_them() -> None:
    stream = WindowStream(SEQUENCE, 10, batch_size=99, seed=3)
    firsts = set()
    for epoch in range(5):
        seen = stream.batch(epoch).x
        assert (seen.diff(dim=1) == 1).all()
        assert len(seen.unique()) == 990
        firsts.add(int(seen.min()))
    assert len(firsts) > 1, "every epoch is cut at the same places"


def test_a_batch_is_a_function_of_its_number_and_ranks_share_it() -> None:
    whole = WindowStream(SEQUENCE, 10, batch_size=64, seed=3)
    later = whole.batch(7).x
    assert torch.equal(WindowStream(SEQUENCE, 10, batch_size=64, seed=3).batch(7).x, later)
    ranks = [WindowStream(SEQUENCE, 10, 64, 3, rank=rank, world_size=2).batch(7).x for rank in range(2)]
    assert torch.equal(torch.cat(ranks), later)
    assert not torch.equal(WindowStream(SEQUENCE, 10, batch_size=64, seed=4).batch(7).x, later)


@pytest.mark.parametrize("size", [10, 11, 19, 20, 29, 30])
def test_no_window_leaves_the_sequence(size: int) -> None:
    stream = WindowStream(SEQUENCE[:size], 10, batch_size=1, seed=0)
    for number in range(40):
        assert int(stream.batch(number).x.max()) < size
