"""Equal examples must not lie in different splits: what a model has seen in training it would know in the test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["HELD_OUT", "example_digest", "grouped_split", "held_out_elsewhere"]

HELD_OUT = 0.1
"""Share of the examples that is validation, and test, where data comes without splits."""


def example_digest(example: np.ndarray) -> bytes:
    """Return what equal examples, and only these, have in common: 16 bytes of their values."""
    return hashlib.blake2b(np.ascontiguousarray(example), digest_size=16).digest()


def held_out_elsewhere(digests: Sequence[bytes], held_out: Sequence[Sequence[bytes]]) -> np.ndarray:
    """Return which examples of a split, ``[N]`` bool, are also in one of the splits that are held out from it."""
    known = set().union(*held_out)
    return np.array([digest in known for digest in digests], dtype=bool)


def grouped_split(
    digests: Sequence[bytes], labels: Sequence[int] | None, seed: int, parts: tuple[float, ...]
) -> list[np.ndarray]:
    """Draw parts of the examples, in each class alike, that have no example in common.

    Equal examples are one group, which is drawn as a whole; of several classes, it counts in that of its first.

    Args:
        digests: What equal examples have in common, ``[N]``.
        labels: Their classes, or None for one class.
        seed: Seed of the draw.
        parts: Shares of the groups of each class; at least one group each.

    Returns:
        The indices of each part and, last, those of the rest, each in ascending order.
    """
    first = {}
    for index, digest in enumerate(digests):
        first.setdefault(digest, index)
    of_class: dict[int, list[int]] = {}
    for index in first.values():
        of_class.setdefault(labels[index] if labels is not None else 0, []).append(index)
    random = np.random.RandomState(seed)  # NumPy promises never to change this stream
    place = {}  # of each group, by its first example
    for label in sorted(of_class):
        members = of_class[label]
        edges = np.cumsum([max(1, round(share * len(members))) for share in parts])
        for rank, number in enumerate(random.permutation(len(members))):
            place[members[number]] = int(np.searchsorted(edges, rank, side="right"))
    places = np.array([place[first[digest]] for digest in digests], dtype=np.int64)
    return [np.flatnonzero(places == part) for part in range(len(parts) + 1)]
