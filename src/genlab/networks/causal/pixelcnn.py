"""Gated PixelCNN: two stacks of causal convolutions, one over the rows above and one along the row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.replaying import Place, Places, places, replayed
from genlab.core.spec import DataSpec
from genlab.networks.causal.base import CausalNetwork, ChannelHead, Steps

__all__ = ["GatedPixelCNN"]

REACH = 3
"""Rows above, and columns to each side, that the first convolutions see."""


def _gate(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


class _Layer(nn.Module):
    """One gated layer of both stacks: what the vertical one has found enters the horizontal one before its gate."""

    def __init__(self, hidden: int, dilation: int, num_classes: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.vertical = nn.Conv2d(hidden, 2 * hidden, (2, 3), dilation=dilation)
        self.link = nn.Conv2d(hidden, hidden, 1)
        self.horizontal = nn.Conv2d(hidden, 2 * hidden, (1, 2), dilation=dilation)
        self.leave = nn.Conv2d(hidden, hidden, 1)
        self.label = nn.Embedding(num_classes, 4 * hidden) if num_classes else None

    def labels(self, y: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
        """What the labels add to the two stacks before their gates, ``[N, 2 * hidden, 1, 1]`` each."""
        if self.label is None:
            return 0.0, 0.0
        for_v, for_h = self.label(y)[..., None, None].chunk(2, dim=1)
        return for_v, for_h

    def row_kernels(self, y: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The horizontal stack at one place as matrices: ``[2 hidden, 2 hidden]``, its bias, ``[hidden, hidden]``."""
        taps = self.horizontal.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1)
        shift = self.horizontal.bias + (0.0 if self.label is None else self.labels(y)[1][:, :, 0, 0])
        return taps, shift, self.leave.weight[:, :, 0, 0].T

    def forward(self, v: Tensor, h: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        d, (for_v, for_h) = self.dilation, self.labels(y)
        v = v + _gate(self.vertical(F.pad(v, (d, d, d, 0))) + for_v)
        along = self.horizontal(F.pad(h + self.link(v), (d, 0, 0, 0)))
        return v, h + self.leave(_gate(along + for_h))


class GatedPixelCNN(CausalNetwork):
    """Gated PixelCNN, without a blind spot: a pixel sees everything above it and to its left within reach.

    Van den Oord et al. (2016), "Conditional Image Generation with PixelCNN Decoders", section 2, with dilated layers,
    residual connections in both stacks and gates ``a * sigmoid(b)`` that leave out the tanh of equation 2, so that
    gradients pass many layers. Instead of masks, the image is shifted by a row for the vertical stack
    and by a column for the horizontal one; all that follows may see its own place. The stacks reach
    3 + sum(dilations) rows up and columns to the side. A `ChannelHead` conditions a pixel's channels on each other.

    Args:
        spec: Images.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Channels of each stack.
        dilations: Spacing of the taps of each layer; one layer for each.
    """

    def __init__(
        self, spec: DataSpec, num_params: int, num_classes: int, *, hidden: int, dilations: Sequence[int]
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        self.down = nn.Conv2d(self.channels, hidden, (REACH, 2 * REACH + 1))
        self.right = nn.Conv2d(self.channels, hidden, (1, REACH))
        self.layers = nn.ModuleList(_Layer(hidden, dilation, num_classes) for dilation in dilations)
        self.head = ChannelHead(hidden, self.channels, num_params)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        values = self.codec.to_signed(x, self.down.weight.dtype)
        image = values.view(-1, *self.sites, self.channels).permute(0, 3, 1, 2)
        # A negative padding cuts the last row, or column, off: with it the image moves by one.
        v = self.down(F.pad(image, (REACH, REACH, REACH, -1)))
        h = self.right(F.pad(image, (REACH, -1, 0, 0)))
        for layer in self.layers:
            v, h = layer(v, h, y)
        return self.head(h.permute(0, 2, 3, 1).flatten(1, 2), values)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        (height, width), device = self.sites, self.down.weight.device
        sampling = _Sampling(self, n, y)
        begin_row = replayed(sampling.begin_row, device, height, "the rows of PixelCNN")
        features = replayed(sampling.features, device, height * width, "the pixels of PixelCNN")
        rows, columns = places(height, device), places(width, device)
        for row in range(height):
            begin_row(rows[row])
            for column in range(width):
                values = yield from self.head.steps(features(columns[column]), self.codec)
                sampling.put(row, column, values)


class _Sampling:
    """What is kept while images are sampled, with the axis along which they grow in front.

    The vertical stack runs a whole row at a time: it depends on the rows above alone.
    """

    def __init__(self, network: GatedPixelCNN, n: int, y: Tensor | None) -> None:
        height, width = network.sites
        channels, hidden = network.channels, network.down.out_channels

        def zeros(*shape: int) -> Places:
            return Places(network.down.weight.new_zeros(shape))

        self.network = network
        # With the zeros around them that the convolutions pad.
        self.image = zeros(height + REACH, n, channels, width + 2 * REACH)
        self.pixels = zeros(width + REACH, n, channels)
        dilations = [layer.dilation for layer in network.layers]
        self.above = [zeros(height + d, n, hidden, width + 2 * d) for d in dilations]
        self.links = [zeros(width, n, hidden) for _ in dilations]
        # Of each layer's input, the columns that are known; those before the first are zero.
        self.known = [zeros(width + d, n, hidden) for d in dilations]
        self.labels = [layer.labels(y)[0] for layer in network.layers]
        self.kernels = [layer.row_kernels(y) for layer in network.layers]

    def begin_row(self, row: Place) -> None:
        """Run the vertical stack over the row above, and leave what goes from each layer to the horizontal one."""
        for columns in (self.pixels, *self.known):
            columns.buffer.zero_()
        v = self.network.down(_as_images(self.image.window(row, REACH)))
        for layer, label, above, link in zip(self.network.layers, self.labels, self.above, self.links, strict=True):
            d = layer.dilation
            above.write(row + d, F.pad(v[:, :, 0], (d, d)))
            v = v + _gate(layer.vertical(_as_images(above.window(row, d + 1))) + label)
            link.buffer.copy_(layer.link(v)[:, :, 0].permute(2, 0, 1))

    def features(self, column: Place) -> Tensor:
        """Run the horizontal stack at one pixel: ``[N, hidden]``."""
        h = self.network.right(self.pixels.window(column, REACH).permute(1, 2, 0)[:, :, None])[:, :, 0, 0]
        for layer, (taps, shift, leave), link, inputs in zip(
            self.network.layers, self.kernels, self.links, self.known, strict=True
        ):
            linked = h + link.read(column)
            inputs.write(column + layer.dilation, linked)
            along = torch.addmm(shift, torch.cat([inputs.read(column), linked], dim=1), taps)
            h = h + torch.addmm(layer.leave.bias, _gate(along), leave)
        return h

    def put(self, row: int, column: int, values: Tensor) -> None:
        """Set the values ``[N, C]`` of a pixel."""
        scaled = self.network.codec.to_signed(values, self.pixels.buffer.dtype)
        self.pixels.write(column + REACH, scaled)
        self.image.read(row + REACH)[:, :, column + REACH] = scaled


def _as_images(rows: Tensor) -> Tensor:
    """View rows ``[H, N, C, W]`` as images ``[N, C, H, W]``."""
    return rows.permute(1, 2, 0, 3)
