"""Generators and discriminators of adversarial training.

None of them normalizes over the batch: a generator's output must not depend on the batch that it comes in, and averaged
weights would not fit the statistics of the trained ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.networks.latent.autoencoders import halved_sizes

__all__ = [
    "ConvDiscriminator",
    "ConvGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "ResidualDiscriminator",
    "ResidualGenerator",
    "Score",
    "scale_widths",
]

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

SLOPE = 0.2
"""Of leaky rectifiers below zero."""
COARSEST = 4
"""Smallest side of an image at the coarsest scale; Radford et al. (2016) begin with 4."""
GROUP = 8
"""Channels that are normalized together."""


def scale_widths(shape: Sequence[int], channels: int, max_channels: int) -> list[int]:
    """Channels at each scale, finest first: doubled as often as the image can be halved with 4 pixels left.

    Args:
        shape: ``(C, H, W)`` of one image: 28 x 28 has the scales 28, 14 and 7, 64 x 64 those from 64 to 4.
        channels: Channels at the finest scale.
        max_channels: Most channels at any scale.
    """
    halvings = max(0, int(math.log2(min(shape[1:]) / COARSEST)))
    return [min(channels * 2**scale, max_channels) for scale in range(halvings + 1)]


class MLPGenerator(nn.Sequential):
    """Perceptron from noise ``[N, inputs]`` to values ``[N, *shape]``.

    Args:
        inputs: Width of the input.
        hidden: Widths of the hidden layers, first to last.
        shape: Shape of one example.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], shape: Sequence[int]) -> None:
        widths = [inputs, *hidden]
        leave = nn.Linear(widths[-1], math.prod(shape))
        super().__init__(*_perceptron(widths), leave, nn.Unflatten(1, tuple(shape)))


class MLPDiscriminator(nn.Sequential):
    """Perceptron from values ``[N, *shape]`` to features ``[N, width]``.

    Args:
        num_dims: Dimensions of one example.
        hidden: Widths of the layers, first to last; the last is that of the features.
    """

    def __init__(self, num_dims: int, hidden: Sequence[int]) -> None:
        super().__init__(nn.Flatten(), *_perceptron([num_dims, *hidden]))
        self.width = [num_dims, *hidden][-1]


def _perceptron(widths: Sequence[int]) -> list[nn.Module]:
    pairs = itertools.pairwise(widths)
    return [layer for before, after in pairs for layer in (_he(nn.Linear(before, after)), nn.LeakyReLU(SLOPE))]


class ConvGenerator(nn.Module):
    """Transposed convolutions, each of which doubles the image; after Radford et al. (2016), "DCGAN".

    Unlike there, groups of channels are normalized and not the batch.

    Args:
        inputs: Width of the noise.
        shape: ``(C, H, W)`` of one image, of any size.
        widths: Channels at each scale, finest first.
    """

    def __init__(self, inputs: int, shape: tuple[int, int, int], widths: Sequence[int]) -> None:
        super().__init__()
        self.sizes = halved_sizes(*shape[1:], len(widths) - 1)[::-1]
        coarse_first = list(widths)[::-1]
        self.start_shape = (coarse_first[0], *self.sizes[0])
        self.enter = nn.Linear(inputs, math.prod(self.start_shape))
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(width, width // GROUP or 1), width) for width in coarse_first)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            for before, after in itertools.pairwise(coarse_first)
        )
        self.leave = nn.Conv2d(coarse_first[-1], shape[0], 3, padding=1)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, C, H, W]``."""
        h = self.enter(z).unflatten(1, self.start_shape).contiguous(memory_format=torch.channels_last)
        for norm, up, (height, width) in zip(self.norms[:-1], self.ups, self.sizes[1:], strict=True):
            h = up(F.relu(norm(h)))[:, :, :height, :width]
        return self.leave(F.relu(self.norms[-1](h)))


class ConvDiscriminator(nn.Module):
    """Strided convolutions, each of which halves the image; after Radford et al. (2016), "DCGAN".

    Args:
        shape: ``(C, H, W)`` of one image, of any size.
        widths: Channels at each scale, finest first.
    """

    def __init__(self, shape: tuple[int, int, int], widths: Sequence[int]) -> None:
        super().__init__()
        height, width = halved_sizes(*shape[1:], len(widths) - 1)[-1]
        self.width = widths[-1] * height * width
        self.enter = _he(nn.Conv2d(shape[0], widths[0], 3, padding=1))
        self.downs = nn.ModuleList(
            _he(nn.Conv2d(before, after, 4, stride=2, padding=1)) for before, after in itertools.pairwise(widths)
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to features ``[N, width]``."""
        h = F.leaky_relu(self.enter(x.contiguous(memory_format=torch.channels_last)), SLOPE)
        for down in self.downs:
            # A pixel more beside an odd side, so that halving rounds up.
            h = F.pad(h, (0, h.shape[3] % 2, 0, h.shape[2] % 2))
            h = F.leaky_relu(down(h), SLOPE)
        return h.flatten(1)


class _Residual(nn.Module):
    """Add two convolutions to the input, which are near zero at the start.

    Without normalization; the first kernel is scaled by the depth and the last is small, after "Fixup", Zhang et al.
    (2019). It is not zero, because a spectral norm divides by its gain.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.first = _he(nn.Conv2d(channels, channels, 3, padding=1), depth**-0.5)
        self.second = _he(nn.Conv2d(channels, channels, 3, padding=1), 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, SLOPE)), SLOPE))


class ResidualGenerator(nn.Module):
    """Residual blocks without normalization and bilinear doubling, from coarse to fine.

    As in R3GAN, Huang et al. (2024), section 3, with plain convolutions in place of grouped ones.

    Args:
        inputs: Width of the noise.
        shape: ``(C, H, W)`` of one image, of any size.
        widths: Channels at each scale, finest first.
        blocks: Residual blocks at each scale.
    """

    def __init__(self, inputs: int, shape: tuple[int, int, int], *, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.sizes = halved_sizes(*shape[1:], len(widths) - 1)[::-1]
        coarse_first = list(widths)[::-1]
        self.start_shape = (coarse_first[0], *self.sizes[0])
        self.enter = _he(nn.Linear(inputs, math.prod(self.start_shape)))
        self.scales = _scales(coarse_first, blocks)
        self.changes = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(coarse_first))
        self.leave = nn.Conv2d(coarse_first[-1], shape[0], 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, C, H, W]``."""
        h = self.enter(z).unflatten(1, self.start_shape).contiguous(memory_format=torch.channels_last)
        for scale, change, size in zip(self.scales[:-1], self.changes, self.sizes[1:], strict=True):
            h = F.interpolate(change(scale(h)), size=size, mode="bilinear")
        return self.leave(F.leaky_relu(self.scales[-1](h), SLOPE))


class ResidualDiscriminator(nn.Module):
    """Mirror image of :class:`ResidualGenerator`, with halving by averages.

    Args:
        shape: ``(C, H, W)`` of one image, of any size.
        widths: Channels at each scale, finest first.
        blocks: Residual blocks at each scale.
    """

    def __init__(self, shape: tuple[int, int, int], *, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        height, width = halved_sizes(*shape[1:], len(widths) - 1)[-1]
        self.width = widths[-1] * height * width
        self.enter = nn.Conv2d(shape[0], widths[0], 3, padding=1)
        self.scales = _scales(widths, blocks)
        self.changes = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(widths))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to features ``[N, width]``."""
        h = self.scales[0](self.enter(x.contiguous(memory_format=torch.channels_last)))
        for change, scale in zip(self.changes, self.scales[1:], strict=True):
            h = scale(change(F.avg_pool2d(h, 2, ceil_mode=True)))
        return F.leaky_relu(h, SLOPE).flatten(1)


def _scales(widths: Sequence[int], blocks: int) -> nn.ModuleList:
    depth = max(1, len(widths) * blocks)
    return nn.ModuleList(nn.Sequential(*(_Residual(width, depth) for _ in range(blocks))) for width in widths)


class Score(nn.Module):
    """A discriminator's last layer: one number for each example, in float32 or better.

    Given labels, their embedding's inner product with the features is added: Miyato and Koyama (2018), "cGANs with
    projection discriminator". There is no offset, which no loss of differences could determine.

    Args:
        width: Width of the features.
        num_classes: Number of labels, or 0 for none.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1, bias=False)
        self.labels = nn.Embedding(num_classes, width) if num_classes else None
        if self.labels is not None:
            nn.init.normal_(self.labels.weight, std=width**-0.5)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        """Map features ``[N, width]`` and labels ``[N]`` to scores ``[N]``."""
        with torch.autocast(features.device.type, enabled=False):
            h = features.to(self.linear.weight.dtype)
            scores = self.linear(h).squeeze(1)
            return scores if self.labels is None else scores + (self.labels(y) * h).sum(1)


def _he(layer: Layer, gain: float = 1.0) -> Layer:
    """He et al. (2015): keep the size of what leaky rectifiers let through, times ``gain``."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight *= gain
    return layer
