"""Sizes of the networks of models that sample in many steps, and how they are made for data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from annotated_types import Ge, Le, Lt, MinLen
from torch import Tensor, nn

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import has_layout, require_grid
from genlab.models.options import Depth, Width
from genlab.networks.diffusion.diffwave import DiffWave
from genlab.networks.diffusion.dit import DiT
from genlab.networks.diffusion.time_mlp import TimeMLP
from genlab.networks.diffusion.unet import UNet
from genlab.networks.diffusion.wave_unet import WaveUNet

__all__ = ["DiTConfig", "DiffWaveConfig", "MLPConfig", "NetworkName", "Probability", "Sizes", "UNetConfig"]

Probability = Annotated[float, Ge(0), Lt(1)]
NetworkName = Literal["auto", "unet", "dit", "mlp", "diffwave"]

_INSTEAD = "Use model.network=mlp."


class Sizes(Protocol):
    """What makes a network for data."""

    def build(self, spec: DataSpec, num_classes: int) -> nn.Module: ...


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the U-Net; see :class:`genlab.networks.diffusion.unet.UNet`, and over time
    :class:`genlab.networks.diffusion.wave_unet.WaveUNet`.

    Args:
        channels: Channels at each scale, finest first; the image, or time, is halved between them.
        blocks: Residual blocks at each scale.
        attention: Heights of the feature maps with self-attention; of sound and series their lengths in columns.
        dropout: Probability that a feature is dropped while training.
        squeeze: Neighbouring values of sound that make a column; each step of a series is one.
        patch: Side of the squares of pixels that are one place of the finest scale; it divides the image's sides.
    """

    channels: Annotated[list[Width], MinLen(1)]
    blocks: Depth
    attention: list[Width]
    dropout: Probability
    squeeze: Annotated[int, Ge(1), Le(1024)] = 8
    patch: Annotated[int, Ge(1), Le(64)] = 1

    def build(self, spec: DataSpec, num_classes: int) -> nn.Module:
        """Return the network for images, sound or series of ``spec``."""
        is_series = has_layout(spec, "series")
        if is_series or has_layout(spec, "signal"):
            return WaveUNet(
                spec.shape,
                channels=self.channels,
                blocks=self.blocks,
                attention=self.attention,
                squeeze=1 if is_series else self.squeeze,
                num_classes=num_classes,
                dropout=self.dropout,
                has_mask=spec.has_mask,
            )
        require_grid("network=unet", spec, _INSTEAD)
        return UNet(
            spec.shape,
            channels=self.channels,
            blocks=self.blocks,
            attention=self.attention,
            num_classes=num_classes,
            dropout=self.dropout,
            patch=self.patch,
        )


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the diffusion transformer; see :class:`genlab.networks.diffusion.dit.DiT`.

    Args:
        patch: Side of a patch in pixels; it divides the image's sides.
        hidden: Width of a token, a multiple of ``heads`` and of 4.
        layers: Number of blocks.
        heads: Attention heads of a block.
    """

    patch: Width
    hidden: Width
    layers: Depth
    heads: Depth

    def build(self, spec: DataSpec, num_classes: int) -> nn.Module:
        """Return the network for images of ``spec``."""
        require_grid("network=dit", spec, _INSTEAD)
        return DiT(
            spec.shape,
            patch=self.patch,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            num_classes=num_classes,
        )


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the perceptron; see :class:`genlab.networks.diffusion.time_mlp.TimeMLP`.

    Args:
        hidden: Width of each residual block, first to last.
    """

    hidden: Annotated[list[Width], MinLen(1)]

    def build(self, spec: DataSpec, num_classes: int) -> nn.Module:
        """Return the network for vectors, or flattened images, of ``spec``."""
        return _Flattened(TimeMLP(spec.num_dims, self.hidden, num_classes))


@dataclass(frozen=True)
class DiffWaveConfig:
    """Sizes of the network for sound and series; see :class:`genlab.networks.diffusion.diffwave.DiffWave`.

    Args:
        hidden: Channels of the layers.
        dilations: Of each layer, first to last, in columns; of series those alone that are shorter than a window.
        squeeze: Neighbouring values of sound that make a column; each step of a series is one.
    """

    hidden: Width
    dilations: Annotated[list[Width], MinLen(1)]
    squeeze: Annotated[int, Ge(1), Le(1024)]

    def build(self, spec: DataSpec, num_classes: int) -> nn.Module:
        """Return the network for sound, or series, of ``spec``."""
        is_series = has_layout(spec, "series")
        if not is_series and not has_layout(spec, "signal"):
            raise GenlabError(f"network=diffwave needs sound or series, but {spec.name} is {spec.modality}. {_INSTEAD}")
        return DiffWave(
            spec.shape[0],
            hidden=self.hidden,
            dilations=[d for d in self.dilations if not is_series or d < spec.shape[1]] or [1],
            squeeze=1 if is_series else self.squeeze,
            num_classes=num_classes,
            has_mask=spec.has_mask,
        )


class _Flattened(nn.Module):
    """A network on vectors, as one on examples of any shape."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        # What is not there is zero; more the network is not told of the mask.
        return self.network(x.flatten(1), t, y).view_as(x)
