"""What standardizes continuous data for networks that see one value after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core.codec import mean_and_deviation

__all__ = ["ChannelScaling"]


class ChannelScaling(nn.Module):
    """Standardize each place along the first axis of examples: the channels of a series, the dimensions of a vector.

    One factor for all steps of a channel keeps what holds at every step alike. A state from before there was such a
    scaling is one of data as it is.

    Args:
        shape: Shape of one example.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        ones = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("scale", torch.ones(ones))
        self.register_buffer("shift", torch.zeros(ones))
        self.register_load_state_dict_pre_hook(_without_scaling)

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Give each channel of ``x [N, C, ...]`` mean 0 and standard deviation 1; a constant one stays finite.

        Args:
            x: Examples in their own units.
            mask: ``[N, C, ...]``, bool, true where there is a value; None: all is there.
        """
        for place, values in enumerate(x.movedim(1, 0)):
            there = values.flatten() if mask is None else values[mask[:, place]]
            mean, deviation = mean_and_deviation(there[:, None])
            self.scale[place], self.shift[place] = 1 / deviation[0], -mean[0] / deviation[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return values ``[N, *shape]`` in standardized units."""
        return self.scale * x + self.shift

    def inverse(self, z: Tensor) -> Tensor:
        """Return standardized values in the data's own units."""
        return (z - self.shift) / self.scale

    def log_scale(self, x: Tensor) -> Tensor:
        """Return the log-determinant of each value ``[N, *shape]``, nats."""
        return self.scale.log().expand_as(x)


def _without_scaling(module: ChannelScaling, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    state.setdefault(f"{prefix}scale", torch.ones_like(module.scale))
    state.setdefault(f"{prefix}shift", torch.zeros_like(module.shift))
