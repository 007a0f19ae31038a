"""PixelRNN: recurrent layers along the diagonals of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Depth, Width
from genlab.networks.causal.pixelrnn import DiagonalBiLSTM

__all__ = ["PixelRNN"]


class PixelRNN(Autoregressive):
    """PixelRNN: recurrent layers along the diagonals of images.

    Van den Oord et al. (2016), "Pixel Recurrent Neural Networks".

    Args:
        spec: Images, discrete or continuous.
        hidden: Features of each place, and of the state of each LSTM.
        layers: Number of layers, each with an LSTM from either side.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.pixelrnn.DiagonalBiLSTM`.
    """

    family = "pixelrnn"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pixelrnn"}
    alternative = "Use model=made or model=transformer."

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        layers: Depth,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.network = DiagonalBiLSTM(spec, self.observation.num_params, self.num_classes, hidden=hidden, layers=layers)
