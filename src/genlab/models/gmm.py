"""Mixture models: the baseline beside which every other family stands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.likelihood import (
    bits_per_dim,
    dequantized_log_weights,
    importance_weighted,
)
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.options import TrainingOptions, Width
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.mixture.binned_mixture import BinnedGaussianMixture
from genlab.networks.mixture.categorical_mixture import CategoricalMixture
from genlab.networks.mixture.correlated import FullGaussianMixture, LowRankGaussianMixture
from genlab.networks.mixture.expectation_maximization import fit_by_em
from genlab.networks.mixture.frames import Frames
from genlab.networks.mixture.mixed_mixture import MixedMixture
from genlab.networks.mixture.mixtures import BernoulliMixture, DiagonalGaussianMixture, Mixture

__all__ = ["GMM"]

FRAME = 8
"""Values of a frame, for data of which a stretch is an example too: texts and sound."""
AUTO_COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of components that ``auto`` tries in turn, until one is no better than the one before."""
HELD_OUT = 0.2
"""Fraction of the starting examples on which they are compared."""


class GMM(FillsIn, GenerativeModel):
    """Gaussian mixture, or for binary data Bernoulli mixture, started by k-means++ and EM, trained by gradient.

    A level of discrete data has the normal's mass over its bin; the outer bins reach to infinity. The log-probability
    is exact for continuous data, for binary data, and for discrete data under diagonal covariance. Under the other
    covariances it is a lower bound that rises with the number of draws to the exact value, and carries no gradient:

    - ``low_rank``, ``elbo`` or ``iwae-K``: draws are of the factors, given which the bins are independent;
    - ``full``, ``dequantized-K``: draws are of points within the bins, dimension after dimension (GHK).

    Training then maximizes a cheaper lower bound of the same probability, that of uniform dequantization. It gives the
    outer levels only the part of their bins within the unit cube, so that it lies well below what is reported.

    On continuous data it is the density of scikit-learn's ``GaussianMixture``, whose ``reg_covar`` is the square of
    ``min_scale`` times the data's standard deviation; the prior comes on top. Figures of discrete data are
    probabilities of levels: where the normals are wide, about the density times the volume of a bin.

    EM runs once, before the first step, on at most :attr:`initial_examples` training examples, many times over each.
    These passes are no part of the examples seen: neither of a budget in examples nor of the schedule.
    ``components="auto"``
    holds a fifth of these back, tries 1, 2, 4 ... 128 components, stops at the first number that does not raise the
    held-out likelihood, and fits the best number to all of them; it never sees the validation or test split.

    Windows of series are taken whole, as vectors. Texts and sound are taken as frames of 8 values, one after the other,
    which the mixture draws independently of each other; symbols, which have no order, are categorical in each
    component. What a mask says is not there is left out of its frame. So the log-probability is exact, and nothing is
    learned from one frame to the next; covariances other than ``diagonal`` are refused.

    Of a table each column is independent of the others in a component: a normal for numbers, whose mass over a cell is
    the probability of a rounded one, and a probability for each category. Only a table of numbers that have densities
    takes other covariances.

    Args:
        spec: Any kind of data, discrete or continuous.
        components: Number of components, or ``auto``.
        covariance: ``diagonal``, ``low_rank`` (factor analyzers) or ``full``; of no effect on binary data.
        rank: Factors of each component; for ``low_rank``.
        em_steps: Most steps of EM; 0 leaves the start to k-means.
        prior: Pseudo-examples that each component sees per training example, spread like the data as a whole.
        min_scale: Bound below all standard deviations, in units of the data's. The prior holds those that EM finds
            further up: a component of n of N examples at about ``sqrt(m / (n + m))`` or more, with ``m = prior * N``.

    The other arguments are those of :class:`genlab.models.options.TrainingOptions`.
    """

    family = "gmm"
    layouts: ClassVar[Mapping[Layout, str]] = {"flat": "mixture", "sequence": "mixture", "series": "mixture"}
    uses = frozenset({"mask", "fields", "cells"})
    initial_examples = 20_000

    def __init__(
        self,
        spec: DataSpec,
        *,
        components: Width | Literal["auto"],
        covariance: Literal["diagonal", "low_rank", "full"],
        rank: Width,
        em_steps: Annotated[int, Ge(0), Le(100_000)],
        prior: Annotated[float, Gt(0)],
        min_scale: Annotated[float, Gt(0)],
        **shared: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self._frames = Frames(spec, FRAME)
        if covariance != "diagonal" and (self._frames.are_parts or spec.has_mask):
            raise GenlabError(
                f"model.covariance is {covariance}, but {spec.name} is modelled in frames or has a mask. Use diagonal."
            )
        if covariance != "diagonal" and spec.needs & {"fields", "cells"}:
            raise GenlabError(
                f"model.covariance is {covariance}, but {spec.name} has categories or rounded numbers. Use diagonal."
            )
        make = _mixture_factory(spec, self._frames, covariance, rank, min_scale)
        self._make, self._covariance = make, _NAMES.get(make.func, covariance)
        # Only where there are any: data of one length needs no such state.
        self.lengths = Lengths(spec, 0) if spec.has_mask else None
        self.mixture = self._make(1 if components == "auto" else components)
        self._is_auto = components == "auto"
        self._is_bound = spec.is_discrete and spec.levels != 2 and covariance != "diagonal"
        self._em_steps = em_steps
        self._prior = prior
        if self._is_auto:
            self.register_load_state_dict_pre_hook(_adopt_components)

    @property
    def variant(self) -> str:
        return f"{self._covariance}, K={self.mixture.components}"

    def likelihood_kind(self, num_draws: int = 1) -> str:
        if not self._is_bound:
            return "exact"
        if self._covariance == "full":
            return f"dequantized-{num_draws}"
        return "elbo" if num_draws == 1 else f"iwae-{num_draws}"

    @property
    def not_captured(self) -> str | None:
        if isinstance(self.mixture, LowRankGaussianMixture):
            return "a Cholesky decomposition is checked at each step"
        looks_up = isinstance(self.mixture, BinnedGaussianMixture)
        return "the levels that occur in a batch are looked up" if looks_up else None

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, enabled=False):
            rows, there = self._frames.split(batch.x, batch.mask)
            nats = -self._training_log_prob(rows, there).mean()
            loss = nats - self._prior * self.mixture.log_prior()
        if not self.spec.is_discrete:
            count = self._frames.count
            return {"loss": count * loss, "nats": count * nats}
        dims = self._frames.length if there is None else there.sum().clamp_min(1) / len(rows)
        return {"loss": bits_per_dim(-loss, dims), "bits_per_dim": bits_per_dim(-nats, dims)}

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int,
        generator: Generator | None,
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if not self._is_bound:
                return self.mixture.log_prob(*self._frames.split(x, mask)).view(len(x), -1).sum(1)
            weights = self.mixture.box_log_weights(*self._bins(x.flatten(1)), num_draws, generator)
            log_joint = self.mixture.logits.detach().double().log_softmax(0) + weights
            return importance_weighted(log_joint.logsumexp(-1)).to(self.mixture.logits.dtype)

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        # Frame after frame, so that an example's noise is its own.
        rows = [self.mixture.sample(n, generator) for _ in range(self._frames.count)]
        x = self._frames.join(torch.stack(rows, dim=1))
        if self.lengths is not None:
            x = x.where(self.lengths.sample(n, y, generator), modality_of(self.spec).padding(self.spec))
        return self.codec.from_cells(x) if self._is_bound else self.codec.as_data(x)

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Draw what is missing from the mixture given what is kept."""
        x, kept, y = given
        values = x.where(kept, 0)
        if self._is_bound:
            values = self.codec.dequantize(values, generator)
        rows, held = (self._frames.split(t)[0].view(len(x), self._frames.count, -1) for t in (values, kept))
        # Frame after frame, as samples are.
        frames = zip(rows.unbind(1), held.unbind(1), strict=True)
        filled = self._frames.join(torch.stack([self.mixture.complete(*frame, generator) for frame in frames], dim=1))
        filled = self.codec.from_cells(filled) if self._is_bound else self.codec.as_data(filled)
        if self.lengths is not None:
            there = self.lengths.sample(len(x), y, generator, kept)
            filled = filled.where(there, modality_of(self.spec).padding(self.spec))
        return filled

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        if self._is_bound:
            return Inpainting(False, "the mixture given values spread evenly over the cells of the given levels")
        return Inpainting(True, "the mixture given the given values")

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        self.check(batch)
        x = self.codec.dequantize(batch.x) if self._is_bound else batch.x
        x = self._rows_to_fit(*self._frames.split(x, batch.mask))
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)
        if self._is_auto:
            self.mixture = self._make(self._choose_components(x))
        fit_by_em(self.mixture, x, self._em_steps, self._prior)

    def _rows_to_fit(self, rows: Tensor, there: Tensor | None) -> Tensor:
        """Return rows that are whole, no more than are examples at the most, and where none is whole, all."""
        if there is not None and there.all(1).any():
            rows = rows[there.all(1)]
        most = self.initial_examples or len(rows)
        return rows[torch.randperm(len(rows))[:most]] if len(rows) > most else rows

    def _choose_components(self, x: Tensor) -> int:
        """Return the number of components with the highest held-out likelihood; examples come in random order."""
        held_out, fitted = x.tensor_split([max(1, int(HELD_OUT * len(x)))])
        best, best_score = 1, -torch.inf
        for components in AUTO_COMPONENTS:
            if components > len(fitted):
                break
            candidate = self._make(components)
            fit_by_em(candidate, fitted, self._em_steps, self._prior)
            score = torch.cat([candidate.log_prob(rows) for rows in held_out.split(250)]).mean().item()
            if score <= best_score:
                break
            best, best_score = components, score
        return best

    def _training_log_prob(self, rows: Tensor, there: Tensor | None) -> Tensor:
        if not self._is_bound:
            return self.mixture.log_prob(rows, there)
        return dequantized_log_weights(rows, self.codec.levels, self.mixture.log_prob)

    def _bins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, on the axis of dequantized data, of the bins of levels ``x [N, D]``."""
        low, high = self.codec.to_cells(x)
        return low.masked_fill(x == 0, -torch.inf), high.masked_fill(x == self.codec.levels - 1, torch.inf)


_NAMES = {BernoulliMixture: "bernoulli", CategoricalMixture: "categorical"}
"""What a variant says of mixtures that have no covariance."""


def _mixture_factory(spec: DataSpec, frames: Frames, covariance: str, rank: int, min_scale: float) -> partial[Mixture]:
    """Return what makes a mixture of so many components for such data."""
    dims, levels = frames.length, spec.levels
    if spec.fields and covariance == "diagonal":
        return partial(MixedMixture, spec=spec, min_scale=min_scale)
    if levels is not None and frames.are_parts and (levels == 2 or not modality_of(spec).has_order):
        return partial(CategoricalMixture, num_dims=dims, levels=levels)
    if levels == 2:
        return partial(BernoulliMixture, num_dims=dims)
    if levels is not None and covariance == "diagonal":
        return partial(BinnedGaussianMixture, num_dims=dims, min_scale=min_scale, levels=levels)
    # The levels of all dimensions have one unit; dimensions of continuous data need not.
    shared: dict[str, Any] = {"num_dims": dims, "min_scale": min_scale, "common_scale": spec.is_discrete}
    return {
        "diagonal": partial(DiagonalGaussianMixture, **shared),
        "low_rank": partial(LowRankGaussianMixture, **shared, rank=rank),
        "full": partial(FullGaussianMixture, **shared),
    }[covariance]


def _adopt_components(model: GMM, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a state is loaded, take the number of components that ``auto`` chose when it was made."""
    logits = state.get(f"{prefix}mixture.logits")
    if logits is not None and len(logits) != model.mixture.components:
        model.mixture = model._make(len(logits)).to(model.mixture.logits)
