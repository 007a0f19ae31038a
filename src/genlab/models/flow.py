"""Normalizing flows: exact densities by change of variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Unpack

import torch
from annotated_types import Gt, Lt
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.codec import mean_and_deviation, one_hot
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.likelihood import Logit, importance_weighted, log_weights, mean_bits_per_dim
from genlab.core.replaying import kept
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.modalities import Layout, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.flow_networks import MultiScaleConfig, SignalConfig, TableConfig, VectorConfig
from genlab.models.options import ConditionalOptions
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.causal.completion import Choice
from genlab.networks.flow.completion import Coordinates, hamiltonian, of_levels, of_numbers
from genlab.networks.flow.invertible import data_dependent_init
from genlab.networks.flow.vector_flows import VECTOR_FLOWS

__all__ = ["Flow"]

ROUNDS = 100
"""Steps by which values are filled in, unless said otherwise."""
CANDIDATES = 8
"""Samples of which these steps begin at one."""
SPREAD_OF = 256
"""Samples whose spread is the unit of these steps."""


class Flow(FillsIn, GenerativeModel):
    """Normalizing flow: a multi-scale coupling flow for images, an autoregressive or coupling one for vectors.

    Continuous data has an exact density. Discrete data is filled with noise and, on ``[0, 1]``, mapped to
    the real line by a logit; its log-probability is then a lower bound that rises with the number of draws. So is that
    of a table's rows where some of its columns are of categories, which become signs, or of rounded numbers, whose
    cells are filled.

    Args:
        spec: Images, vectors, tables, sound or series, discrete or continuous.
        network: ``multiscale``, ``waveglow``, ``nsf``, ``maf``, ``realnvp``, or ``auto`` for what suits the data.
        logit_alpha: Distance that the logit keeps from 0 and 1, in (0, 0.5).
        multiscale: Sizes of the multi-scale flow.
        vector: Sizes of the flows on vectors, tables and series.
        table: How categories and rounded numbers of tables are filled with noise.
        waveglow: Sizes of the flow on sound.

    The other arguments are those of :class:`genlab.models.options.ConditionalOptions`.
    """

    family = "flow"
    layouts: ClassVar[Mapping[Layout, str]] = {
        "grid": "multiscale",
        "signal": "waveglow",
        "flat": "nsf",
        "series": "nsf",
    }
    uses = frozenset({"mask", "fields", "cells"})

    def __init__(
        self,
        spec: DataSpec,
        *,
        network: Literal["auto", "multiscale", "waveglow", "nsf", "maf", "realnvp"],
        logit_alpha: Annotated[float, Gt(0), Lt(0.5)],
        multiscale: MultiScaleConfig,
        vector: VectorConfig,
        table: TableConfig,
        waveglow: SignalConfig,
        **shared: Unpack[ConditionalOptions],
    ) -> None:
        super().__init__(spec, **shared)
        kind = self.default_network(spec) if network == "auto" else network
        self.network_kind = kind
        sizes: dict[str, MultiScaleConfig | SignalConfig] = {"multiscale": multiscale, "waveglow": waveglow}
        self._logit = Logit(logit_alpha)
        self.cells = table.build(spec, self._logit)
        if kind in VECTOR_FLOWS:
            if spec.has_mask:
                raise GenlabError(self._cannot_use("mask", f"network={kind} would have to"))
            num_dims = spec.num_dims if self.cells is None else self.cells.num_features
            self.density, self.dequantize = vector.build(kind, num_dims, self.num_classes)
        else:
            self.density, self.dequantize = sizes[kind].build(spec, self.num_classes)
        self._coupling = "" if kind in VECTOR_FLOWS else f"-{sizes[kind].coupling}"
        self.lengths = Lengths(spec, self.num_classes) if spec.has_mask else None
        self.nfe = self.density.nfe

    @property
    def variant(self) -> str:
        return f"{self.network_kind}{self._coupling}" + (", class-conditional" if self.conditional else "")

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return f"dequantized-{num_draws}" if self._is_bound else "exact"

    @property
    def _is_bound(self) -> bool:
        return self.spec.is_discrete or self.cells is not None

    @property
    def not_captured(self) -> str | None:
        reads = self.network_kind == "realnvp"
        return "the couplings of RealNVP turn their masks into indices at each call" if reads else None

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        log_prob = self._log_prob(batch.x, batch.y, mask=batch.mask)
        if not self.spec.is_discrete:
            return {"loss": -log_prob.mean()}
        loss = mean_bits_per_dim(log_prob, self.spec.num_dims, batch.mask)
        return {"loss": loss, "bits_per_dim": loss}

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor:
        context, draws, weight = self._context(y), num_draws if self._is_bound else 1, self._log_weight
        if self.not_captured is None:
            weight = kept(weight, x.device, draws, "the flow's density")
        weights = [weight(x, self._noise(x, generator), context, mask) for _ in range(draws)]
        return importance_weighted(torch.stack(weights)) if self._is_bound else weights[0]

    def _noise(self, x: Tensor, generator: Generator | None) -> Tensor | None:
        """Draw what fills the cells of examples; None where they have none."""
        if self.cells is not None:
            return self.cells.uniform(x, generator)
        return self.dequantize.noise(x, generator) if self.spec.is_discrete else None

    def _log_weight(self, x: Tensor, noise: Tensor | None, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """Log of an importance weight of each example, or without noise its log-density, ``[N]``, nats."""
        if self.cells is not None:
            z, log_volume = self.cells.of_noise(x, noise)
            return self._log_density(z, context, mask) + log_volume
        if noise is None:
            return self._log_density(x, context, mask)
        noisy = self.dequantize.of_noise(x, noise, self.codec.levels)
        return log_weights(self._log_density(noisy.z, context, mask), noisy, self.codec.levels, mask)

    def _log_density(self, z: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """Log-density ``[N]``, nats: of levels on the unit interval, of rows among their cells, else of data."""
        there = _there(mask)
        if not self.spec.is_discrete or self.cells is not None:
            return self.density.log_prob(z, context, **there)
        real, log_det = self._logit.forward(z, mask)
        return self.density.log_prob(real, context, **there) + log_det

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        labels = self._labels_to_draw(n, y, generator)
        mask = None if self.lengths is None else self.lengths.sample(n, labels, generator)
        return self._as_data(self.density.sample(n, self._context(labels), generator, **_there(mask)), mask)

    def _as_data(self, real: Tensor, mask: Tensor | None) -> Tensor:
        """Return points of the density as examples; what a mask says is not there is padding."""
        if self.cells is not None:
            return self.codec.as_data(self.cells.rows(real))
        real = real.view(len(real), *self.spec.shape)
        x = self.codec.from_cells(self._logit.inverse(real)[0]) if self.spec.is_discrete else real
        return x if mask is None else x.where(mask, modality_of(self.spec).padding(self.spec))

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Go from samples by steps of Hamiltonian Monte Carlo to the density given what is kept.

        Levels and categories that are kept stand for all points of their cells, so with more and more steps this is
        exact.

        Args:
            given: What is kept.
            generator: Source of the noise.
            rounds: Steps, of 5 gradients of the density each; None: 100.
        """
        x, kept, y = given
        n, context = len(x), self._context(y)
        mask = None if self.lengths is None else self.lengths.sample(n, y, generator, kept)
        there = _there(mask)

        with torch.autocast(x.device.type, enabled=False):
            within = self._coordinates(x.where(kept, 0), kept, mask)

            def log_density(w: Tensor) -> Tensor:
                point, log_det = within.place(w)
                point = point if self.cells is not None else point.view(n, *self.spec.shape)
                return self.density.log_prob(point, context, **there) + log_det

            start = Choice()
            for _ in range(CANDIDATES):
                drawn = self.density.sample(n, context, generator, **there).flatten(1)
                w = within.of_point(drawn).where(within.missing, 0)
                start.offer(w, log_density(w).nan_to_num(nan=-1e30), generator)
            assert start.values is not None
            steps = ROUNDS if rounds is None else max(1, rounds)
            w = hamiltonian(log_density, start.values, within.free, steps, generator)
        return self._as_data(within.place(w)[0], mask)

    def _coordinates(self, values: Tensor, kept: Tensor, mask: Tensor | None) -> Coordinates:
        """Return the coordinates in which values are filled in, each example's flat."""
        if self.cells is not None:
            return self.cells.given(values, kept)
        flat = [None if part is None else part.flatten(1) for part in (values, kept, mask)]
        if self.spec.is_discrete:
            return of_levels(*flat, self.codec.levels, self._logit)
        # The same for every batch, so that an example's completion is its own.
        noise = Generator(values.device).manual_seed(0)
        context = self._context(self._labels_to_draw(SPREAD_OF, None, noise))
        some = self.density.sample(SPREAD_OF, context, noise).flatten(1)
        return of_numbers(*flat, mean_and_deviation(some)[1])

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        steps = ROUNDS if rounds is None else max(1, rounds)
        return Inpainting(False, f"Hamiltonian Monte Carlo, {counted(steps, 'step')}, the first half to settle down")

    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the base distribution's values ``[N, Z]`` for data ``x [N, *shape]``; of levels, their cells' centres.

        Z is the number of dimensions, or a little more where sound is filled up to whole columns.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says, or labels are missing.
        """
        self.check(Batch(x, y, mask))
        x, y, mask, _ = self._filled(Batch(x, y, mask))
        if self.cells is not None:
            real = self.cells.centres(x)
        else:
            real = self._logit.forward(self.codec.to_centres(x), mask)[0] if self.spec.is_discrete else x
        return self.density.encode(real, self._context(y), **_there(mask))

    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the data ``[N, *shape]``, floating point in the data's own units, of which ``z [N, Z]`` is the code.

        Raises:
            GenlabError: If the latents have another length.
        """
        self._check_latents(z, self.density.num_latents)
        real = self.density.decode(z, self._context(y), **_there(mask))
        if self.cells is not None:
            return self.cells.rows(real)
        real = real.view(-1, *self.spec.shape)
        return self.codec.unrounded(self._logit.inverse(real)[0]) if self.spec.is_discrete else real

    def encoding_kind(self) -> str:
        return "inverse of the flow" + (", from the cells' centres" if self._is_bound else "")

    def encoding_evaluations(self) -> float:
        return 1 + self.nfe

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        if self.cells is not None:
            self.cells.columns.fit(batch.x)
        with data_dependent_init(self.density):
            self._log_prob(batch.x, batch.y, mask=batch.mask)
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)

    def _context(self, y: Tensor | None) -> Tensor | None:
        if not self.conditional or y is None:
            return None
        return one_hot(y, self.spec.num_classes)


def _there(mask: Tensor | None) -> dict[str, Tensor]:
    return {} if mask is None else {"mask": mask}  # only some densities take one
