"""Autoregressive transformer over pixels, dimensions or symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Unpack

from annotated_types import Ge, Lt
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, modality_of
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Depth, Width
from genlab.models.truncation import TruncationConfig
from genlab.networks.causal.transformer import CausalTransformer

__all__ = ["Transformer"]


class Transformer(Autoregressive):
    """Causal transformer over the pixels of an image, the dimensions of a vector, the symbols of a text or time.

    Chen et al. (2020), "Generative Pretraining from Pixels".

    Args:
        spec: Images, vectors, text, sound or series, discrete or continuous.
        hidden: Width of the residual stream, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.
        positions: ``"learned"`` codes of all places, ``"rotary"`` ones, by which attention sees distances, or
            ``"auto"``: rotary where the same holds at every place, as in text and sound.
        dropout: Probability that a feature is dropped in training.
        sampling: How symbols are drawn; only of a categorical distribution other than as it is.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.transformer.CausalTransformer`.
    """

    family = "transformer"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "transformer", "series": "transformer"}
    uses = frozenset({"mask"})
    sampling_options = ("sampling.temperature", "sampling.top_k", "sampling.top_p")

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        layers: Depth,
        heads: Depth,
        positions: Literal["auto", "learned", "rotary"] = "auto",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        sampling: TruncationConfig | None = None,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.truncation = sampling or TruncationConfig()
        if self.truncation.settings and self.observation.name != "categorical":
            raise GenlabError(
                f"model.sampling has {self.truncation}, which is for probabilities of each level, but those of "
                f"{spec.name} are {self.observation.name}. Use model.observation=categorical."
            )
        rotary = modality_of(spec).is_stationary if positions == "auto" else positions == "rotary"
        size = {"hidden": hidden, "layers": layers, "heads": heads, "rotary": rotary, "dropout": dropout}
        self.network = CausalTransformer(spec, self.observation.num_params, self.num_classes, **size)

    @property
    def variant(self) -> str:
        return ", ".join(filter(None, (super().variant, str(self.truncation))))

    @property
    def sampling_settings(self) -> dict[str, Any]:
        return self.truncation.settings

    def drawn_from(self, params: Tensor) -> Tensor:
        return self.truncation(params) if self.truncation.settings else params
