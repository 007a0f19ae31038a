"""Examples as rows of a mixture: whole, or in frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.networks.causal.base import from_raster, to_raster

__all__ = ["Frames"]


class Frames:
    """What of examples a mixture sees as one row: all values, or short stretches where those are examples too.

    Args:
        spec: What one example is.
        length: Most values of a stretch.

    Attributes:
        are_parts: Whether rows are parts of examples.
        length: Values of a row, D.
        count: Rows of an example.
    """

    def __init__(self, spec: DataSpec, length: int) -> None:
        self.spec = spec
        self.are_parts = modality_of(spec).is_stationary
        self.length = min(length, spec.num_dims) if self.are_parts else spec.num_dims
        self.count = -(-spec.num_dims // self.length)

    def split(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return rows ``[N * count, D]`` of examples ``[N, *spec.shape]``, and what of them is there; None: all."""
        if not self.are_parts:
            return x.flatten(1), None if mask is None else mask.flatten(1)
        missing = self.count * self.length - self.spec.num_dims
        if missing and mask is None:
            mask = torch.ones_like(x, dtype=torch.bool)

        def rows(values: Tensor) -> Tensor:
            return F.pad(to_raster(values, self.spec).flatten(1), (0, missing)).reshape(-1, self.length)

        return rows(x), None if mask is None else rows(mask)

    def join(self, rows: Tensor) -> Tensor:
        """Return examples ``[N, *spec.shape]`` of rows ``[N, count, D]``."""
        if not self.are_parts:
            return rows.reshape(-1, *self.spec.shape)
        values = rows.flatten(1)[:, : self.spec.num_dims]
        channels = 1 if len(self.spec.shape) == 1 else self.spec.shape[0]
        return from_raster(values.unflatten(1, (-1, channels)), self.spec)
