"""Batches from data that lie in memory: one gather per batch, no workers, no per-item Python.

The training order is counter-based: batch number ``b`` is a pure function of (seed, ``b``), so a resumed run needs no
generator state, and any step can be replayed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError

__all__ = ["DrawTransform", "EvalLoader", "TrainStream"]

DrawTransform = Callable[[Tensor, Tensor], Tensor]
"""``(x, uniform) -> x``: a random change of examples as they are drawn, as a function of noise uniform in [0, 1).

One that needs less noise than an example has values says by an attribute ``noise_shape`` what it needs for each."""

# Separates the streams of one seed, so that the noise of batch 3 shares nothing with the order of epoch 3.
_ORDER, _NOISE = 0, 1


def _generator(device: torch.device, seed: int, purpose: int, counter: int) -> torch.Generator:
    entropy = np.random.SeedSequence((seed, purpose, counter)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(entropy[0]))


def _gather(rows: Tensor, indices: Tensor) -> Tensor:
    if rows.device.type != "cpu":
        return rows.index_select(0, indices)
    # NumPy copies in one thread, as fast as index_select does in one. With more threads index_select waits for all of
    # them: where another process held a core, a batch of images took 3 ms on average instead of 0.03.
    return torch.from_numpy(rows.numpy().take(indices.numpy(), axis=0))


class TrainStream:
    """An endless stream of full, shuffled training batches, of which this rank gets its slice.

    The examples of epoch ``e`` come in a permutation drawn from (seed, ``e``). Global batch ``b`` holds the positions
    ``[b * batch_size, (b + 1) * batch_size)`` of all epochs' permutations laid end to end: batches straddle epochs,
    none is short, and a batch may be larger than the data set. Rank ``r`` of ``W`` takes the ``r``-th of ``W``
    contiguous slices, so the global batch does not depend on the number of devices.

    Args:
        tensors: The training set, ``x`` ``[N, ...]`` and ``y`` ``[N]`` or None, on the device on which batches
            are wanted.
        batch_size: Examples per global batch, all ranks together; a multiple of ``world_size``.
        seed: Seed of order and noise, not negative.
        rank: This process, in ``[0, world_size)``.
        world_size: Number of processes.
        start_batch: Number of the first global batch that ``iter()`` gives. Set the attribute to resume: the
            position is computed, nothing is replayed.
        draw_transform: Applied to each ``x`` as it is drawn, with uniform float32 noise in [0, 1) of its shape, or of
            the transform's ``noise_shape`` for each example. The noise is drawn for the whole global batch from (seed,
            batch number) and sliced, so it does not depend on the ranks; it does depend on the kind of device.

    Raises:
        GenlabError: If ``batch_size`` is not positive or not a multiple of ``world_size``.
        ValueError: If the data set is empty.
    """

    def __init__(
        self,
        tensors: Batch,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
        draw_transform: DrawTransform | None = None,
    ) -> None:
        if len(tensors.x) == 0:
            raise ValueError("the training set is empty.")
        if batch_size < 1 or batch_size % world_size:
            raise GenlabError(
                f"data.batch_size is {batch_size}, expected a positive multiple of the number of devices, {world_size}:"
                f" it counts the examples of all devices together."
            )
        self.tensors = tensors
        self.batch_size = batch_size
        self.seed = seed
        self.start_batch = start_batch
        self.draw_transform = draw_transform
        self._first = rank * (batch_size // world_size)
        self._count = batch_size // world_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def __iter__(self) -> Iterator[Batch]:
        number = self.start_batch
        while True:
            yield self.batch(number)
            number += 1

    def batch(self, number: int) -> Batch:
        """Return this rank's slice of global batch ``number``; the same at any time and in any order of calls."""
        indices = self._indices(number * self.batch_size + self._first)
        batch = self.tensors.each(lambda rows: _gather(rows, indices))
        if self.draw_transform is None:
            return batch
        return batch._replace(x=self.draw_transform(batch.x, self._noise(number)))

    def _indices(self, position: int) -> Tensor:
        parts, missing = [], self._count
        while missing:
            epoch, offset = divmod(position, len(self.tensors.x))
            part = self._permutation(epoch)[offset : offset + missing]
            parts.append(part)
            position += len(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # Always drawn on the CPU: the order must not change with the device that holds the data.
            generator = _generator(torch.device("cpu"), self.seed, _ORDER, epoch)
            self._order = torch.randperm(len(self.tensors.x), generator=generator).to(self.tensors.x.device)
            self._epoch = epoch
        return self._order

    def _noise_of(self, purpose: int, epoch: int) -> torch.Generator:
        return _generator(torch.device("cpu"), self.seed, purpose, epoch)

    def _noise(self, number: int) -> Tensor:
        device = self.tensors.x.device
        shape = (self.batch_size, *getattr(self.draw_transform, "noise_shape", self.tensors.x.shape[1:]))
        noise = torch.rand(shape, generator=_generator(device, self.seed, _NOISE, number), device=device)
        return noise[self._first : self._first + self._count]


class EvalLoader:
    """A split in its own order, in views of the data; the ranks share it without duplicates.

    Each rank has a contiguous part, and all ranks have the same number of batches, because a rank that runs out
    early would leave the others waiting in a collective operation. The last batch may be short; it is empty only on
    ranks beyond the number of examples.

    Args:
        tensors: The split, ``x`` ``[N, ...]`` and ``y`` ``[N]`` or None.
        batch_size: Examples per batch, all ranks together.
        rank: This process, in ``[0, world_size)``.
        world_size: Number of processes.

    Raises:
        GenlabError: If ``batch_size`` is not positive.
    """

    def __init__(self, tensors: Batch, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1:
            raise GenlabError(f"data.batch_size is {batch_size}, expected at least 1.")
        total = len(tensors.x)
        start, stop = (total * r // world_size for r in (rank, rank + 1))
        size = max(1, batch_size // world_size)
        largest, smallest = -(-total // world_size), total // world_size
        batches = min(-(-largest // size), max(1, smallest))
        # A rank with one example less may have nothing left for the last batch: it keeps one back for it.
        starts = [max(0, min(i * size, stop - start - (batches - i))) for i in range(batches)]
        self.tensors = tensors
        self._edges = [start + edge for edge in [*starts, stop - start]]

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __iter__(self) -> Iterator[Batch]:
        for start, stop in zip(self._edges, self._edges[1:], strict=False):
            yield self.tensors.rows(slice(start, stop))
