"""Encoders and decoders of signals: convolutions that shorten by a factor from scale to scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from genlab.networks.blocks.dilated import unsqueeze_time

__all__ = ["SignalDecoder", "SignalEncoder", "shortened"]

STRIDE = 4
"""Places that each scale makes one of."""
KERNEL = 9
"""Places that a convolution between scales sees: more than two strides, so that neighbours overlap."""


def shortened(length: int, times: int) -> list[int]:
    """Lengths of a signal that is shortened four times so often, rounding up; the first is the full length."""
    lengths = [length]
    for _ in range(times):
        lengths.append(-(-lengths[-1] // STRIDE))
    return lengths


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class SignalEncoder(nn.Module):
    """Shorten a signal four times for each entry of ``channels``, with residual blocks in between.

    Args:
        shape: ``(C, T)`` of one example, of any length.
        channels: Channels at each scale, finest first; the first scale is a quarter of the length.
        blocks: Residual blocks at each scale.
        outputs: Width of the output.
    """

    def __init__(self, shape: Sequence[int], *, channels: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *channels[:-1]], channels, strict=True):
            layers.append(nn.Conv1d(before, after, KERNEL, stride=STRIDE, padding=KERNEL // 2))
            layers += [_Residual(after) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Linear(channels[-1] * shortened(shape[1], len(channels))[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, T]`` to ``[N, outputs]``."""
        return self.leave(F.silu(self.layers(x)).flatten(1))


class SignalDecoder(nn.Module):
    """Mirror image of :class:`SignalEncoder`: residual blocks, then a convolution for each of four places.

    Args:
        inputs: Width of the input.
        shape: ``(C, T)`` of one example, of any length.
        channels: Channels at each scale, finest first, as for the encoder.
        blocks: Residual blocks at each scale.
        num_params: Parameters per value.
    """

    def __init__(
        self, inputs: int, shape: Sequence[int], *, channels: Sequence[int], blocks: int, num_params: int
    ) -> None:
        super().__init__()
        self.lengths = shortened(shape[1], len(channels))[::-1]
        coarse_first = list(channels)[::-1]
        self.output_shape = (num_params, shape[0])
        self.start_shape = (coarse_first[0], self.lengths[0])
        self.enter = nn.Linear(inputs, math.prod(self.start_shape))
        self.scales = nn.ModuleList(
            nn.Sequential(*(_Residual(width) for _ in range(blocks)), nn.SiLU()) for width in coarse_first
        )
        finer = [*coarse_first[1:], num_params * shape[0]]
        self.ups = nn.ModuleList(
            nn.Conv1d(before, STRIDE * after, 3, padding=1) for before, after in zip(coarse_first, finer, strict=True)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, num_params, C, T]``."""
        h = self.enter(z).unflatten(1, self.start_shape)
        for blocks, up, length in zip(self.scales, self.ups, self.lengths[1:], strict=True):
            h = unsqueeze_time(up(blocks(h)), STRIDE)[..., :length]
        return h.unflatten(1, self.output_shape)
