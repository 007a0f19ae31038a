"""Autoregressive transformer over pixels, dimensions or symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, Count
from genlab.models.base import GradClip, LearningRate, OptimizerFactory, Schedule
from genlab.networks.blocks.observations import ObservationName
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

    The other arguments are those of :class:`Autoregressive`; the network is
    :class:`genlab.networks.causal.transformer.CausalTransformer`.
    """

    family = "transformer"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "transformer"}

    def __init__(
        self,
        spec: DataSpec,
        name: str,
        conditional: bool,
        observation: ObservationName,
        components: Count,
        hidden: Count,
        layers: Count,
        heads: Count,
        optimizer: OptimizerFactory,
        lr: LearningRate,
        schedule: Schedule,
        grad_clip: GradClip | None,
    ) -> None:
        super().__init__(spec, name, conditional, observation, components, optimizer, lr, schedule, grad_clip)
        self.network = CausalTransformer(*self._sizes(), hidden, layers, heads)
