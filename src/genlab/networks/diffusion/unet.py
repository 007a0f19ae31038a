"""U-Net that is told how noisy its input is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.networks.blocks.attention import self_attention
from genlab.networks.blocks.conditioning import Conditioning, projections
from genlab.networks.blocks.patches import patch_grid
from genlab.networks.latent.autoencoders import halved_sizes

__all__ = ["UNet"]

GROUP_WIDTH = 16
"""Channels that are normalized together. On a CPU, groups of fewer than 16 take ten times as long in channels last."""

HEAD_WIDTH = 64

PICTURE_KERNEL = (3, 3)
"""Height and width of the convolutions."""


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """Normalize groups of 16 channels, or all together where they cannot be divided so."""
    groups = channels // GROUP_WIDTH if channels % GROUP_WIDTH == 0 else 1
    return nn.GroupNorm(groups, channels, affine=affine)


def _around(kernel: tuple[int, int]) -> tuple[int, int]:
    """Zeros on each side, with which a convolution keeps the size."""
    return kernel[0] // 2, kernel[1] // 2


class ConditionedBlock(nn.Module):
    """Residual block of two convolutions, the second on features scaled and shifted as the embedding says.

    Dhariwal and Nichol (2021), "Diffusion Models Beat GANs", section 3 ("adaptive group normalization"). Starts as
    its shortcut.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        embedding: Width of the embedding.
        dropout: Probability that a feature is dropped before the second convolution.
        kernel: Height and width of the convolutions, odd.
    """

    def __init__(
        self, inputs: int, outputs: int, *, embedding: int, dropout: float, kernel: tuple[int, int] = PICTURE_KERNEL
    ) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, kernel, padding=_around(kernel))
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.norm_out = group_norm(outputs, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = nn.Conv2d(outputs, outputs, kernel, padding=_around(kernel))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Map ``[N, inputs, h, w]`` to ``[N, outputs, h, w]``, given what ``modulate`` makes of the embedding."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = modulation[..., None, None].chunk(2, dim=1)
        h = self.norm_out(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv_out(self.dropout(F.silu(h)))


class SelfAttention(nn.Module):
    """Attention between all places of a feature map, beside a shortcut; starts as the shortcut.

    Args:
        channels: Channels of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_WIDTH if channels % HEAD_WIDTH == 0 else 1
        self.norm = group_norm(channels)
        self.enter = nn.Linear(channels, 3 * channels)
        self.leave = nn.Linear(channels, channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, channels, h, w]`` to the same shape."""
        places = self.norm(x).flatten(2).transpose(1, 2)
        taken = self.leave(self_attention(self.enter(places), self.heads))
        return x + taken.transpose(1, 2).unflatten(2, x.shape[2:])


class Layer(nn.Module):
    """Residual block, and attention where it is asked for."""

    def __init__(self, inputs: int, outputs: int, *, attention: bool, **block: Any) -> None:
        super().__init__()
        self.block = ConditionedBlock(inputs, outputs, **block)
        self.attention = SelfAttention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        return self.attention(self.block(x, modulation))


class UNet(nn.Module):
    """Convolutions at several scales on the way down and up, with connections across at each scale.

    Ronneberger et al. (2015); with noise levels, Ho et al. (2020), "Denoising Diffusion Probabilistic Models",
    appendix B. The output starts at zero. Convolutions run in the memory format of their weights: channels last,
    unless the network is moved to another.

    Args:
        shape: ``(C, H, W)`` of one image, of any size: scales are halved rounding up.
        channels: Channels at each scale, finest first; the image is halved between them. Multiples of 16 are fast.
        blocks: Residual blocks at each scale, on the way down and again on the way up.
        attention: Heights of the feature maps with self-attention, or their widths if convolutions look along one
            row. Those that do not occur are passed over, so that one setting serves images of several sizes.
        num_classes: Number of classes, or 0; the label ``num_classes`` means that none is given.
        dropout: Probability that a feature is dropped within a residual block while training.
        outputs: Channels of the output; None: as many as the image has.
        kernel: Height and width of the convolutions, odd.
        patch: Side of the squares of pixels that are one place of the finest scale, and channels of it; it divides
            the sides. Luhman and Luhman (2022), "Improving Diffusion Model Efficiency Through Patching".

    Raises:
        GenlabError: If there is no scale, or the sides are no multiples of ``patch``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        channels: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        num_classes: int,
        dropout: float,
        outputs: int | None = None,
        kernel: tuple[int, int] = PICTURE_KERNEL,
        patch: int = 1,
    ) -> None:
        super().__init__()
        if not channels:
            raise GenlabError("channels is empty, expected the channels at each scale: use channels=[32,64,64].")
        image_channels, height, width = shape
        # One pixel is its own patch, for which not even a copy is made.
        self.cut, self.join = (
            (nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)) if patch > 1 else (nn.Identity(), nn.Identity())
        )
        self.sizes = halved_sizes(*patch_grid(height, width, patch), len(channels) - 1)
        embedding = 4 * channels[0]
        side = 0 if kernel[0] > 1 else 1
        attends = [size[side] in attention for size in self.sizes]

        def layers(scale: int, inputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                Layer(
                    inputs,
                    channels[scale],
                    embedding=embedding,
                    dropout=dropout,
                    attention=attends[scale],
                    kernel=kernel,
                )
                for _ in range(blocks)
            )

        finer_and_coarser = list(itertools.pairwise(channels))
        self.conditioning = Conditioning(embedding, num_classes)
        self.enter = nn.Conv2d(image_channels * patch**2, channels[0], kernel, padding=_around(kernel))
        self.down = nn.ModuleList(layers(scale, width) for scale, width in enumerate(channels))
        self.halve = nn.ModuleList(
            nn.Conv2d(fine, coarse, kernel, stride=2, padding=_around(kernel)) for fine, coarse in finer_and_coarser
        )
        self.middle = ConditionedBlock(channels[-1], channels[-1], embedding=embedding, dropout=dropout, kernel=kernel)
        self.up = nn.ModuleList(layers(scale, 2 * width) for scale, width in enumerate(channels))
        self.widen = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in finer_and_coarser)
        self.norm = group_norm(channels[0])
        self.leave = nn.Conv2d(channels[0], (outputs or image_channels) * patch**2, kernel, padding=_around(kernel))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the network's value at noisy images.

        Args:
            x: Images ``[N, C, H, W]``.
            t: Noise levels or times ``[N]``, or ``[1]`` for all, within about ``[-3, 3]``.
            y: Labels ``[N]``; None: none is given. Passed over by a network without classes.

        Returns:
            ``[N, outputs, H, W]`` in the dtype of ``x``.
        """
        modulations = iter(self._modulations(self.conditioning(t, y)))
        h, across = self.enter(self.cut(x)), []
        for scale, layers in enumerate(self.down):
            if scale:
                h = self.halve[scale - 1](h)
            for layer in layers:
                h = layer(h, next(modulations))
                across.append(h)
        h = self.middle(h, next(modulations))
        for scale in reversed(range(len(self.up))):
            for layer in self.up[scale]:
                h = layer(torch.cat([h, across.pop()], dim=1), next(modulations))
            if scale:
                # Before the image grows: after it, the same values would cost four times as much.
                h = F.interpolate(self.widen[scale - 1](h), size=self.sizes[scale - 1])
        return self.join(self.leave(F.silu(self.norm(h)))).to(x.dtype)

    def _modulations(self, embedding: Tensor) -> Sequence[Tensor]:
        """Project the embedding ``[N, E]`` for all blocks, in the order in which they run."""
        down = [layer.block for layers in self.down for layer in layers]
        up = [layer.block for layers in reversed(self.up) for layer in layers]
        return projections(embedding, [block.modulate for block in (*down, self.middle, *up)])
