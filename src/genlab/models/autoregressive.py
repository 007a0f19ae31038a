"""Autoregressive models: the probability of an example is the product of those of its values, each given the earlier.

The order is the raster's: row by row from the top left, the channels of a pixel one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.likelihood import mean_bits_per_dim, sum_dims
from genlab.core.noise import uniform
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.options import ConditionalOptions, Width
from genlab.networks.blocks.channel_scaling import ChannelScaling
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.blocks.mixed_observation import observation_of
from genlab.networks.blocks.observations import ObservationName
from genlab.networks.causal.base import CausalNetwork, Steps, from_raster, to_raster
from genlab.networks.causal.completion import Choice, comes_first, metropolis_sweep

__all__ = ["Autoregressive", "AutoregressiveOptions"]


CANDIDATES = 16
"""Of importance resampling, where what is given does not come first."""
SWEEPS, MOST_SWEPT = 4, 1024
"""Sweeps after it, unless said otherwise, and most values of an example that gets any."""


class _Given(NamedTuple):
    x: Tensor
    kept: Tensor
    there: Tensor | None
    y: Tensor | None


class AutoregressiveOptions(ConditionalOptions):
    """The options of every autoregressive family.

    Attributes:
        observation: Distribution of a value; see :func:`genlab.networks.blocks.observations.observation_model`.
        components: Logistics of a ``logistic_mixture``, and of a table's numbers.
    """

    observation: ObservationName
    components: Width


class Autoregressive(FillsIn, GenerativeModel):
    """What the autoregressive families share; each adds the network that predicts the values' distributions.

    The log-probability is exact. Samples are drawn value by value, every activation being computed once. Continuous
    data is standardized on the way in, channel by channel, or dimension by dimension of a vector, with the
    log-determinant in every figure.

    Args:
        spec: What one example is.

    The other arguments are those of :class:`AutoregressiveOptions`.
    """

    network: CausalNetwork

    def __init__(
        self,
        spec: DataSpec,
        *,
        observation: ObservationName,
        components: Width,
        **shared: Unpack[ConditionalOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.columns = Columns(spec) if spec.fields and "fields" in self.uses else None
        self.observation = observation_of(observation, spec, components, self.columns)
        self.lengths = Lengths(spec, self.num_classes) if spec.has_mask else None
        self.scaling = None if spec.is_discrete or spec.fields else ChannelScaling(spec.shape)

    def initialize(self, batch: Batch) -> None:
        if self.columns is not None:
            self.columns.fit(batch.x)
        if self.scaling is not None:
            self.scaling.fit(batch.x, batch.mask)
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)

    @property
    def variant(self) -> str:
        return self.observation.name + (", class-conditional" if self.conditional else "")

    @property
    def nfe(self) -> int:
        """Evaluations of the network, one after the other, that a sample costs; each computes one site alone."""
        return self.network.num_steps

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "exact"

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss_of(self._log_prob(batch.x, batch.y, mask=batch.mask), batch)

    def _loss_of(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what is lowered, given the log-probabilities ``[N]`` of a batch."""
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
        there = None if mask is None else to_raster(mask, self.spec)
        return sum_dims(self._log_prob_of_raster(x, y), there)

    def _log_prob_of_raster(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the log-probabilities ``[N, T, C]`` of values, of data in its own units."""
        if self.scaling is None:
            values = to_raster(x, self.spec)
            return self.observation.log_prob(values, self.network(values, y))
        values = to_raster(self.scaling(x), self.spec)
        return self.observation.log_prob(values, self.network(values, y)) + to_raster(
            self.scaling.log_scale(x), self.spec
        )

    def log_prob_of_values(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log-probability of each value given those before it; see
        :class:`genlab.core.contract.ScoresValues`."""
        self.check(Batch(x, y))
        return self._log_prob_of_raster(x, y).flatten(1)

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        y = self._labels_to_draw(n, y, generator)
        there = self._there(n, y, generator)
        return self.draw(self.network.steps(n, y), generator, there=there)

    def _there(
        self, n: int, y: Tensor | None, generator: Generator | None, kept: Tensor | None = None
    ) -> Tensor | None:
        """Draw where samples have values, ``[n, *spec.shape]``; None: everywhere."""
        return None if self.lengths is None else self.lengths.sample(n, y, generator, kept)

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Draw what is missing, given what is kept.

        Where what is kept comes first in raster order, like the upper part of an image, the rest is drawn one value
        after the other, which is exact. Else so many candidates are drawn given what precedes each value, one is chosen
        by how probable it makes what is kept, and sweeps follow in which each value is proposed anew; see
        :mod:`genlab.networks.causal.completion`. With more and more sweeps that too becomes exact. Kept values use up
        their noise too, so with nothing kept this is :meth:`sample`.

        Args:
            given: What is kept.
            generator: Source of the noise.
            rounds: Sweeps, each an evaluation of the whole network for each missing value; None: 4, or none of
                examples of more than 1,024 values.
        """
        x, kept, y = given
        there = self._there(len(x), y, generator, kept)
        drawn = self.draw(self.network.steps(len(x), y), generator, x, kept, there)
        needs_more = ~comes_first(to_raster(kept, self.spec).flatten(1))
        if not needs_more.any():
            return drawn
        refined = self._refined(drawn, _Given(x, kept, there, y), self._sweeps(rounds), generator)
        return refined.where(needs_more.view(-1, *[1] * (x.ndim - 1)), drawn)

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        if comes_first(to_raster(mask, self.spec).flatten(1)).all():
            return Inpainting(True, "drawn value by value after those that are given")
        sweeps = self._sweeps(rounds)
        method = f"importance resampling of {CANDIDATES} candidates"
        return Inpainting(False, method + (f", then {counted(sweeps, 'Metropolis sweep')}" if sweeps else ""))

    def _sweeps(self, rounds: int | None) -> int:
        return rounds if rounds is not None else SWEEPS if self.spec.num_dims <= MOST_SWEPT else 0

    def _refined(self, drawn: Tensor, given: _Given, sweeps: int, generator: Generator | None) -> Tensor:
        """Return examples in which what is kept has a say in what comes before it, given a first candidate."""
        spec, y = self.spec, given.y
        kept = to_raster(given.kept, spec).flatten(1)
        exists = torch.ones_like(kept) if given.there is None else to_raster(given.there, spec).flatten(1)
        choice = Choice()
        for x in (drawn, *self._candidates(CANDIDATES - 1, given, generator)):
            values = to_raster(x if self.scaling is None else self.scaling(x), spec).flatten(1)
            log_probs = self._predicted(values, y)[1]
            choice.offer(values, log_probs.where(kept & exists, 0).double().sum(1), generator)
        values = choice.values
        assert values is not None

        def predict(values: Tensor) -> tuple[Tensor, Tensor]:
            params, log_probs = self._predicted(values, y)
            return params, log_probs.where(exists, 0)

        for _ in range(sweeps):
            noise = self.observation.noise(values.shape, generator, values.device)
            chance = uniform(values.shape, generator, values.device)

            def propose(place: int, params: Tensor, noise: Tensor = noise) -> Tensor:
                return self.observation.at(place).transform(params, noise[:, place])

            values = metropolis_sweep(values, exists & ~kept, predict, propose, chance)
        return self._as_examples(values, *given[:3])

    def _candidates(self, count: int, given: _Given, generator: Generator | None) -> tuple[Tensor, ...]:
        """Draw examples ``[N, *spec.shape]`` so many times, each value given those before it, all at once."""
        n = len(given.x)
        repeated = [None if part is None else part.repeat(count, *[1] * (part.ndim - 1)) for part in given]

        def noise(_: int, device: torch.device) -> Tensor:
            # Drawn for one after the other: an example's noise does not depend on how many there are.
            shape = n, self.spec.num_dims
            return torch.cat([self.observation.noise(shape, generator, device) for _ in range(count)])

        steps = self.network.steps(count * n, repeated[3])
        return self._draw(steps, noise, *repeated[:3]).split(n)

    def log_evidence(self, given: Given, generator: Generator | None) -> Tensor:
        """Estimate how probable what is kept is, ``[N]``, float64, but for a factor that no order of values changes.

        The mean, over candidates of which each value is drawn given those before it, of how probable they make what is
        kept; exact where that comes first.
        """
        kept = to_raster(given.kept, self.spec).flatten(1)
        weights = []
        for x in self._candidates(CANDIDATES, _Given(given.x, given.kept, None, given.y), generator):
            values = to_raster(x if self.scaling is None else self.scaling(x), self.spec).flatten(1)
            weights.append(self._predicted(values, given.y)[1].double().where(kept, 0).sum(1))
        return torch.stack(weights).logsumexp(0)

    def _predicted(self, values: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what values ``[N, D]`` are drawn from, ``[N, P, D]``, and their log-probabilities ``[N, D]``."""
        raster = values.unflatten(1, (-1, self.network.channels))
        with torch.autocast(self.device.type, enabled=False):
            params = self.drawn_from(self.network(raster, y))
            return params.flatten(2), self.observation.log_prob(raster, params).flatten(1)

    def drawn_from(self, params: Tensor) -> Tensor:
        """Return the parameters ``[N, P]`` of what a value is drawn from, given those that the network predicts."""
        return params

    @torch.no_grad()
    def draw(
        self,
        steps: Steps,
        generator: Generator | None,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        there: Tensor | None = None,
    ) -> Tensor:
        """Draw one value after another.

        Args:
            steps: Fresh steps of the network: the cached ones, or the naive ones to compare with.
            generator: Source of the noise.
            x: ``[N, *spec.shape]``, values to keep where ``mask`` is true.
            mask: Boolean, of the shape of ``x``; None keeps nothing.
            there: Boolean, of the shape of ``x``: where samples have values; None: everywhere. The others are padding,
                and nothing is computed after the longest sample.

        Returns:
            ``[N, *spec.shape]`` in the data's own values and dtype.
        """

        def noise(n: int, device: torch.device) -> Tensor:
            # All at once: that of one value costs as much as a step of a small network.
            return self.observation.noise((n, self.spec.num_dims), generator, device)

        return self._draw(steps, noise, x, mask, there)

    def _draw(
        self,
        steps: Steps,
        noise_of: Callable[[int, torch.device], Tensor],
        x: Tensor | None,
        mask: Tensor | None,
        there: Tensor | None,
    ) -> Tensor:
        scaled = x if x is None or self.scaling is None else self.scaling(x)
        given, kept = (None if t is None else to_raster(t, self.spec).flatten(1) for t in (scaled, mask))
        dims = self.spec.num_dims if there is None else self._dims_to_draw(there)
        values: list[Tensor] = []
        # Caches hold one type, so the steps run in the weights' own precision.
        with torch.autocast(self.device.type, enabled=False):
            params = next(steps)
            noise = noise_of(len(params), params.device)
            for dim in range(dims):
                # The next step needs the last value, but after the last value there is none.
                params = steps.send(values[-1]) if dim else params
                value = self.observation.at(dim).transform(self.drawn_from(params), noise[:, dim])
                if given is not None and kept is not None:
                    value = torch.where(kept[:, dim], given[:, dim].to(value.dtype), value)
                values.append(value)
        return self._as_examples(F.pad(torch.stack(values, dim=1), (0, self.spec.num_dims - dims)), x, mask, there)

    def _as_examples(self, values: Tensor, x: Tensor | None, mask: Tensor | None, there: Tensor | None) -> Tensor:
        """Return values ``[N, D]``, in order and scaled as the network has them, as examples; see :meth:`draw`."""
        made = from_raster(values.unflatten(1, (-1, self.network.channels)), self.spec)
        if self.scaling is not None:
            made = self.scaling.inverse(made)
            if x is not None and mask is not None:  # there and back would round what is kept
                made = made.where(~mask, x)
        if there is not None:
            made = made.where(there, modality_of(self.spec).padding(self.spec))
        return self.codec.as_data(made)

    def _dims_to_draw(self, there: Tensor) -> int:
        """Values up to the end of the longest sample."""
        places = torch.arange(1, self.spec.num_dims + 1, device=there.device)
        return max(1, int((to_raster(there, self.spec).flatten(1) * places).max()))
