"""How many examples an evaluation takes at once: no figure depends on it, only the time and the memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from genlab.core.replaying import KeptGraphs

__all__ = ["BatchSizes"]

Made = TypeVar("Made")

ON_CPU = 250
"""Where larger batches no longer fit into the caches, and are no faster."""
FIRST = 64
"""Examples from whose memory that of more is foretold."""
FORESEEN, MOST = 1000, 10_000
SHARE = 0.5
"""Of the free memory; libraries take some for themselves, and not all that is freed is in one piece."""
MOST_BYTES = 2**33
"""Of a batch, more of which makes nothing faster; some kernels take no tensor of 2^31 values, which is as much."""


class BatchSizes:
    """The sizes of batches: those asked for, or as large as the memory of the device allows.

    Args:
        asked: Examples of a batch, or None: on the CPU 250, on a CUDA device what a first, small batch shows to fit.
        device: Of the model.

    Attributes:
        largest: Examples of the largest batch.
    """

    def __init__(self, asked: int | None, device: torch.device) -> None:
        self._is_free = asked is None
        self._device = device
        self._learns = asked is None and device.type == "cuda"
        self.largest = asked or (FIRST if self._learns else ON_CPU)

    @property
    def foreseen(self) -> int:
        """Examples of a batch as far as one can say before anything is computed."""
        return FORESEEN if self._learns else self.largest

    @property
    def warm_up(self) -> int:
        """Examples of a first call whose results are not used."""
        return self.largest if self._learns else 1

    def each(self, count: int, work: Callable[[int, int], Made]) -> Iterator[Made]:
        """Yield what ``work(start, size)`` makes of each batch of ``count`` examples.

        What does not fit into the memory after all is tried again in batches of half the size, if no size was asked
        for; so ``work`` must be a function of its arguments. Graphs are kept from batch to batch, so that weights must
        stay what they are until the last.
        """
        start, graphs = 0, KeptGraphs()
        while start < count:
            size = min(self.largest, count - start)
            left = 1 if self._learns else (count - start) // size
            try:
                with self.learning(size), graphs.batch(left):
                    made = work(start, size)
            except torch.OutOfMemoryError:
                if not self._is_free or size == 1:
                    raise
                self._learns, self.largest, graphs = False, size // 2, KeptGraphs()
                continue
            start += size
            yield made

    @contextlib.contextmanager
    def learning(self, count: int) -> Iterator[None]:
        """Within it ``count`` examples are computed; from the memory that they take follows :attr:`largest`."""
        if not self._learns:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        taken = torch.cuda.max_memory_allocated(self._device) - before
        free, _ = torch.cuda.mem_get_info(self._device)
        free += torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        self.largest = max(count, min(MOST, int(min(SHARE * free, MOST_BYTES) * count / max(1, taken))))
        self._learns = False
