"""Autoregressive transformer over pixels, dimensions or symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Depth, Width
from genlab.networks.causal.transformer import CausalTransformer

__all__ = ["Transformer"]


class Transformer(Autoregressive):
    """Causal transformer over the pixels of an image, the dimensions of a vector or the symbols of a text.

    Chen et al. (2020), "Generative Pretraining from Pixels".

    Args:
        spec: Images, vectors or text, discrete or continuous.
        hidden: Width of the residual stream, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.transformer.CausalTransformer`.
    """

    family = "transformer"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "transformer"}
    uses = frozenset({"mask"})

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        layers: Depth,
        heads: Depth,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.network = CausalTransformer(
            spec, self.observation.num_params, self.num_classes, hidden=hidden, layers=layers, heads=heads
        )
