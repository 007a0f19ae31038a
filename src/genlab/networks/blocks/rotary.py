"""Rotary positions: queries and keys are turned by their places, so that attention sees distances."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from genlab.core.replaying import Place

__all__ = ["RotaryPositions"]

BASE = 10_000.0


class RotaryPositions(nn.Module):
    """Turn pairs of features by angles that grow with the place; Su et al. (2021), "RoFormer", equation 34.

    The product of two turned vectors depends on their places by the difference alone. The first half of the features
    pairs with the second: it is the paper's turn up to their order.

    Args:
        width: Features of a query or key, even.
        length: Number of places.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        rates = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
        self.register_buffer("cosines", angles.cos().float(), persistent=False)
        self.register_buffer("sines", angles.sin().float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``x [..., T, width]``, row t by place t."""
        length = x.shape[-2]
        return _turned(x, self.cosines[:length], self.sines[:length])

    def to_place(self, place: Place) -> Callable[[Tensor], Tensor]:
        """Return what turns all rows of ``x [..., T, width]`` by one place."""
        cosines, sines = (
            rows[place : place + 1] if isinstance(place, int) else rows.index_select(0, place.view(1))
            for rows in (self.cosines, self.sines)
        )
        return partial(_turned, cosines=cosines, sines=sines)


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    one, other = x.chunk(2, dim=-1)
    cosines, sines = cosines.to(x.dtype), sines.to(x.dtype)
    return torch.cat([one * cosines - other * sines, one * sines + other * cosines], dim=-1)
