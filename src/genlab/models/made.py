"""MADE: a perceptron with masked weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from annotated_types import Ge

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, Count
from genlab.models.base import GradClip, LearningRate, OptimizerFactory, Schedule
from genlab.networks.blocks.observations import ObservationName
from genlab.networks.causal.masked import MaskedMLP

__all__ = ["Made"]


class Made(Autoregressive):
    """Masked autoencoder for distribution estimation: a perceptron for vectors, small images and text.

    Germain et al. (2015), "MADE: Masked Autoencoder for Distribution Estimation".

    Args:
        spec: Images, vectors or text, discrete or continuous.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well.

    The other arguments are those of :class:`Autoregressive`; the network is
    :class:`genlab.networks.causal.masked.MaskedMLP`.
    """

    family = "made"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "mlp"}

    def __init__(
        self,
        spec: DataSpec,
        name: str,
        conditional: bool,
        observation: ObservationName,
        components: Count,
        hidden: Count,
        blocks: Annotated[int, Ge(0)],
        direct: bool,
        optimizer: OptimizerFactory,
        lr: LearningRate,
        schedule: Schedule,
        grad_clip: GradClip | None,
    ) -> None:
        super().__init__(spec, name, conditional, observation, components, optimizer, lr, schedule, grad_clip)
        self.network = MaskedMLP(*self._sizes(), hidden, blocks, direct)
