"""Rotary positions: queries and keys are turned by their places, so that attention sees distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RotaryPositions"]

BASE = 10_000.0


class RotaryPositions(nn.Module):
    """Turn pairs of features by angles that grow with the place; Su et al. (2021), "RoFormer", equation 34.

    The product of two turned vectors depends on their places by the difference alone.

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

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Turn ``x [..., T, width]``, whose first row stands at a place, by the places of its rows."""
        places = slice(first, first + x.shape[-2])
        return self.at(x, self.cosines[places], self.sines[places])

    @staticmethod
    def at(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Turn ``x [..., T, width]`` by the rows of :attr:`cosines` and :attr:`sines` of its places."""
        # The first half of the features pairs with the second: it is the same up to their order.
        one, other = x.chunk(2, dim=-1)
        cosines, sines = cosines.to(x.dtype), sines.to(x.dtype)
        return torch.cat([one * cosines - other * sines, one * sines + other * cosines], dim=-1)
