"""Masked diffusion: symbols are hidden one after the other, and a network learns to say what stood there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Unpack

import torch
from annotated_types import Ge, Lt
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core import noise
from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.replaying import replayed
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.options import ConditionalOptions, Depth, SamplingSteps, Width
from genlab.models.truncation import TruncationConfig
from genlab.networks.diffusion.unmasking import UnmaskingTransformer

__all__ = ["MaskedDiffusion"]


class MaskedDiffusion(FillsIn, GenerativeModel):
    """Diffusion of symbols by an absorbing mask, in continuous time.

    Sahoo et al. (2024), "Simple and effective masked diffusion language models"; Shi et al. (2024), "Simplified and
    generalized masked diffusion for discrete data". With a share t of the places masked, the bound of -log p(x) is the
    integral over t of 1/t times the expected cross-entropy of the masked places (equation 10 of the former, with
    alpha = 1 - t). Given how many places are masked, which ones is uniform, so the same bound is T times the mean over
    n = 1 ... T of the mean cross-entropy of n masked places (Ou et al. 2024, equation 3.6). That form is used: it has
    none of the chance of how many are masked at a time t.

    Args:
        spec: Symbols without an order, all of one length.
        hidden: Width of the residual stream, a multiple of twice ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.
        dropout: Probability that a feature of a block is dropped in training.
        steps: Steps of the sampler, each an evaluation of the network.
        bound_levels: Numbers of masked places, evenly spread, at which the bound is taken for each example.
        sampling: How symbols of samples are drawn; what is filled in is drawn from the probabilities as they are.

    The other arguments are those of :class:`ConditionalOptions`.
    """

    family = "diffusion"
    sampling_options = ("steps", "sampling.temperature", "sampling.top_k", "sampling.top_p")
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "transformer"}
    alternative = "Use model=diffusion."

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        layers: Depth,
        heads: Depth,
        dropout: Annotated[float, Ge(0), Lt(1)],
        steps: SamplingSteps,
        bound_levels: SamplingSteps,
        sampling: TruncationConfig | None = None,
        **shared: Unpack[ConditionalOptions],
    ) -> None:
        super().__init__(spec, **shared)
        if steps < 1 or bound_levels < 1:
            raise GenlabError(f"steps is {steps} and bound_levels {bound_levels}, expected at least 1.")
        self.steps = steps
        self.bound_levels = bound_levels
        self.truncation = sampling or TruncationConfig()
        size = {"hidden": hidden, "layers": layers, "heads": heads, "dropout": dropout}
        self.network = UnmaskingTransformer(spec.levels or 0, spec.num_dims, self.num_classes, **size)

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        modality = modality_of(spec)
        if modality.has_order or not spec.is_discrete:
            return f"Masked diffusion models symbols without an order, but {spec.name} is {spec.modality}. " + (
                cls.alternative
            )
        return super().unsupported(spec)

    @property
    def variant(self) -> str:
        words = (f"masked, ancestral-{self.steps}", str(self.truncation), "class-conditional" * self.conditional)
        return ", ".join(filter(None, words))

    @property
    def sampling_settings(self) -> dict[str, Any]:
        return self.truncation.settings

    @property
    def nfe(self) -> int:
        return self.steps

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "vlb"

    @property
    def likelihood_settings(self) -> dict[str, Any]:
        return {"vlb": {"noise_levels": self.bound_levels}}

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        # Spread evenly over the batch, the numbers vary less from batch to batch than those of independent draws.
        starts = torch.arange(len(batch.x), device=self.device)
        spread = (starts + torch.rand((), device=self.device)) / len(batch.x)
        order = torch.rand(batch.x.shape, device=self.device)
        loss = self._mean_surprise(batch.x, batch.y, spread, order).mean() / math.log(2)
        return {"loss": loss, "bits_per_dim": loss}

    def _log_prob(self, x: Tensor, y: Tensor | None, *, num_draws: int, generator: Generator | None) -> Tensor:
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for level in range(self.bound_levels):
            within = noise.uniform((len(x),), generator, x.device)
            order = noise.uniform(x.shape, generator, x.device)
            total += self._mean_surprise(x, y, (level + within) / self.bound_levels, order).double()
        return -total / self.bound_levels * self.spec.num_dims

    def _mean_surprise(self, x: Tensor, y: Tensor | None, spread: Tensor, order: Tensor) -> Tensor:
        """Return the mean cross-entropy of the masked places, nats ``[N]``.

        Args:
            x: Symbols ``[N, T]``.
            y: Labels ``[N]``, or None.
            spread: ``[N]`` in [0, 1): how many places are masked, as a place among 1 ... T.
            order: ``[N, T]``: the places of the lowest numbers are masked.
        """
        count = (spread * self.spec.num_dims).long().clamp_max(self.spec.num_dims - 1)
        last = order.sort(dim=1).values.gather(1, count[:, None])
        masked = order <= last
        logits = self.network(x, masked, y if self.conditional else None).float()
        surprise = F.cross_entropy(logits.movedim(-1, 1), x, reduction="none")
        return surprise.where(masked, 0).sum(1) / masked.sum(1)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        x = torch.zeros((n, *self.spec.shape), dtype=torch.int64, device=self.device)
        labels = self._labels_to_draw(n, y, generator)
        return self._unmasked(x, torch.ones_like(x, dtype=torch.bool), labels, generator, self.truncation)

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Draw the missing symbols, given all that are kept."""
        return self._unmasked(given.x.where(given.kept, 0), ~given.kept, given.y, generator, TruncationConfig())

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        if not mask.any():
            return Inpainting(True, "nothing is given")
        # Predictions given the same symbols need not be those of one distribution, whatever the order.
        return Inpainting(False, "unmasked from the given symbols on, each prediction given all that are there")

    def _unmasked(
        self, x: Tensor, masked: Tensor, y: Tensor | None, generator: Generator | None, truncation: TruncationConfig
    ) -> Tensor:
        """Draw what is masked in steps from t to s < t, in each of which a masked place is drawn by chance 1 - s/t.

        Sahoo et al. (2024), equation 7.
        """
        network = replayed(partial(self.network, y=y), self.device, self.steps, "the unmasking")
        for step in range(self.steps):
            with torch.autocast(self.device.type, enabled=False):
                logits = truncation(network(x, masked).flatten(0, 1)).unflatten(0, x.shape)
            probabilities = logits.double().softmax(-1)
            cumulative = probabilities.cumsum(-1)[..., :-1]
            chance = noise.uniform(x.shape, generator, x.device, torch.float64)
            drawn = (cumulative <= chance[..., None]).sum(-1)
            now = masked & (noise.uniform(x.shape, generator, x.device) < 1 / (self.steps - step))
            x = torch.where(now, drawn, x)
            masked = masked & ~now
        return self.codec.as_data(x)
