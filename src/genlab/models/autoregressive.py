"""Autoregressive models: the probability of an example is the product of those of its values, each given the earlier.

The order is the raster's: row by row from the top left, the channels of a pixel one after the other.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.likelihood import mean_bits_per_dim, sum_dims
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.models.options import ConditionalOptions, Width
from genlab.networks.blocks.channel_scaling import ChannelScaling
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.blocks.mixed_observation import observation_of
from genlab.networks.blocks.observations import ObservationName
from genlab.networks.causal.base import CausalNetwork, Steps, from_raster, to_raster

__all__ = ["Autoregressive", "AutoregressiveOptions"]


class AutoregressiveOptions(ConditionalOptions):
    """The options of every autoregressive family.

    Attributes:
        observation: Distribution of a value; see :func:`genlab.networks.blocks.observations.observation_model`.
        components: Logistics of a ``logistic_mixture``, and of a table's numbers.
    """

    observation: ObservationName
    components: Width


class Autoregressive(GenerativeModel):
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

    def _there(self, n: int, y: Tensor | None, generator: Generator | None) -> Tensor | None:
        """Draw where samples have values, ``[n, *spec.shape]``; None: everywhere."""
        return None if self.lengths is None else self.lengths.sample(n, y, generator)

    def inpaint(self, x: Tensor, mask: Tensor, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Keep the values of ``x`` where ``mask`` is true and draw the others, one after the other.

        A value is drawn given only what precedes it in raster order, kept or drawn: what is kept below it, or to its
        right, has no influence on it. So this samples from the model given the kept values where those come first,
        like the upper part of an image, and only then.

        Args:
            x: ``[N, *spec.shape]`` in the data's own values; what stands where ``mask`` is false does not matter.
            mask: Boolean, broadcasts with ``x``.
            y: Labels ``[N]`` for class-conditional models; drawn uniformly when None.
            generator: Source of the noise. Kept values use up theirs too, so with nothing kept this is :meth:`sample`.

        Returns:
            ``[N, *spec.shape]`` in the data's own values and dtype.

        Raises:
            GenlabError: If ``mask`` is not boolean or does not broadcast, or what is kept of ``x`` is no such data.
        """
        self.codec.check_shape(x)
        if mask.dtype != torch.bool:
            raise GenlabError(f"mask is {mask.dtype}, expected torch.bool, true where values are kept.")
        try:
            kept = mask.expand_as(x)
        except RuntimeError as error:
            raise GenlabError(
                f"mask has shape {list(mask.shape)}, expected one that broadcasts to that of x, {list(x.shape)}."
            ) from error
        self.codec.check(x.masked_fill(~kept, 0))
        y = self._labels_to_draw(len(x), y, generator)
        there = self._there(len(x), y, generator)
        if there is not None:
            # An example does not end before the last value that is kept.
            there = there | (kept.flip(-1).cumsum(-1) > 0).flip(-1)
        return self.draw(self.network.steps(len(x), y), generator, x, kept, there)

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
        scaled = x if x is None or self.scaling is None else self.scaling(x)
        given, kept = (None if t is None else to_raster(t, self.spec).flatten(1) for t in (scaled, mask))
        dims = self.spec.num_dims if there is None else self._dims_to_draw(there)
        values: list[Tensor] = []
        # Caches hold one type, so the steps run in the weights' own precision.
        with torch.autocast(self.device.type, enabled=False):
            params = next(steps)
            # All at once: that of one value costs as much as a step of a small network.
            noise = self.observation.noise((len(params), self.spec.num_dims), generator, params.device)
            for dim in range(dims):
                # The next step needs the last value, but after the last value there is none.
                params = steps.send(values[-1]) if dim else params
                value = self.observation.at(dim).transform(self.drawn_from(params), noise[:, dim])
                if given is not None and kept is not None:
                    value = torch.where(kept[:, dim], given[:, dim].to(value.dtype), value)
                values.append(value)
        drawn = F.pad(torch.stack(values, dim=1), (0, self.spec.num_dims - dims))
        made = from_raster(drawn.unflatten(1, (-1, self.network.channels)), self.spec)
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
