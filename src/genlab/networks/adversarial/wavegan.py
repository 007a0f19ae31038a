"""Generator and discriminator of sound and of series."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.networks.adversarial.networks import SLOPE

__all__ = ["COARSEST", "COARSEST_OF_SERIES", "WaveDiscriminator", "WaveGenerator", "phase_shuffle", "signal_widths"]

Layer = TypeVar("Layer", nn.Linear, nn.Conv1d, nn.ConvTranspose1d)

STRIDE = 4
KERNEL = 25
COARSEST = 16
"""Least length at the coarsest scale, but for signals that are shorter; that of the paper."""
COARSEST_OF_SERIES = 2
"""The same of the windows of a series."""


def signal_widths(length: int, channels: int, max_channels: int, coarsest: int = COARSEST) -> list[int]:
    """Channels at each scale, finest first: doubled as often as the signal can be shortened to ``coarsest`` places.

    At least once, however short the signal is.
    """
    shortenings = max(1, int(math.log(length / coarsest, STRIDE))) if length > coarsest else 1
    return [min(channels * 2**scale, max_channels) for scale in range(shortenings)]


def _lengths(length: int, times: int) -> list[int]:
    lengths = [length]
    for _ in range(times):
        lengths.append(-(-lengths[-1] // STRIDE))
    return lengths


class WaveGenerator(nn.Module):
    """Transposed convolutions, each of which makes a signal four times as long; Donahue et al. (2019), "WaveGAN".

    Args:
        inputs: Width of the noise.
        shape: ``(C, T)`` of one example, of any length.
        widths: Channels at each scale but that of the signal itself, finest first.
    """

    def __init__(self, inputs: int, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.lengths = _lengths(shape[1], len(widths))[::-1]
        coarse_first = [*reversed(widths), shape[0]]
        self.start_shape = (coarse_first[0], self.lengths[0])
        self.enter = _he(nn.Linear(inputs, math.prod(self.start_shape)), 1)
        self.ups = nn.ModuleList(
            # Each place gets a quarter of the kernel's terms.
            _he(nn.ConvTranspose1d(before, after, KERNEL, STRIDE, padding=11, output_padding=1), STRIDE)
            for before, after in itertools.pairwise(coarse_first)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, C, T]``."""
        h = self.enter(z).unflatten(1, self.start_shape)
        for up, length in zip(self.ups, self.lengths[1:], strict=True):
            h = up(F.relu(h))[..., :length]
        return h


class WaveDiscriminator(nn.Module):
    """Strided convolutions, each of which makes a signal four times as short; Donahue et al. (2019), "WaveGAN".

    Args:
        shape: ``(C, T)`` of one example, of any length.
        widths: Channels at each scale but that of the signal itself, finest first.
        shuffle: Most places by which :func:`phase_shuffle` moves features, between the scales.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int], shuffle: int) -> None:
        super().__init__()
        self.width = widths[-1] * _lengths(shape[1], len(widths))[-1]
        self.shuffle = shuffle
        self.downs = nn.ModuleList(
            _he(nn.Conv1d(before, after, KERNEL, STRIDE, padding=KERNEL // 2), 1)
            for before, after in itertools.pairwise([shape[0], *widths])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, T]`` to features ``[N, width]``."""
        h = x
        for index, down in enumerate(self.downs):
            h = F.leaky_relu(down(h), SLOPE)
            if index < len(self.downs) - 1:
                h = phase_shuffle(h, self.shuffle)
        return h.flatten(1)


def phase_shuffle(x: Tensor, reach: int) -> Tensor:
    """Move each example's features by a random number of places, mirrored at the ends.

    The discriminator then cannot judge by the phase of what upsampling leaves behind; Donahue et al. (2019), section
    3.3.

    Args:
        x: ``[N, C, T]``.
        reach: Most places, to either side; 0 for none, and never as many as there are.
    """
    length = x.shape[-1]
    reach = min(reach, length - 1)
    if reach == 0:
        return x
    shift = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
    source = (torch.arange(length, device=x.device) - shift).abs()
    source = (length - 1) - ((length - 1) - source).abs()
    return x.gather(2, source[:, None].expand_as(x))


def _he(layer: Layer, share: int) -> Layer:
    """He et al. (2015): keep the size of what rectifiers let through, each output having 1 / ``share`` of the terms."""
    terms = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels * layer.kernel_size[0]
    nn.init.normal_(layer.weight, std=math.sqrt(2 * share / terms))
    nn.init.zeros_(layer.bias)
    return layer
