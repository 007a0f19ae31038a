"""Autoregressive transformer over pixels, dimensions or symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Unpack

from annotated_types import Ge, Lt

from genlab.core.spec import DataSpec
from genlab.modalities import Layout, modality_of
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
        positions: ``"learned"`` codes of all places, ``"rotary"`` ones, by which attention sees distances, or
            ``"auto"``: rotary where the same holds at every place, as in text and sound.
        dropout: Probability that a feature is dropped in training.

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
        positions: Literal["auto", "learned", "rotary"] = "auto",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        rotary = modality_of(spec).is_stationary if positions == "auto" else positions == "rotary"
        size = {"hidden": hidden, "layers": layers, "heads": heads, "rotary": rotary, "dropout": dropout}
        self.network = CausalTransformer(spec, self.observation.num_params, self.num_classes, **size)
