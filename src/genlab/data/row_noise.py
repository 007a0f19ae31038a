"""Noise on the numbers of training rows, as a part of the draw of training batches."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.spec import DataSpec

__all__ = ["RowNoise"]

_LEAST_U = 2.0**-25
"""Uniform numbers are multiples of 2^-24, and the normal's quantile of 0 is infinite."""


class RowNoise:
    """Adds normal noise to the numbers of rows; a `DrawTransform`.

    Bishop (1995), "Training with noise is equivalent to Tikhonov regularization"; for densities Rothfuss et al. (2019),
    "Noise regularization for conditional density estimation", whose rule of thumb is a deviation that falls with
    ``N ** (-1 / (D + 4))``. Categories and what stands for missing numbers stay what they are; rounded numbers stay on
    their grid.

    Args:
        spec: What one row is.
        deviation: Of the noise, in units of each column's own deviation.
        rows: ``[N, D]``, the training rows, whose deviations are meant.
    """

    def __init__(self, spec: DataSpec, deviation: float, rows: Tensor) -> None:
        is_category = torch.tensor([field.levels is not None for field in spec.fields])
        spread = rows.double().std(0, correction=0).float()
        self._is_rounded = torch.tensor([field.rounded for field in spec.fields])
        self._per_unit = torch.tensor(
            [10.0 ** (field.decimals or 0) if field.rounded else 1.0 for field in spec.fields]
        )
        self._scale = (deviation * spread).masked_fill(is_category, 0)
        places = {field.name: place for place, field in enumerate(spec.fields)}
        marks = [(places[field.marks], place) for place, field in enumerate(spec.fields) if field.marks is not None]
        self._marked = [number for number, _ in marks]
        self._marks = [mark for _, mark in marks]

    def __call__(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Return rows ``[N, D]`` with the noise that uniform numbers ``[N, D]`` in [0, 1) stand for."""
        if self._scale.device != x.device:
            self._scale, self._is_rounded, self._per_unit = (
                part.to(x.device) for part in (self._scale, self._is_rounded, self._per_unit)
            )
        noise = self._scale * torch.special.ndtri(uniform.clamp_min(_LEAST_U))
        if self._marks:
            noise[:, self._marked] *= x[:, self._marks] == 0
        noisy = x + noise
        return torch.where(self._is_rounded, (noisy * self._per_unit).round() / self._per_unit, noisy)
