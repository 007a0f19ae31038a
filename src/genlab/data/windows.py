"""Windows of one long sequence, as text and sound are trained on: a random cut of all of it for each epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.data.loader import TrainStream

__all__ = ["WindowStream", "disjoint_windows"]

_PHASE = 2
"""Purpose of the noise that says where an epoch's first window begins; see :mod:`genlab.data.loader`."""


def disjoint_windows(sequence: Tensor, length: int) -> Tensor:
    """Cut a sequence ``[S]`` into windows ``[S // length, length]`` that do not overlap, int64; the rest is left out.

    Raises:
        GenlabError: If it is shorter than one window.
    """
    count = len(sequence) // length
    if count == 0:
        raise GenlabError(
            f"data.length is {length:,}, but a split has {len(sequence):,} symbols only. Use a lower data.length."
        )
    return sequence[: count * length].view(count, length).long()


class WindowStream(TrainStream):
    """A `TrainStream` of the windows of one sequence.

    In each epoch the sequence is cut into windows that do not overlap, from a first place that is drawn from (seed,
    epoch): every value is seen once, but for less than a window at each end, and no value always stands at the same
    place of a window.

    Args:
        sequence: ``[S]``, whole numbers of any integer type, on the device on which batches are wanted.
        length: Values of a window, at most S.
        batch_size: Windows per global batch, all ranks together; a multiple of ``world_size``.
        seed: Seed of the order, not negative.
        rank: This process, in ``[0, world_size)``.
        world_size: Number of processes.
        start_batch: Number of the first global batch that ``iter()`` gives.
    """

    def __init__(
        self,
        sequence: Tensor,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
    ) -> None:
        count = max(1, (len(sequence) - length + 1) // length)
        # Numbers of windows stand where the examples of another set would.
        numbers = Batch(torch.arange(count, device=sequence.device))
        super().__init__(numbers, batch_size, seed, rank, world_size, start_batch)
        self.sequence = sequence
        self.length = length
        self._phases = min(length, len(sequence) - count * length + 1)
        self._offsets = torch.arange(length, device=sequence.device)

    def batch(self, number: int) -> Batch:
        """Return this rank's slice of global batch ``number``: ``x`` ``[N, length]``, int64."""
        starts = self._indices(number * self.batch_size + self._first)
        return Batch(self.sequence[starts[:, None] + self._offsets].long())

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            phase = torch.randint(self._phases, (), generator=self._noise_of(_PHASE, epoch))
            self._order = super()._permutation(epoch) * self.length + int(phase)
        return self._order
