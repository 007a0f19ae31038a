"""What autoregressive networks share: the order of the values, their encoding, and channels within a site."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import Codec
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of

__all__ = ["CausalNetwork", "ChannelHead", "Steps", "from_raster", "site_shape", "to_raster"]

Steps = Generator[Tensor, Tensor, None]
"""Yields the parameters ``[N, P]`` of one value after another, and is sent each value ``[N]`` that was chosen."""


def site_shape(spec: DataSpec) -> tuple[tuple[int, ...], int]:
    """Axes of the sites and the channels of each: ``(H, W), C`` for images; ``(D,), 1`` for vectors and text."""
    return (spec.shape, 1) if len(spec.shape) == 1 else (spec.shape[1:], spec.shape[0])


def to_raster(x: Tensor, spec: DataSpec) -> Tensor:
    """Order values as they are predicted: ``[N, *spec.shape] -> [N, T, C]``.

    Sites go row by row from the top left, and the channels of a site follow each other.
    """
    return x.flatten(2).transpose(1, 2) if len(spec.shape) > 1 else x[..., None]


def from_raster(x: Tensor, spec: DataSpec) -> Tensor:
    """Undo `to_raster`: ``[N, T, C] -> [N, *spec.shape]``."""
    return x.transpose(1, 2).reshape(-1, *spec.shape)


class CausalNetwork(nn.Module, ABC):
    """Predicts the parameters of every value from the values before it in raster order.

    Args:
        spec: What one example is.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
    """

    def __init__(self, spec: DataSpec, num_params: int, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.codec = modality_of(spec).codec(spec)
        self.num_params = num_params
        self.num_classes = num_classes
        self.sites, self.channels = site_shape(spec)
        self.num_sites = math.prod(self.sites)

    @property
    def num_steps(self) -> int:
        """Evaluations, one after the other, that a sample costs: one for each site."""
        return self.num_sites

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the parameters of all values at once.

        Args:
            x: ``[N, T, C]`` in the data's own values, see `to_raster`.
            y: Labels ``[N]``, int64, if the network has classes.

        Returns:
            ``[N, P, T, C]``; those of a value depend on earlier values alone.
        """

    @abstractmethod
    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """Yield the parameters of each value in turn, computing nothing twice; to be run without gradients.

        Args:
            n: Number of examples.
            y: Labels ``[n]``.
        """

    def naive_steps(self, n: int, y: Tensor | None = None) -> Steps:
        """What `steps` does, by a full forward pass for each value; the reference for tests and benchmarks."""
        device = next(self.parameters()).device
        dtype = torch.float32 if self.spec.levels is None else torch.int64
        x = torch.zeros(n, self.num_sites, self.channels, dtype=dtype, device=device)
        for site in range(self.num_sites):
            for channel in range(self.channels):
                x[:, site, channel] = yield self(x, y)[:, :, site, channel]


class ChannelHead(nn.Module):
    """Parameters of the channels of a site, from its features and the channels before each.

    A hidden layer that the site's earlier channels shift, and a linear layer, for each channel. So the distribution of
    a site's channels given earlier sites has any dependence among them that such a layer can express.

    Args:
        features: Features of a site.
        channels: Channels C of a site.
        num_params: Parameters P of each channel.
    """

    def __init__(self, features: int, channels: int, num_params: int) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Linear(c, features, bias=False) for c in range(1, channels))
        self.leave = nn.ModuleList(nn.Linear(features, num_params) for _ in range(channels))
        for leave in self.leave:
            nn.init.zeros_(leave.weight)
            nn.init.zeros_(leave.bias)

    def forward(self, features: Tensor, values: Tensor) -> Tensor:
        """Map ``[N, T, features]`` and scaled values ``[N, T, C]`` to parameters ``[N, P, T, C]``."""
        params = [self.channel(c, features, values[..., :c]) for c in range(len(self.leave))]
        return torch.stack(params, dim=-1).transpose(1, 2)

    def channel(self, c: int, features: Tensor, earlier: Tensor) -> Tensor:
        """Return parameters ``[..., P]`` of channel ``c`` given the scaled values ``[..., c]`` of the earlier ones."""
        if c > 0:
            features = features + self.mix[c - 1](earlier)
        return self.leave[c](F.relu(features))

    def steps(self, features: Tensor, codec: Codec) -> Generator[Tensor, Tensor, Tensor]:
        """Yield the parameters ``[N, P]`` of each channel of one site; return the values ``[N, C]`` that were chosen.

        Args:
            features: ``[N, features]``.
            codec: Scales the values.
        """
        values: list[Tensor] = []
        scaled = features[:, :0]
        for c in range(len(self.leave)):
            values.append((yield self.channel(c, features, scaled)))
            scaled = codec.to_signed(torch.stack(values, dim=1), features.dtype)
        return torch.stack(values, dim=1)
