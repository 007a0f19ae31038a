"""Sizes of the networks of adversarial models, and how they are made for data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen
from torch import nn

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import has_layout, require_grid
from genlab.models.options import Depth, Width
from genlab.networks.adversarial.networks import (
    ConvDiscriminator,
    ConvGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
    scale_widths,
)
from genlab.networks.adversarial.wavegan import (
    COARSEST,
    COARSEST_OF_SERIES,
    WaveDiscriminator,
    WaveGenerator,
    signal_widths,
)

__all__ = ["ConvConfig", "MLPConfig", "WaveConfig"]


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the perceptrons.

    Args:
        hidden: Widths of the hidden layers of the generator; the discriminator has them in reverse.
    """

    hidden: Annotated[list[Width], MinLen(1)]

    def build(self, spec: DataSpec, inputs: int) -> tuple[nn.Module, nn.Module]:
        """Return a generator and the features of a discriminator."""
        return MLPGenerator(inputs, self.hidden, spec.shape), MLPDiscriminator(spec.num_dims, self.hidden[::-1])


@dataclass(frozen=True)
class ConvConfig:
    """Sizes of the convolutional networks.

    Args:
        kind: ``dcgan`` (strided convolutions) or ``residual`` (residual blocks without normalization).
        channels: Channels at the finest scale, doubled from scale to scale; the coarsest is 4 to 7 pixels small.
        max_channels: Most channels at any scale.
        blocks: Residual blocks at each scale of ``residual``.
    """

    kind: Literal["dcgan", "residual"]
    channels: Width
    max_channels: Width
    blocks: Depth

    def build(self, spec: DataSpec, inputs: int) -> tuple[nn.Module, nn.Module]:
        """Return a generator and the features of a discriminator."""
        require_grid("network=conv", spec, "Use model.network=mlp.")
        widths = scale_widths(spec.shape, self.channels, self.max_channels)
        if self.kind == "dcgan":
            return ConvGenerator(inputs, spec.shape, widths), ConvDiscriminator(spec.shape, widths)
        generator = ResidualGenerator(inputs, spec.shape, widths=widths, blocks=self.blocks)
        return generator, ResidualDiscriminator(spec.shape, widths=widths, blocks=self.blocks)


@dataclass(frozen=True)
class WaveConfig:
    """Sizes of the convolutional networks for sound and series.

    Args:
        channels: Channels at the finest scale, doubled from scale to scale; each is four times shorter.
        max_channels: Most channels at any scale.
        phase_shuffle: Most places by which the discriminator moves its features at random; see
            :func:`genlab.networks.adversarial.wavegan.phase_shuffle`.
    """

    channels: Width
    max_channels: Width
    phase_shuffle: Annotated[int, Ge(0), Le(1_000)]

    def build(self, spec: DataSpec, inputs: int) -> tuple[nn.Module, nn.Module]:
        """Return a generator and the features of a discriminator."""
        is_series = has_layout(spec, "series")
        if not is_series and not has_layout(spec, "signal"):
            raise GenlabError(
                f"network=wave needs sound or series, but {spec.name} is {spec.modality}. Use model.network=mlp."
            )
        # The windows of a series are short: with the coarsest scale of sound they would get one layer.
        coarsest = COARSEST_OF_SERIES if is_series else COARSEST
        widths = signal_widths(spec.shape[1], self.channels, self.max_channels, coarsest)
        return WaveGenerator(inputs, spec.shape, widths), WaveDiscriminator(spec.shape, widths, self.phase_shuffle)
