"""Encoders and decoders of autoencoders: gated perceptrons for any data, residual convolutions for images.

An encoder maps ``[N, *shape]`` to ``[N, outputs]``; a decoder maps ``[N, inputs]`` to ``[N, num_params, *shape]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "ConvDecoder",
    "ConvEncoder",
    "GatedLinear",
    "MLPDecoder",
    "MLPEncoder",
    "ResidualBlock",
    "gated_mlp",
    "halved_sizes",
]


GATE_POWER = 0.2934
"""Mean of sigmoid(g)^2 for standard normal g."""


class GatedLinear(nn.Module):
    """Linear layer whose outputs are scaled by gates in (0, 1); Dauphin et al. (2017), equation 1.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * out_features)
        # A gate of a standard normal lets GATE_POWER of the second moment through; the values make up for it, so that
        # the signal neither dies nor grows on its way through the layers.
        value, gate = self.linear.weight.detach().chunk(2)
        nn.init.normal_(value, std=(GATE_POWER * in_features) ** -0.5)
        nn.init.normal_(gate, std=in_features**-0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in_features]`` to ``[..., out_features]``."""
        return F.glu(self.linear(x), dim=-1)


def gated_mlp(in_features: int, hidden: Sequence[int], out_features: int) -> nn.Sequential:
    """Gated layers of the ``hidden`` widths and a linear layer on top."""
    widths = [in_features, *hidden]
    gated = [GatedLinear(before, after) for before, after in itertools.pairwise(widths)]
    return nn.Sequential(*gated, nn.Linear(widths[-1], out_features))


class MLPEncoder(nn.Module):
    """Gated perceptron on flattened data.

    Args:
        num_dims: Dimensions of one example.
        hidden: Widths of the hidden layers.
        outputs: Width of the output: means and then log-scales, which start near 0.
    """

    def __init__(self, num_dims: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.layers = gated_mlp(num_dims, hidden, outputs)
        with torch.no_grad():
            self.layers[-1].weight[outputs // 2 :] *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, *shape]`` to ``[N, outputs]``."""
        return self.layers(x.flatten(1))


class MLPDecoder(nn.Module):
    """Gated perceptron with parameters for each dimension of the data.

    Args:
        inputs: Width of the input.
        shape: Shape of one example.
        hidden: Widths of the hidden layers, first to last.
        num_params: Parameters per dimension.
    """

    def __init__(self, inputs: int, shape: Sequence[int], *, hidden: Sequence[int], num_params: int) -> None:
        super().__init__()
        self.output_shape = (num_params, *shape)
        self.layers = gated_mlp(inputs, hidden, torch.Size(self.output_shape).numel())

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, num_params, *shape]``."""
        return self.layers(z).unflatten(1, self.output_shape)


class ResidualBlock(nn.Module):
    """Add two convolutions of the activated input to it.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, channels, H, W]`` to the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


def halved_sizes(height: int, width: int, times: int) -> list[tuple[int, int]]:
    """Sizes of an image that is halved so often, rounding up; the first is the full size."""
    sizes = [(height, width)]
    for _ in range(times):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ConvEncoder(nn.Module):
    """Halve the image once for each entry of ``channels``, with residual blocks in between.

    Args:
        shape: ``(C, H, W)`` of one image, of any size.
        channels: Channels at each scale, finest first; the first scale is half the image's size.
        blocks: Residual blocks at each scale.
        outputs: Width of the output.
    """

    def __init__(self, shape: tuple[int, int, int], *, channels: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *channels[:-1]], channels, strict=True):
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            layers += [ResidualBlock(after) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        height, width = halved_sizes(*shape[1:], len(channels))[-1]
        self.leave = nn.Linear(channels[-1] * height * width, outputs)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to ``[N, outputs]``."""
        h = self.layers(x.contiguous(memory_format=torch.channels_last))
        return self.leave(F.silu(h).flatten(1))


class ConvDecoder(nn.Module):
    """Mirror image of :class:`ConvEncoder`: residual blocks, then nearest-neighbour doubling and a convolution.

    Args:
        inputs: Width of the input.
        shape: ``(C, H, W)`` of one image, of any size.
        channels: Channels at each scale, finest first, as for the encoder.
        blocks: Residual blocks at each scale.
        num_params: Parameters per dimension.
    """

    def __init__(
        self, inputs: int, shape: tuple[int, int, int], *, channels: Sequence[int], blocks: int, num_params: int
    ) -> None:
        super().__init__()
        self.sizes = halved_sizes(*shape[1:], len(channels))[::-1]
        self.output_shape = (num_params, *shape)
        coarse_first = list(channels)[::-1]
        self.start_shape = (coarse_first[0], *self.sizes[0])
        self.enter = nn.Linear(inputs, torch.Size(self.start_shape).numel())
        self.scales = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), nn.SiLU()) for width in coarse_first
        )
        finer = [*coarse_first[1:], coarse_first[-1]]
        self.ups = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(coarse_first, finer, strict=True)
        )
        self.leave = nn.Conv2d(finer[-1], num_params * shape[0], 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, num_params, C, H, W]``."""
        h = self.enter(z).unflatten(1, self.start_shape).contiguous(memory_format=torch.channels_last)
        for blocks, up, size in zip(self.scales, self.ups, self.sizes[1:], strict=True):
            h = up(F.interpolate(blocks(h), size=size))
        return self.leave(F.silu(h)).contiguous().unflatten(1, self.output_shape[:2])
