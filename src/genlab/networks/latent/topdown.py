"""Networks of hierarchical VAEs: features on the way up, layers of latents on the way down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.networks.latent.autoencoders import ResidualBlock, halved_sizes
from genlab.networks.latent.latents import DiagonalNormal

__all__ = ["BottomUp", "Pick", "Step", "TopDown"]


@dataclass(frozen=True)
class Step:
    """One layer of latents as it was passed through.

    Attributes:
        prior: Distribution given the layers above, ``[N, Z, h, w]``.
        posterior: Distribution given the data too, or None on the way from noise to data.
        z: The latents taken.
    """

    prior: DiagonalNormal
    posterior: DiagonalNormal | None
    z: Tensor


Pick = Callable[[int, DiagonalNormal, DiagonalNormal | None], Tensor]
"""Chooses the latents of a layer, given its number from the top, its prior and its posterior."""


class BottomUp(nn.Module):
    """Halve the image once for each entry of ``channels`` and keep the features of each scale.

    Args:
        image_channels: Channels of an image.
        channels: Channels at each scale, finest first; the first scale is half the image's size.
        blocks: Residual blocks at each scale.
    """

    def __init__(self, image_channels: int, channels: Sequence[int], blocks: int) -> None:
        super().__init__()
        before = [image_channels, *channels[:-1]]
        self.halve = nn.ModuleList(
            nn.Conv2d(old, new, 3, stride=2, padding=1) for old, new in zip(before, channels, strict=True)
        )
        self.blocks = nn.ModuleList(nn.Sequential(*(ResidualBlock(width) for _ in range(blocks))) for width in channels)
        # Convolutions in this layout are several times faster in bfloat16, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``[N, C, H, W]`` to the features of each scale, finest first."""
        features, h = [], x.contiguous(memory_format=torch.channels_last)
        for halve, blocks in zip(self.halve, self.blocks, strict=True):
            h = blocks(halve(h))
            features.append(h)
        return features


class LatentLayer(nn.Module):
    """Take latents given what was taken above, and add them to it.

    The posterior is a shift of the prior, so that a layer starts with little divergence whatever lies above it:
    Vahdat and Kautz (2020), "NVAE", section 3.2. The prior's network adds deterministic features as well.

    Args:
        channels: Channels of the state and of the bottom-up features.
        latents: Channels of the latents.
    """

    def __init__(self, channels: int, latents: int) -> None:
        super().__init__()
        self.latents = latents
        self.prior = nn.Conv2d(channels, 2 * latents + channels, 3, padding=1)
        self.mix = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.posterior = nn.Conv2d(channels, 2 * latents, 3, padding=1)
        self.merge = nn.Conv2d(latents, channels, 1)
        self.block = ResidualBlock(channels)
        for conv in (self.prior, self.posterior):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, h: Tensor, features: Tensor | None, index: int, pick: Pick) -> tuple[Tensor, Step]:
        """Return the next state ``[N, channels, h, w]`` and what was done."""
        params, added = self.prior(F.silu(h)).split([2 * self.latents, h.shape[1]], dim=1)
        prior = DiagonalNormal.from_params(params)
        posterior = None
        if features is not None:
            mixed = self.mix(F.silu(torch.cat([h, features], dim=1)))
            posterior = prior.shifted(self.posterior(F.silu(mixed)))
        z = pick(index, prior, posterior)
        return self.block(h + added + self.merge(z.to(h.dtype))), Step(prior, posterior, z)


class TopDown(nn.Module):
    """Layers of latents from the coarsest scale to the finest, and the parameters that they predict.

    Bidirectional inference: posterior and prior share the way down. Kingma et al. (2016), section 4;
    Child (2021), "Very Deep VAEs", section 3.

    Args:
        shape: ``(C, H, W)`` of one image, of any size.
        channels: Channels at each scale, finest first, as for :class:`BottomUp`.
        layers: Layers of latents at each scale, finest first.
        latents: Channels of each layer of latents.
        num_params: Parameters per dimension.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        channels: Sequence[int],
        layers: Sequence[int],
        latents: int,
        num_params: int,
    ) -> None:
        super().__init__()
        self.sizes = halved_sizes(*shape[1:], len(channels))[::-1]
        coarse_first, self.counts = list(channels)[::-1], list(layers)[::-1]
        self.latent_shapes = [
            (latents, *size) for size, count in zip(self.sizes, self.counts, strict=False) for _ in range(count)
        ]
        self.output_shape = (num_params, *shape)
        self.start = nn.Parameter(0.1 * torch.randn(1, coarse_first[0], *self.sizes[0]))
        self.scales = nn.ModuleList(
            nn.ModuleList(LatentLayer(width, latents) for _ in range(count))
            for width, count in zip(coarse_first, self.counts, strict=True)
        )
        finer = [*coarse_first[1:], coarse_first[-1]]
        self.ups = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(coarse_first, finer, strict=True)
        )
        self.leave = nn.Conv2d(finer[-1], num_params * shape[0], 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, n: int, pick: Pick, features: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Step]]:
        """Go down once for n examples.

        Args:
            n: Number of examples.
            pick: Chooses the latents.
            features: Of :class:`BottomUp` for the same examples, finest first; None without data.

        Returns:
            Parameters ``[n, num_params, C, H, W]``, and the layers from the top.
        """
        h = self.start.expand(n, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        steps: list[Step] = []
        for scale, (layers, up) in enumerate(zip(self.scales, self.ups, strict=True)):
            seen = None if features is None else features[-1 - scale]
            for layer in layers:
                h, step = layer(h, seen, len(steps), pick)
                steps.append(step)
            h = up(F.interpolate(F.silu(h), size=self.sizes[scale + 1]))
        return self.leave(F.silu(h)).contiguous().unflatten(1, self.output_shape[:2]), steps
