"""Normals given some of their dimensions: the density of these, and draws of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["conditional_shift", "marginal_log_density"]

_LOG_2PI = math.log(2 * math.pi)


def marginal_log_density(deviation: Tensor, covariance: Tensor, kept: Tensor) -> Tensor:
    """Log-density of the dimensions that are kept, under each of K normals.

    Args:
        deviation: From the means, ``[N, K, D]``; where nothing is kept it does not matter.
        covariance: ``[K, D, D]``.
        kept: ``[N, D]``, bool.

    Returns:
        ``[N, K]``, nats, float64.
    """
    found = deviation.new_zeros(deviation.shape[:2], dtype=torch.float64)
    for rows, some in _patterns(kept):
        cholesky = torch.linalg.cholesky(covariance.double()[:, some][:, :, some])
        white = torch.linalg.solve_triangular(
            cholesky, deviation[rows][..., some].double().permute(1, 2, 0), upper=False
        )
        log_det = cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        found[rows] = (-0.5 * (white.square().sum(1) + len(some) * _LOG_2PI) - log_det[:, None]).T
    return found


def conditional_shift(residual: Tensor, chosen: Tensor, covariance: Tensor, kept: Tensor) -> Tensor:
    """Return by how much draws of normals are moved, so that they become draws given the dimensions that are kept.

    With S the covariance and r by how much what is kept exceeds that of the draw, it is S[:, kept] S[kept, kept]^-1 r:
    Journel and Huijbregts (1978), "Mining Geostatistics", chapter VII.

    Args:
        residual: r, ``[N, D]``; where nothing is kept it does not matter.
        chosen: The normal of each draw, ``[N]``.
        covariance: ``[K, D, D]``.
        kept: ``[N, D]``, bool.

    Returns:
        ``[N, D]``, float64; where something is kept it is the residual, but for rounding.
    """
    moved = torch.zeros_like(residual, dtype=torch.float64)
    for rows, some in _patterns(kept):
        for k in chosen[rows].unique().tolist():
            own, matrix = rows[chosen[rows] == k], covariance[k].double()
            solved = torch.linalg.solve(matrix[some][:, some], residual[own][:, some].double().T)
            moved[own] = (matrix[:, some] @ solved).T
    return moved


def _patterns(kept: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each pattern of what is kept, and the dimensions that it keeps; nothing where it keeps none."""
    patterns, which = kept.unique(dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            yield (which == number).nonzero()[:, 0], pattern.nonzero()[:, 0]
