"""Distributions over the columns of a table, from the parameters that a network predicts for each."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.observations import (
    ObservationModel,
    ObservationName,
    choose,
    observation_model,
    precise,
    soft_floor,
)

__all__ = ["MixedObservation", "observation_of"]

_LEAST_LOG_SCALE = -7.0
_UNIT_SCALE = math.log(math.sqrt(3) / math.pi)
"""Logarithm of the scale at which a logistic distribution has the deviation 1."""
_LEAST_U = 2.0**-24


class MixedObservation(ObservationModel):
    """Of a number a mixture of logistics, of a category a probability for each.

    The parameters of a number are the weights' logits, the means and the log-scales of the components, in units of
    standardized data; those of a category are the first logits. A rounded number has the mass of its cell, exactly, any
    other number the density, both in the table's own units. Zero parameters spread the components evenly over two
    deviations to either side. What the parameters of a column exceed those that it has has no effect.

    Args:
        columns: What the columns are, and what standardizes them.
        components: Logistics of a number.
        which: The columns that this is of; all by default.
    """

    name = "mixed"
    num_noises = 2

    def __init__(self, columns: Columns, components: int, which: slice = slice(None)) -> None:
        self.columns = columns
        self.components = components
        self.which = which
        self.num_params = max(3 * components, columns.inputs)

    def at(self, dim: int) -> MixedObservation:
        return MixedObservation(self.columns, self.components, slice(dim, dim + 1))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        values, params = x.flatten(1), precise(params).flatten(2)
        is_category = self.columns.is_category[self.which]
        symbols = values.where(is_category, 0).long()[:, None]
        of_symbols = self._log_probabilities(params).gather(1, symbols)[:, 0]
        return torch.where(is_category, of_symbols, self._log_prob_of_numbers(values, params)).view(x.shape)

    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        shape = params[:, 0].shape
        params, noise = precise(params).reshape(len(params), self.num_params, -1), noise.reshape(len(params), -1, 2)
        log_weights, means, log_scales = self._components(params)
        chosen = choose(log_weights.exp(), noise[..., 0])[:, None]
        standard_logistic = torch.logit(noise[..., 1].to(means.dtype).clamp(_LEAST_U, 1 - _LEAST_U))
        z = means.gather(1, chosen)[:, 0] + log_scales.gather(1, chosen)[:, 0].exp() * standard_logistic
        symbols = choose(self._log_probabilities(params).exp(), noise[..., 0])
        # Rounding may leave the sum up to the last category below 1, and those after it are none.
        symbols = torch.minimum(symbols, self.columns.levels[self.which] - 1).to(z.dtype)
        is_category = self.columns.is_category[self.which]
        return torch.where(is_category, symbols, self.columns.restore(z, self.which)).float().view(shape)

    def mean(self, params: Tensor) -> Tensor:
        """Of a number the expectation; of a category, which has none, the most probable one."""
        shape, params = params[:, 0].shape, precise(params).reshape(params.shape[0], self.num_params, -1)
        log_weights, means, _ = self._components(params)
        numbers = self.columns.location[self.which] + self.columns.unit[self.which] * (log_weights.exp() * means).sum(1)
        symbols = self._log_probabilities(params).argmax(1).to(numbers.dtype)
        return torch.where(self.columns.is_category[self.which], symbols, numbers).view(shape)

    def _components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and log-scales, in units of standardized data, each ``[N, K, D]``."""
        logits, means, log_scales = params[:, : 3 * self.components].chunk(3, dim=1)
        starts = 2 * (2 * torch.arange(self.components, device=params.device, dtype=params.dtype) + 1)
        starts = (starts / self.components - 2)[:, None]
        log_scales = log_scales + _UNIT_SCALE + math.log(min(1.0, 2 / self.components))
        return logits.log_softmax(1), means + starts, soft_floor(log_scales, _LEAST_LOG_SCALE).clamp(max=15.0)

    def _log_prob_of_numbers(self, values: Tensor, params: Tensor) -> Tensor:
        log_weights, means, log_scales = self._components(params)
        inverse_scale, is_rounded = torch.exp(-log_scales), self.columns.is_rounded[self.which]
        deviation = (self.columns.standardize(values, self.which)[:, None] - means) * inverse_scale
        # A difference of two sigmoids has the logarithm of a product, however close they are: see LogisticMixture.
        width = self.columns.width[self.which].where(is_rounded, 1) * inverse_scale
        below, above = F.logsigmoid(deviation + width / 2), F.logsigmoid(width / 2 - deviation)
        mass = below + above + torch.log(-torch.expm1(-width))
        density = F.logsigmoid(deviation) + F.logsigmoid(-deviation) - log_scales
        density = density - self.columns.unit[self.which].log()
        return torch.logsumexp(log_weights + torch.where(is_rounded, mass, density), dim=1)

    def _log_probabilities(self, params: Tensor) -> Tensor:
        """Log-probabilities ``[N, S, D]`` of categories; ``-inf`` of those that a column has not."""
        exists = torch.arange(self.columns.inputs, device=params.device)[:, None] < self.columns.levels[self.which]
        return params[:, : self.columns.inputs].masked_fill(~exists, -torch.inf).log_softmax(1)


def observation_of(name: ObservationName, spec: DataSpec, components: int, columns: Columns | None) -> ObservationModel:
    """Make the distribution of a name for data, or of columns that differ in kind where they are given.

    Args:
        name: As for :func:`observation_model`; of columns ``auto``.
        spec: What one example is.
        components: Logistics of a mixture.
        columns: What the columns are; None for data whose dimensions are alike.

    Raises:
        GenlabError: If the distribution is not one over such data.
    """
    if columns is None:
        return observation_model(name, spec, components)
    if name != "auto":
        raise GenlabError(
            f"The {name} distribution was asked for, but {spec.name} is a table, whose columns have each their own. "
            "Use observation=auto."
        )
    return MixedObservation(columns, components)
