"""Counter-based randomness: every seed is a pure function of what it is for, so no generator state is saved."""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import torch
from torch import Generator, Tensor

__all__ = ["Stream", "default_generator", "generator", "some_of", "stream_seed"]


class Stream(IntEnum):
    """What a seed is for; two purposes never share numbers."""

    WEIGHTS = 0
    NOISE = 1
    VALIDATION = 2
    LIKELIHOOD = 3
    SAMPLES = 4
    GRIDS = 5


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


def default_generator(device: torch.device) -> Generator:
    """Return what a CPU or CUDA device draws from unless it is told otherwise; without a number it is the present one.

    On a CUDA device something must have been computed before.
    """
    if device.type == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]


def some_of(x: Tensor, count: int) -> Tensor:
    """Return so many examples, or all if there are no more, by chance but always the same.

    The first ones of a set will not do to look at: files are often in the order of their labels.
    """
    return x[torch.randperm(len(x), generator=generator(Stream.GRIDS))[:count]]
