"""A mixture of normals over integers, which are the bins of a continuous axis."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.codec import cells_to_levels, levels_to_centres
from genlab.networks.mixture.binned_normal import CensoredMoments, fit_censored_normal, log_interval_mass
from genlab.networks.mixture.mixtures import DiagonalGaussianMixture

__all__ = ["BinnedGaussianMixture"]

_LOG_2PI = math.log(2 * math.pi)


class BinnedGaussianMixture(DiagonalGaussianMixture):
    """A mixture of diagonal normals over integers: a level has the normal's mass over its bin.

    On ``[0, 1]`` level i has the bin ``[i / levels, (i + 1) / levels]``; the outermost bins reach to infinity, so that
    the probabilities sum to one. EM takes the two outer levels as censored and replaces the mass of an inner bin by
    the density at its centre; the gradient is that of the exact masses.

    Args:
        components: K.
        num_dims: D.
        min_scale: Smallest standard deviation, in units of the data's.
        levels: Number of values of a dimension.
    """

    em_dtype = torch.float32

    def __init__(self, components: int, num_dims: int, *, min_scale: float, levels: int) -> None:
        super().__init__(components, num_dims, min_scale=min_scale, common_scale=True)
        self.levels = levels

    @property
    def em_row_elements(self) -> int:
        return self.components

    def calibrate(self, x: Tensor) -> None:
        super().calibrate(levels_to_centres(x, self.levels, torch.float64))

    def standardize(self, x: Tensor) -> Tensor:
        return super().standardize(levels_to_centres(x, self.levels, self.unit.dtype))

    def component_log_prob(self, x: Tensor) -> Tensor:
        return self._sum_of_log_masses(x, None)

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        return self._sum_of_log_masses(x, there.to(self.unit.dtype))

    def _sum_of_log_masses(self, x: Tensor, weights: Tensor | None) -> Tensor:
        # Many dimensions share a level across a batch (the background): each pair that occurs is evaluated once.
        pairs = x.long() + self.levels * torch.arange(self.num_dims, device=x.device)
        occurs = torch.zeros(self.num_dims * self.levels, dtype=torch.bool, device=x.device)
        occurs[pairs] = True
        found = occurs.nonzero()[:, 0]
        place = (occurs.cumsum(0) - 1)[pairs]
        log_masses = self._level_log_mass(found // self.levels, found % self.levels)
        return F.embedding_bag(place, log_masses, mode="sum", per_sample_weights=weights)

    def em_features(self, x: Tensor) -> Tensor:
        z = self.standardize(x)
        below, above = x == 0, x == self.levels - 1
        inner = z.masked_fill(below | above, 0)
        return torch.cat([below.to(z.dtype), above.to(z.dtype), inner, inner.square()], 1)

    def em_log_prob(self, features: Tensor) -> Tensor:
        scale, mean = self._em_scale(), self.mean
        log_width = -math.log(self.levels) - self.unit.log()
        lower, upper = self._bounds()
        inner = log_width - 0.5 * (_LOG_2PI + (mean / scale).square()) - scale.log()
        below = torch.special.log_ndtr((lower - mean) / scale) - inner
        above = torch.special.log_ndtr((mean - upper) / scale) - inner
        weights = torch.cat([below, above, mean / scale.square(), -0.5 / scale.square()], 1)
        return features @ weights.T + inner.sum(1)

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        below, above, total, squares = (responsibilities.T @ features).double().chunk(4, 1)
        between = responsibilities.sum(0)[:, None] - below - above
        moments = CensoredMoments(below, above, between.clamp_min(0) + prior, total, squares + prior)
        lower, upper = (bound.double() for bound in self._bounds())
        mean, scale = fit_censored_normal(moments, lower, upper, self.min_scale)
        self.mean.data = mean.to(self.mean.dtype)
        self._set_scale(scale.to(self.mean.dtype))

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        return cells_to_levels(super().draw(chosen, generator), self.levels)

    def _level_log_mass(self, dims: Tensor, levels: Tensor) -> Tensor:
        """Log-masses ``[U, K]`` of the bins of given dimensions ``[U]`` and levels ``[U]``."""
        mean, scale = self.mean.T[dims], self.scale.T[dims]
        ends = torch.stack([levels, levels + 1]).to(self.unit.dtype) / self.levels
        low, high = (((ends - self.location[dims]) / self.unit[dims])[..., None] - mean) / scale
        # Only here, so that no gradient meets the product of zero and infinity.
        low = low.masked_fill((levels == 0)[:, None], -torch.inf)
        high = high.masked_fill((levels == self.levels - 1)[:, None], torch.inf)
        return log_interval_mass(low, high)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """Ends of the outermost bins that are finite, standardized."""
        ends = torch.tensor([[1.0], [self.levels - 1.0]]).to(self.unit) / self.levels
        lower, upper = (ends - self.location) / self.unit
        return lower, upper

    def _em_scale(self) -> Tensor:
        # With this scale a density at its peak gives a bin the mass 1; with less, more than 1.
        return torch.maximum(self.scale, 1 / (math.sqrt(2 * math.pi) * self.levels * self.unit))
