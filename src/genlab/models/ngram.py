"""N-grams: the baseline of texts and of sound in levels, counted in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Unpack

import torch
from annotated_types import Ge, Le
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.likelihood import mean_bits_per_dim, sum_dims
from genlab.core.noise import uniform
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.modalities import Layout, Modality, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.options import CommonOptions
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.causal.base import from_raster, to_raster
from genlab.networks.causal.completion import comes_first
from genlab.networks.causal.ngram import WittenBell

__all__ = ["NGram"]

MOST_VALUES = 6
"""Longest n-grams that ``auto`` tries."""
HELD_OUT = 0.1
"""Fraction of the training examples on which they are compared."""

PARTICLES = 64
"""Of each example that is filled in, unless said otherwise."""


class NGram(FillsIn, GenerativeModel):
    """N-grams with interpolated Witten-Bell smoothing: each value given the n - 1 before it.

    The log-probability is exact. All training examples are counted once; nothing is learned after that, so that a
    training takes seconds, whatever its budget. ``order="auto"`` counts nine tenths of the training examples, takes the
    order from 1 to 6 that gives the last tenth the highest likelihood, and then counts all; it never sees the
    validation or test split.

    An example's first values have the contexts that there are. So the likelihood of a text in windows is a little lower
    than that of the same text as a whole, of which no value but the first lacks a context.

    Source of the estimate: see :class:`genlab.networks.causal.ngram.WittenBell`.

    Args:
        spec: Text, or sound in levels.
        order: Values of the longest n-grams, n, or ``auto``.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.
    """

    family = "ngram"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "counts"}
    uses = frozenset({"mask"})
    alternative = "Use model=gmm."
    initial_examples = None
    learns_by_steps = False

    def __init__(
        self, spec: DataSpec, *, order: Annotated[int, Ge(1), Le(16)] | Literal["auto"], **shared: Unpack[CommonOptions]
    ) -> None:
        super().__init__(spec, **shared, optimizer=torch.optim.SGD, lr=1.0, schedule=lambda _: 1.0, grad_clip=None)
        self.automatic_optimization = False  # there is nothing to optimize
        self._is_auto = order == "auto"
        self.counts = WittenBell(self.codec.levels, MOST_VALUES if order == "auto" else order)
        self.lengths = Lengths(spec, 0)

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        reason = super().unsupported(spec)
        if reason is None and not spec.is_discrete:
            return f"The {cls.family} family counts levels, but {spec.name} is continuous. {cls.alternative}"
        return reason

    @classmethod
    def _shared_layouts(cls, modality: Modality) -> list[Layout]:
        # It knows nothing of places: what stands beside what is all that counts.
        return super()._shared_layouts(modality) if modality.is_stationary else []

    @property
    def variant(self) -> str:
        return f"{self.counts.order}-gram, Witten-Bell"

    @property
    def num_parameters(self) -> int:
        """How many n-grams were counted, of all lengths."""
        return self.counts.num_grams

    @property
    def nfe(self) -> int:
        """Look-ups, one after the other, that a sample costs: one for each value."""
        return self.spec.num_dims

    @property
    def not_captured(self) -> str | None:
        return "its only step trains nothing"

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "exact"

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        log_prob = self._log_prob(batch.x, batch.y, mask=batch.mask)
        loss = mean_bits_per_dim(log_prob, self.spec.num_dims, batch.mask)
        return {"loss": loss, "bits_per_dim": loss}

    @torch.no_grad()
    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor:
        # What is not there comes last, so that it is in no context either.
        return sum_dims(self.counts.log_prob(self._values(x)), None if mask is None else self._values(mask))

    @torch.no_grad()
    def log_prob_of_values(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log-probability of each value given those before it; see
        :class:`genlab.core.contract.ScoresValues`."""
        self.check(Batch(x, y))
        return self.counts.log_prob(self._values(x))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        there = self.lengths.sample(n, y, generator)
        noise = uniform((n, self.spec.num_dims), generator, self.device, torch.float64)
        x = from_raster(self.counts.transform(noise).unflatten(1, (-1, self._channels)), self.spec)
        return self.codec.as_data(x.where(there, modality_of(self.spec).padding(self.spec)))

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Draw what is missing in particles; see :meth:`genlab.networks.causal.ngram.WittenBell.complete`.

        Args:
            given: What is kept.
            generator: Source of the noise.
            rounds: Particles; None: 64.
        """
        x, kept, y = given
        there = self.lengths.sample(len(x), y, generator, kept)

        def chance(shape: tuple[int, int]) -> Tensor:
            return uniform(shape, generator, self.device, torch.float64)

        particles = PARTICLES if rounds is None else max(1, rounds)
        values = self.counts.complete(self._values(x.where(kept, 0)), self._values(kept), particles, chance)
        filled = from_raster(values.unflatten(1, (-1, self._channels)), self.spec)
        return self.codec.as_data(filled.where(there, modality_of(self.spec).padding(self.spec)))

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        if comes_first(self._values(mask)).all():
            return Inpainting(True, "drawn value by value after those that are given")
        particles = PARTICLES if rounds is None else max(1, rounds)
        return Inpainting(False, f"importance resampling, value by value, of {counted(particles, 'particle')}")

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        self.check(batch)
        x = self._values(batch.x)
        there = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else self._values(batch.mask)
        self.lengths.fit(batch.mask, batch.y)
        if self._is_auto:
            self.counts.order = self._choose_order(x, there)
        self.counts.fit(x, there)

    def _choose_order(self, x: Tensor, there: Tensor) -> int:
        """Return the order with the highest held-out likelihood; examples come in random order."""
        held_out = max(1, int(HELD_OUT * len(x)))
        trial = WittenBell(self.codec.levels, MOST_VALUES)
        trial.fit(x[held_out:], there[held_out:])
        _uniform, *scores = (sum_dims(log_prob, there[:held_out]).sum() for log_prob in trial.log_probs(x[:held_out]))
        return 1 + max(range(len(scores)), key=lambda length: scores[length], default=0)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.loss(batch)

    def _values(self, x: Tensor) -> Tensor:
        """The values of examples, or what is said of each, in their order ``[N, T]``."""
        return to_raster(x, self.spec).flatten(1)

    @property
    def _channels(self) -> int:
        return 1 if len(self.spec.shape) == 1 else self.spec.shape[0]
