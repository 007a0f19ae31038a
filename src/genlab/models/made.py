"""MADE: a perceptron with masked weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Repeats, Width
from genlab.networks.causal.masked import MaskedMLP

__all__ = ["Made"]


class Made(Autoregressive):
    """Masked autoencoder for distribution estimation: a perceptron for vectors, small images, text and series.

    Germain et al. (2015), "MADE: Masked Autoencoder for Distribution Estimation".

    Args:
        spec: Images, vectors, text or series, discrete or continuous.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.masked.MaskedMLP`.
    """

    family = "made"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "mlp", "series": "mlp"}

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        blocks: Repeats,
        direct: bool,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.network = MaskedMLP(
            spec, self.observation.num_params, self.num_classes, hidden=hidden, blocks=blocks, direct=direct
        )
