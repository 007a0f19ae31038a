"""Squared Euclidean distances of many pairs, block by block in float64, and nearest neighbours from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Block", "Neighbours", "block_slices", "centre_of", "nearest_neighbours", "squared_distance_blocks"]

BLOCK = 512
"""Rows and columns of a block: 2 MB in float64, which stay in a processor's cache."""

BLOCK_ON_GPU = 4096
"""On a GPU, which is the faster the more there is to do at once: 128 MB."""


class Block(NamedTuple):
    """A block of a matrix of squared distances.

    Attributes:
        rows: Which of the first points.
        columns: Which of the second points.
        values: ``[rows, columns]``, float64, at least zero. It may be overwritten.
    """

    rows: slice
    columns: slice
    values: Tensor


class Neighbours(NamedTuple):
    """Nearest neighbours, nearest first.

    Attributes:
        squared_distances: ``[N, k]``, float64.
        indices: ``[N, k]``, int64.
    """

    squared_distances: Tensor
    indices: Tensor


def block_slices(rows: int, columns: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Cover a matrix that lies on a device with blocks, row of blocks by row of blocks."""
    size = BLOCK_ON_GPU if device.type == "cuda" else BLOCK
    for top in range(0, rows, size):
        for left in range(0, columns, size):
            yield slice(top, min(top + size, rows)), slice(left, min(left + size, columns))


def centre_of(points: Tensor) -> Tensor:
    """Mean ``[D]`` of points ``[N, D]`` in float64."""
    return points.mean(0, dtype=torch.float64)


def squared_distance_blocks(first: Tensor, second: Tensor, centre: Tensor) -> Iterator[Block]:
    """Yield all squared distances between points ``[N, D]`` and ``[M, D]``, a block at a time.

    They come from one matrix product as ``|a|^2 + |b|^2 - 2 ab``, whose rounding error is of the order of
    ``D * 2^-53 * (|a|^2 + |b|^2)``; so the points are moved near the origin first.

    Args:
        first: ``[N, D]``.
        second: ``[M, D]``.
        centre: ``[D]``, float64, what is subtracted from all points.
    """
    for rows, columns in block_slices(len(first), len(second), first.device):
        if columns.start == 0:
            a = first[rows].double() - centre
            a_norms = a.square().sum(1, keepdim=True)
        b = second[columns].double() - centre
        values = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a_norms).clamp_min_(0)
        yield Block(rows, columns, values)


def nearest_neighbours(queries: Tensor, points: Tensor, k: int, centre: Tensor) -> Neighbours:
    """Find the k points ``[M, D]`` nearest to each query ``[N, D]``, exactly.

    Args:
        queries: ``[N, D]``. A query that is one of the points is its own neighbour.
        points: ``[M, D]``.
        k: How many, at most M.
        centre: ``[D]``, a place near the points, such as :func:`centre_of`; see :func:`squared_distance_blocks`.
    """
    found = Neighbours(
        torch.full((len(queries), k), torch.inf, dtype=torch.float64, device=queries.device),
        torch.zeros((len(queries), k), dtype=torch.int64, device=queries.device),
    )
    for rows, columns, values in squared_distance_blocks(queries, points, centre):
        nearest = values.topk(min(k, values.shape[1]), largest=False)
        distances = torch.cat([found.squared_distances[rows], nearest.values], dim=1)
        indices = torch.cat([found.indices[rows], nearest.indices + columns.start], dim=1)
        best = distances.topk(k, largest=False)
        found.squared_distances[rows] = best.values
        found.indices[rows] = indices.gather(1, best.indices)
    return found
