"""A mixture over rows of a table: normals for its numbers, categorical distributions for its categories."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from genlab.core.codec import one_hot
from genlab.core.noise import normal, uniform
from genlab.core.spec import DataSpec
from genlab.networks.blocks.columns import Columns
from genlab.networks.mixture.binned_normal import log_cell_mass
from genlab.networks.mixture.mixtures import Mixture

__all__ = ["MixedMixture"]

_LOG_2PI = math.log(2 * math.pi)


class MixedMixture(Mixture):
    """A mixture of independent columns: a normal for numbers, a probability for each category.

    A rounded number has the normal's mass over its cell, any other number the density, both in the table's own units.
    EM replaces the mass of a cell by the density at its centre; the gradient is that of the exact masses. In a
    pseudo-example the numbers are standard normal, in units of standardized data, and categories as frequent as in the
    data as a whole.

    Args:
        components: K.
        spec: What one row is, with D columns, of which M are of numbers and C of categories.
        min_scale: Smallest standard deviation, in units of the data's.
    """

    average: Tensor
    numbers: Tensor
    symbols: Tensor

    def __init__(self, components: int, *, spec: DataSpec, min_scale: float) -> None:
        super().__init__(components, spec.num_dims)
        self.columns = Columns(spec)
        self.min_scale = min_scale
        is_category = self.columns.is_category
        self.register_buffer("numbers", (~is_category).nonzero()[:, 0], persistent=False)
        self.register_buffer("symbols", is_category.nonzero()[:, 0], persistent=False)
        levels = self.columns.levels[self.symbols]
        if len(self.numbers):
            self.mean = nn.Parameter(torch.zeros(components, len(self.numbers)))
            self.log_scale = nn.Parameter(torch.zeros(components, len(self.numbers)))
            """Logarithm of ``scale - min_scale``, ``[K, M]``."""
        if len(self.symbols):
            self.values = nn.Parameter(torch.zeros(components, int(levels.sum())))
            """Logits of the categories of one column after the other, ``[K, L]``."""
        # Categories of one column lie within a row of S places, of which those after its last are none.
        exists = torch.arange(self.columns.inputs) < levels[:, None]
        self.register_buffer("exists", exists, persistent=False)
        self.register_buffer("places", exists.flatten().nonzero()[:, 0], persistent=False)
        self.register_buffer("average", exists / levels[:, None])

    @property
    def scale(self) -> Tensor:
        """Standard deviations of numbers in units of standardized data, ``[K, M]``."""
        return self.min_scale + self.log_scale.exp()

    @property
    def log_probabilities(self) -> Tensor:
        """Of each category, ``[K, C, S]``; ``-inf`` where a column has no such category."""
        shape = (self.components, *self.exists.shape)
        padded = self.values.new_full((self.components, self.exists.numel()), -torch.inf)
        return padded.index_copy(1, self.places, self.values).view(shape).log_softmax(2)

    @property
    def em_row_elements(self) -> int:
        return self.components * (2 + len(self.numbers)) + self.exists.numel()

    def calibrate(self, x: Tensor) -> None:
        self.columns.fit(x)
        # As if each category had been seen once more, so that no average is 0.
        counts = self._one_hot(x).sum(0) + self.exists
        self.average.copy_(counts / counts.sum(1, keepdim=True))

    def component_log_prob(self, x: Tensor) -> Tensor:
        return self.partial_log_prob(x, torch.ones_like(x, dtype=torch.bool))

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        total = x.new_zeros(len(x), self.components, dtype=self.logits.dtype)
        if len(self.numbers):
            total = total + self._numbers_log_prob(x).where(there[:, None, self.numbers], 0).sum(2)
        if len(self.symbols):
            chosen = self.log_probabilities.permute(1, 2, 0)[
                torch.arange(len(self.symbols), device=x.device), x[:, self.symbols].long()
            ]
            total = total + chosen.where(there[:, self.symbols, None], 0).sum(1)
        return total

    def _numbers_log_prob(self, x: Tensor) -> Tensor:
        """Log-mass or log-density ``[N, K, M]`` of the numbers, in the table's own units."""
        scale = self.scale
        centre = (self.standardize(x)[:, None, : len(self.numbers)] - self.mean) / scale
        width = (self.columns.width[self.numbers] / scale).expand_as(centre)
        density = -0.5 * (centre.square() + _LOG_2PI) - (scale * self.columns.unit[self.numbers]).log()
        is_rounded = self.columns.is_rounded[self.numbers]
        return torch.where(is_rounded, log_cell_mass(centre, width), density)

    def standardize(self, x: Tensor) -> Tensor:
        numbers = self.columns.standardize(x)[:, self.numbers]
        return torch.cat([numbers, self._one_hot(x).flatten(1)], 1)

    def em_log_prob(self, features: Tensor) -> Tensor:
        numbers, symbols = features.split([len(self.numbers), self.exists.numel()], 1)
        total = features.new_zeros(len(features), self.components)
        if len(self.numbers):
            scale = self._em_scale()
            deviation = (numbers[:, None] - self.mean) / scale
            total = total - 0.5 * (deviation.square() + _LOG_2PI).sum(2) - scale.log().sum(1)
        if len(self.symbols):
            log_probabilities = self.log_probabilities.masked_fill(~self.exists, 0)
            total = total + symbols @ log_probabilities.flatten(1).T
        return total

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        numbers, symbols = features.split([len(self.numbers), self.exists.numel()], 1)
        count = responsibilities.sum(0)[:, None] + prior
        if len(self.numbers):
            mean = responsibilities.T @ numbers / count
            # A difference of large sums, which is precise enough: standardized data is of order one, in float64.
            squares = responsibilities.T @ numbers.square() - 2 * mean * (responsibilities.T @ numbers)
            squares = squares + responsibilities.sum(0)[:, None] * mean**2
            variance = (squares.clamp_min(0) + prior * (1 + mean**2)) / count
            scale = (variance + self.min_scale**2).sqrt()
            self.mean.data = mean
            self.log_scale.data = (scale - self.min_scale).clamp_min(1e-3 * self.min_scale).log()
        if len(self.symbols):
            counts = responsibilities.T @ symbols + prior * self.average.flatten()
            self.values.data = (counts / count).log()[:, self.places]

    def prior_log_prob(self) -> Tensor:
        total = torch.zeros_like(self.logits)
        if len(self.numbers):
            scale = self.scale
            squares = (1 + self.mean.square()) / scale.square()
            total = total - 0.5 * (squares + _LOG_2PI).sum(1) - scale.log().sum(1)
        if len(self.symbols):
            expected = self.average * self.log_probabilities.masked_fill(~self.exists, 0)
            total = total + expected.sum((1, 2))
        return total

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        z = self.logits.new_zeros(len(chosen), self.num_dims)
        if len(self.numbers):
            noise = normal((len(chosen), len(self.numbers)), generator, z.device, z.dtype)
            z[:, self.numbers] = self.mean[chosen] + self.scale[chosen] * noise
        x = self.columns.restore(z)
        if len(self.symbols):
            # By inversion. Without the last sum, which rounding may leave below 1, no category can exceed the last.
            last = self.columns.levels[self.symbols] - 1
            cumulative = self.log_probabilities.exp().cumsum(2)[chosen]
            u = uniform((len(chosen), len(self.symbols)), generator, z.device, z.dtype)
            x[:, self.symbols] = torch.minimum((cumulative <= u[..., None]).sum(2), last).to(x.dtype)
        return x

    def _one_hot(self, x: Tensor) -> Tensor:
        """Categories ``[N, C, S]``: 1 at each one's number."""
        return one_hot(x[:, self.symbols], self.columns.inputs, self.logits.dtype)

    def _em_scale(self) -> Tensor:
        # With this scale a density at its peak gives a cell the mass 1; with less, more than 1.
        width = self.columns.width[self.numbers] * self.columns.is_rounded[self.numbers]
        return torch.maximum(self.scale, width / math.sqrt(2 * math.pi))
