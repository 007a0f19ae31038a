"""Autoregressive models: the probability of an example is the product of those of its values, each given the earlier.

The order is the raster's: row by row from the top left, the channels of a pixel one after the other.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.likelihood import mean_bits_per_dim, sum_dims
from genlab.core.spec import DataSpec
from genlab.models.base import GenerativeModel
from genlab.models.options import ConditionalOptions, Width
from genlab.networks.blocks.observations import ObservationName, observation_model
from genlab.networks.causal.base import CausalNetwork, Steps, from_raster, to_raster

__all__ = ["Autoregressive", "AutoregressiveOptions"]


class AutoregressiveOptions(ConditionalOptions):
    """The options of every autoregressive family.

    Attributes:
        observation: Distribution of a value; see :func:`genlab.networks.blocks.observations.observation_model`.
        components: Logistics of a ``logistic_mixture``.
    """

    observation: ObservationName
    components: Width


class Autoregressive(GenerativeModel):
    """What the autoregressive families share; each adds the network that predicts the values' distributions.

    The log-probability is exact. Samples are drawn value by value, every activation being computed once.

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
        self.observation = observation_model(observation, spec, components)

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
        values = to_raster(x, self.spec)
        there = None if mask is None else to_raster(mask, self.spec)
        return sum_dims(self.observation.log_prob(values, self.network(values, y)), there)

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        return self.draw(self.network.steps(n, self._labels_to_draw(n, y, generator)), generator)

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
        steps = self.network.steps(len(x), self._labels_to_draw(len(x), y, generator))
        return self.draw(steps, generator, x, kept)

    @torch.no_grad()
    def draw(
        self, steps: Steps, generator: Generator | None, x: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Draw one value after another.

        Args:
            steps: Fresh steps of the network: the cached ones, or the naive ones to compare with.
            generator: Source of the noise.
            x: ``[N, *spec.shape]``, values to keep where ``mask`` is true.
            mask: Boolean, of the shape of ``x``; None keeps nothing.

        Returns:
            ``[N, *spec.shape]`` in the data's own values and dtype.
        """
        given, kept = (None if t is None else to_raster(t, self.spec).flatten(1) for t in (x, mask))
        values: list[Tensor] = []
        # Caches hold one type, so the steps run in the weights' own precision.
        with torch.autocast(self.device.type, enabled=False):
            params = next(steps)
            # All at once: that of one value costs as much as a step of a small network.
            noise = self.observation.noise((len(params), self.spec.num_dims), generator, params.device)
            for dim in range(self.spec.num_dims):
                # The next step needs the last value, but after the last value there is none.
                params = steps.send(values[-1]) if dim else params
                value = self.observation.transform(params, noise[:, dim])
                if given is not None and kept is not None:
                    value = torch.where(kept[:, dim], given[:, dim].to(value.dtype), value)
                values.append(value)
        sites = torch.stack(values, dim=1).unflatten(1, (-1, self.network.channels))
        return self.codec.as_data(from_raster(sites, self.spec))
