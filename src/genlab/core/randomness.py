"""Counter-based randomness: every seed is a pure function of what it is for, so no generator state is saved."""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import torch
from torch import Generator, Tensor

__all__ = ["Stream", "generator", "stream_seed", "uniform_by_example"]


class Stream(IntEnum):
    """What a seed is for; two purposes never share numbers."""

    WEIGHTS = 0
    NOISE = 1
    VALIDATION = 2
    LIKELIHOOD = 3
    SAMPLES = 4
    GRIDS = 5
    EXAMPLES = 6


def stream_seed(stream: Stream, *counters: int) -> int:
    """Mix a purpose and counters, such as (seed, rank, step), into 63 independent-looking bits.

    Args:
        stream: What the seed is for.
        counters: Whole numbers of at most 64 bits.
    """
    # A cryptographic hash of the numbers takes microseconds, and no two lists of numbers collide in practice.
    packed = struct.pack(f"<{1 + len(counters)}Q", stream, *counters)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def generator(stream: Stream, *counters: int, device: torch.device | str = "cpu") -> Generator:
    """Return a fresh generator for a purpose and counters; see :func:`stream_seed`."""
    return Generator(device=device).manual_seed(stream_seed(stream, *counters))


def uniform_by_example(shape: tuple[int, ...], source: Generator | None, device: torch.device) -> Tensor:
    """Return uniform numbers in [0, 1), those of each example from a generator of its own.

    They depend on the source and on the example's place, not on how many others come with it, as those of one call for
    the whole batch would; and they are the same on every kind of device, for the same base.

    Args:
        shape: ``[N, ...]``.
        source: Gives one number, from which all follow; None: PyTorch's own generator.
        device: That of the source, where the numbers will lie.
    """
    base = int(torch.randint(2**62, (), generator=source, device=device))
    rows = [torch.rand(shape[1:], generator=generator(Stream.EXAMPLES, base, index)) for index in range(shape[0])]
    return torch.stack(rows).to(device)
