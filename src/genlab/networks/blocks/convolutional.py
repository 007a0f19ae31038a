"""Plain convolutional networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvResNet"]


class ConvResNet(nn.Module):
    """Residual convolutional network that keeps the resolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        hidden: Channels in between.
        blocks: Number of residual blocks (3x3, then 1x1 convolution).
        zero_output: Start with an output of zero.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, hidden: int, blocks: int, zero_output: bool = True
    ) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.wide = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(blocks))
        self.point = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(blocks))
        self.leave = nn.Conv2d(hidden, out_channels, 3, padding=1)
        if zero_output:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``."""
        h = self.enter(x.contiguous(memory_format=torch.channels_last))
        for wide, point in zip(self.wide, self.point, strict=True):
            h = h + point(F.relu(wide(F.relu(h))))
        return self.leave(F.relu(h))
