"""Gated PixelCNN: two stacks of causal convolutions, one over the rows above and one along the row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        (height, width), weight = self.sites, self.down.weight
        image = weight.new_zeros(n, self.channels, height + REACH, width + 2 * REACH)
        above = _VerticalStack(self, n, y)
        kernels = [layer.row_kernels(y) for layer in self.layers]
        for row in range(height):
            links = above.links(row, self.down(image[:, :, row : row + REACH]))
            # Of each layer's input, the columns that are known; those before the first are zero.
            known = [weight.new_zeros(width + layer.dilation, n, weight.shape[0]) for layer in self.layers]
            pixels = weight.new_zeros(n, self.channels, 1, width + REACH)
            for column in range(width):
                h = self.right(pixels[..., column : column + REACH])[:, :, 0, 0]
                for layer, (taps, shift, leave), link, inputs in zip(self.layers, kernels, links, known, strict=True):
                    linked = inputs[column + layer.dilation] = h + link[column]
                    along = torch.addmm(shift, torch.cat([inputs[column], linked], dim=1), taps)
                    h = h + torch.addmm(layer.leave.bias, _gate(along), leave)
                values = yield from self.head.steps(h, self.codec)
                pixels[:, :, 0, column + REACH] = self.codec.to_signed(values, weight.dtype)
            image[:, :, row + REACH, REACH:-REACH] = pixels[:, :, 0, REACH:]


class _VerticalStack:
    """The vertical stack, one whole row at a time: it depends on the rows above alone."""

    def __init__(self, network: GatedPixelCNN, n: int, y: Tensor | None) -> None:
        height, width = network.sites
        self.layers = network.layers
        self.labels = [layer.labels(y) for layer in network.layers]
        # Each layer's input, with the zeros around it that the convolution pads.
        self.inputs = [
            network.down.weight.new_zeros(
                n, network.down.out_channels, height + layer.dilation, width + 2 * layer.dilation
            )
            for layer in network.layers
        ]

    def links(self, row: int, v: Tensor) -> list[Tensor]:
        """Add a row ``[N, hidden, 1, W]`` of the first layer's input; return what goes to the horizontal stack.

        Returns:
            For each layer ``[W, N, hidden]``.
        """
        found = []
        for layer, (for_v, _), inputs in zip(self.layers, self.labels, self.inputs, strict=True):
            d = layer.dilation
            inputs[:, :, row + d, d:-d] = v[:, :, 0]
            v = v + _gate(layer.vertical(inputs[:, :, row : row + d + 1]) + for_v)
            found.append(layer.link(v)[:, :, 0].permute(2, 0, 1).contiguous())
        return found
