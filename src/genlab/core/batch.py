"""What a loader yields."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """A batch of data as it is, before any preprocessing.

    Attributes:
        x: ``[N, *spec.shape]``; uint8 for images, int64 for tokens, float32 for continuous data.
        y: Labels ``[N]``, int64, or None.
    """

    x: Tensor
    y: Tensor | None = None
