"""PixelRNN: recurrent layers along the diagonals of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, Count
from genlab.models.base import GradClip, LearningRate, OptimizerFactory, Schedule
from genlab.networks.blocks.observations import ObservationName
from genlab.networks.causal.pixelrnn import DiagonalBiLSTM

__all__ = ["PixelRNN"]


class PixelRNN(Autoregressive):
    """PixelRNN: recurrent layers along the diagonals of images.

    Van den Oord et al. (2016), "Pixel Recurrent Neural Networks".

    Args:
        spec: Images, discrete or continuous.
        hidden: Features of each place, and of the state of each LSTM.
        layers: Number of layers, each with an LSTM from either side.

    The other arguments are those of :class:`Autoregressive`; the network is
    :class:`genlab.networks.causal.pixelrnn.DiagonalBiLSTM`.
    """

    family = "pixelrnn"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pixelrnn"}
    alternative = "Use model=made or model=transformer."

    def __init__(
        self,
        spec: DataSpec,
        name: str,
        conditional: bool,
        observation: ObservationName,
        components: Count,
        hidden: Count,
        layers: Count,
        optimizer: OptimizerFactory,
        lr: LearningRate,
        schedule: Schedule,
        grad_clip: GradClip | None,
    ) -> None:
        super().__init__(spec, name, conditional, observation, components, optimizer, lr, schedule, grad_clip)
        self.network = DiagonalBiLSTM(*self._sizes(), hidden, layers)
