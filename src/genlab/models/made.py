"""MADE: a perceptron with masked weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from genlab.core.errors import GenlabError
from genlab.core.memory import memory_bytes, say_bytes
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Repeats, Width
from genlab.networks.causal.masked import MaskedMLP

__all__ = ["Made"]

BYTES_OF_A_WEIGHT = 16
"""In training: the weight, its gradient and two moments, in float32."""


class Made(Autoregressive):
    """Masked autoencoder for distribution estimation: a perceptron for vectors, tables, small images, text and series.

    Germain et al. (2015), "MADE: Masked Autoencoder for Distribution Estimation".

    Args:
        spec: Images, vectors, tables, text or series, discrete or continuous. The columns of a table are predicted in
            the order in which they stand.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.masked.MaskedMLP`.
    """

    family = "made"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "mlp", "flat": "mlp", "series": "mlp"}
    uses = frozenset({"fields", "cells"})

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
        self._refuse_what_is_too_large(hidden, direct)
        self.network = MaskedMLP(
            spec,
            self.observation.num_params,
            self.num_classes,
            hidden=hidden,
            blocks=blocks,
            direct=direct,
            columns=self.columns,
        )

    def _refuse_what_is_too_large(self, hidden: int, direct: bool) -> None:
        """Say what the weights take before they are made: they grow with the square of the dimensions."""
        dims = self.spec.num_dims
        weights = dims * self.observation.num_params * (hidden + dims * direct)
        needed, there = float(weights) * BYTES_OF_A_WEIGHT, memory_bytes()
        if needed > there:
            raise GenlabError(
                f"made connects the {dims:,} values of {self.spec.name} with each other: {weights / 1e9:.2g} billion "
                f"weights, {say_bytes(needed)} in training, and this machine has {say_bytes(there)} of memory left. "
                "Use smaller examples, or a model with shared weights, such as pixelcnn or transformer."
            )
