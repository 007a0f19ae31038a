"""Stacks of dilated causal convolutions over signals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.replaying import replayed
from genlab.core.spec import DataSpec
from genlab.networks.causal.base import CausalNetwork, ChannelHead, Steps

__all__ = ["WaveNet"]

FREQUENCIES = 16
"""Pairs of waves that tell a value's neighbours apart, where there is no table of values."""
LARGEST_TABLE = 1024
"""Most levels that are looked up in a table; of more, each would be seen too seldom."""


class _Values(nn.Module):
    """Features of amplitudes: a table of few levels, else waves of several lengths over ``[-1, 1]``.

    Args:
        levels: Levels of discrete data, or None.
        hidden: Features.
    """

    def __init__(self, levels: int | None, hidden: int) -> None:
        super().__init__()
        self.levels = levels if levels is not None and levels <= LARGEST_TABLE else None
        waves = nn.Linear(2 * FREQUENCIES + 1, hidden)
        if self.levels is None:
            self.waves = waves
            return
        # Begins as the waves do, so that neighbouring levels are alike from the first step on.
        with torch.no_grad():
            start = waves(_waves(torch.linspace(-1, 1, self.levels)))
        self.table = nn.Embedding(self.levels, hidden, _weight=start)

    def forward(self, x: Tensor, signed: Tensor) -> Tensor:
        """Map values ``[...]``, and the same in ``[-1, 1]``, to features ``[..., hidden]``."""
        return self.waves(_waves(signed)) if self.levels is None else self.table(x.long())


def _waves(signed: Tensor) -> Tensor:
    frequencies = torch.arange(1, FREQUENCIES + 1, device=signed.device, dtype=signed.dtype)
    angles = math.pi * signed[..., None] * frequencies
    return torch.cat([signed[..., None], angles.sin(), angles.cos()], dim=-1)


def _gate(entered: Tensor) -> Tensor:
    """Equation 2 of the paper, its two convolutions side by side."""
    content, gate = entered.chunk(2, dim=-1)
    return torch.tanh(content) * torch.sigmoid(gate)


class WaveNet(CausalNetwork):
    """Gated convolutions of two taps each, at distances that grow, with residual and skip connections.

    Van den Oord et al. (2016), "WaveNet: A generative model for raw audio", sections 2.1 to 2.5. A `ChannelHead` after
    the skip connections conditions the channels of a place on each other.

    Args:
        spec: Signals, discrete or continuous.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Features of the residual stream.
        skip: Features of the output layers.
        dilations: Distance of the taps of each layer.
    """

    def __init__(
        self, spec: DataSpec, num_params: int, num_classes: int, *, hidden: int, skip: int, dilations: Sequence[int]
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        self.dilations = tuple(dilations)
        self.hidden = hidden
        depth = len(self.dilations)
        self.values = nn.ModuleList(_Values(spec.levels, hidden) for _ in range(self.channels))
        self.taps = nn.ModuleList(nn.Linear(2 * hidden, 2 * hidden) for _ in range(depth))
        # What the last layer would add to the stream goes nowhere.
        self.residuals = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 1))
        self.label = nn.Embedding(num_classes, depth * 2 * hidden) if num_classes else None
        # The sum of all layers' skip connections, as one product.
        self.skip = nn.Linear(depth * hidden, skip)
        self.leave = nn.Linear(skip, skip)
        self.head = ChannelHead(skip, self.channels, num_params)

    @property
    def receptive_field(self) -> int:
        """Places before a value on which its distribution depends."""
        return 1 + sum(self.dilations)

    def embed(self, x: Tensor) -> Tensor:
        """Map values ``[..., C]`` to the stream ``[..., hidden]``."""
        signed = self.codec.to_signed(x, self.skip.weight.dtype)
        return torch.stack([table(x[..., c], signed[..., c]) for c, table in enumerate(self.values)]).sum(0)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = _later(self.embed(x), 1)
        context, found = self._context(y), []
        for index, dilation in enumerate(self.dilations):
            # One product of matrices: in bfloat16 on a CPU faster than a dilated convolution, by a quarter to a half.
            entered = self.taps[index](torch.cat([_later(h, dilation), h], dim=-1))
            found.append(_gate(entered if context is None else entered + context[index, :, None]))
            if index < len(self.residuals):
                h = h + self.residuals[index](found[-1])
        features = self._features(torch.cat(found, dim=-1))
        return self.head(features, self.codec.to_signed(x, self.skip.weight.dtype))

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """See `CausalNetwork.steps`: each layer keeps a queue of its last inputs, as far back as its dilation.

        Le Paine et al. (2016), "Fast WaveNet generation algorithm". The queues are parts of one ring, so that what all
        layers take from the past is read, and multiplied, at once.
        """
        device = self.skip.weight.device
        weights = [tap.weight.T for tap in self.taps]
        early, late = torch.stack([w[: self.hidden] for w in weights]), [w[self.hidden :] for w in weights]
        given = torch.stack([tap.bias for tap in self.taps])[:, None].expand(-1, n, -1)
        context = self._context(y)
        given = given if context is None else given + context
        residuals = [(layer.bias, layer.weight.T) for layer in self.residuals]
        # A queue has a place more than its dilation: a step then writes none that it reads, and can be repeated.
        lengths = torch.tensor(self.dilations, device=device) + 1
        starts, times = lengths.cumsum(0) - lengths, torch.arange(self.num_sites, device=device)[:, None]
        ring = self.skip.weight.new_zeros(int(lengths.sum()), n, self.hidden)

        def features(h: Tensor, read: Tensor, write: Tensor) -> Tensor:
            entered = torch.baddbmm(given, ring[read], early)
            inputs, found = [h], []
            for index, into in enumerate(late):
                found.append(_gate(torch.addmm(entered[index], inputs[index], into)))
                if index < len(residuals):
                    bias, weight = residuals[index]
                    inputs.append(inputs[index] + torch.addmm(bias, found[index], weight))
            ring.index_copy_(0, write, torch.stack(inputs))
            return self._features(torch.cat(found, dim=-1))

        step = replayed(features, device, self.num_sites, "the steps of WaveNet")
        h = ring.new_zeros(n, self.hidden)
        for read, write in zip(starts + (times + 1) % lengths, starts + times % lengths, strict=True):
            values = yield from self.head.steps(step(h, read, write), self.codec)
            h = self.embed(values)

    def _features(self, found: Tensor) -> Tensor:
        return self.leave(F.relu(self.skip(found)))

    def _context(self, y: Tensor | None) -> Tensor | None:
        """What the labels add to each layer, ``[layers, N, 2 * hidden]``."""
        if self.label is None:
            return None
        return self.label(y).view(-1, len(self.dilations), 2 * self.hidden).transpose(0, 1)


def _later(h: Tensor, places: int) -> Tensor:
    """Move a stream ``[N, T, hidden]`` to later places, zeros before it."""
    return F.pad(h, (0, 0, places, 0))[:, : h.shape[1]]
