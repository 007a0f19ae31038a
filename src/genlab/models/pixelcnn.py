"""PixelCNN: causal convolutions over images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, Count
from genlab.models.base import GradClip, LearningRate, OptimizerFactory, Schedule
from genlab.networks.blocks.observations import ObservationName
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

    The other arguments are those of :class:`Autoregressive`; the network is
    :class:`genlab.networks.causal.pixelcnn.GatedPixelCNN`.
    """

    family = "pixelcnn"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pixelcnn"}
    alternative = "Use model=made or model=transformer."

    def __init__(
        self,
        spec: DataSpec,
        name: str,
        conditional: bool,
        observation: ObservationName,
        components: Count,
        hidden: Count,
        dilations: list[Count],
        optimizer: OptimizerFactory,
        lr: LearningRate,
        schedule: Schedule,
        grad_clip: GradClip | None,
    ) -> None:
        super().__init__(spec, name, conditional, observation, components, optimizer, lr, schedule, grad_clip)
        self.network = GatedPixelCNN(*self._sizes(), hidden, dilations)
