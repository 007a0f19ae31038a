"""PixelCNN: causal convolutions over images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Depth, Width
from genlab.networks.causal.pixelcnn import GatedPixelCNN

__all__ = ["PixelCNN"]


class PixelCNN(Autoregressive):
    """Gated PixelCNN: causal convolutions over images.

    Van den Oord et al. (2016), "Conditional Image Generation with PixelCNN Decoders".

    Args:
        spec: Images, discrete or continuous.
        hidden: Channels of each of the two stacks.
        dilations: Spacing of the taps of each layer, one layer for each. A pixel sees 3 + sum(dilations) rows up
            and columns to the side.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.pixelcnn.GatedPixelCNN`.
    """

    family = "pixelcnn"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pixelcnn"}
    alternative = "Use model=made or model=transformer."

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        dilations: list[Depth],
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.network = GatedPixelCNN(
            spec, self.observation.num_params, self.num_classes, hidden=hidden, dilations=dilations
        )
