"""Distances between sets of vectors: sliced Wasserstein distance and maximum mean discrepancy."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from genlab.measure.metrics.distances import centre_of, squared_distance_blocks
from genlab.measure.metrics.rows import FeatureMetric, MetricError, canonical_order, require_examples, subset

__all__ = ["MaximumMeanDiscrepancy", "SlicedWasserstein"]

PROJECTIONS_AT_ONCE = 32
"""Projections whose sorted values are held at the same time: 25 MB for 10,000 real and generated examples."""

BANDWIDTH_EXAMPLES = 2000
"""Real examples, at most, whose pairs give the median distance."""


class SlicedWasserstein(FeatureMetric):
    """Sliced Wasserstein distance: the mean over directions of one-dimensional Wasserstein distances.

    (mean over directions of W_p^p)^(1/p); Bonneel et al. (2015), "Sliced and Radon Wasserstein barycenters of
    measures". The one-dimensional distance is exact for any two numbers of examples: the integral of the p-th power of
    the difference of the two quantile functions, both of which are steps.

    Args:
        num_features: Length D of one example's vector.
        order: The power p: 1 or 2.
        num_projections: Number of directions, uniform on the sphere; the same for every model.
        seed: Seed of the directions.
    """

    higher_is_better = False

    def __init__(self, num_features: int, order: Literal[1, 2] = 2, num_projections: int = 256, seed: int = 0) -> None:
        super().__init__(num_features)
        if order not in (1, 2) or num_projections < 1:
            raise ValueError(f"order must be 1 or 2 and num_projections at least 1, not {order} and {num_projections}.")
        self.order = order
        self.num_projections = num_projections
        self.seed = seed

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar in the data's units.

        Raises:
            MetricError: Without a real or without a generated example.
        """
        real, fake = self.rows("real_features"), self.rows("fake_features")
        require_examples("real", len(real), 1)
        require_examples("generated", len(fake), 1)
        generator = Generator().manual_seed(self.seed)
        normals = torch.randn(self.num_projections, self.num_features, dtype=torch.float64, generator=generator)
        directions = (normals / normals.norm(dim=1, keepdim=True)).to(real.device)
        widths, real_steps, fake_steps = _common_steps(len(real), len(fake), real.device)
        total = torch.zeros((), dtype=torch.float64, device=real.device)
        for some in directions.split(PROJECTIONS_AT_ONCE):
            gaps = (_quantiles(real, some)[:, real_steps] - _quantiles(fake, some)[:, fake_steps]).abs_()
            total += (gaps.pow_(self.order) @ widths).sum()
        return (total / self.num_projections) ** (1 / self.order)


def _quantiles(points: Tensor, directions: Tensor) -> Tensor:
    return (directions @ points.double().T).sort(dim=1).values


def _common_steps(first: int, second: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Widths of the steps that two quantile functions have in common, and which value of each belongs to a step."""
    # Multiples of 1 / (first * second) are whole numbers, so that equal borders are equal.
    borders = torch.cat([torch.arange(first + 1) * second, torch.arange(second) * first]).unique()
    starts, widths = borders[:-1], borders.diff().double() / (first * second)
    return widths.to(device), (starts // second).to(device), (starts // first).to(device)


class MaximumMeanDiscrepancy(FeatureMetric):
    """Unbiased squared maximum mean discrepancy with a mixture of Gaussian kernels.

    Gretton et al. (2012), "A kernel two-sample test", lemma 6. The kernel is the mean of exp(-d^2 / (2 s m)) over
    s = 1/4, 1/2, 1, 2, 4, where m is the median squared distance between real examples (their median heuristic), of a
    seeded choice of at most 2,000. It is fixed by the real data alone, so that models compare. The expectation is zero
    for equal distributions, so a figure may be below zero.

    Args:
        num_features: Length D of one example's vector.
        seed: Seed of the real examples that give the median.
    """

    higher_is_better = False

    def __init__(self, num_features: int, seed: int = 0) -> None:
        super().__init__(num_features)
        self.seed = seed

    def compute(self) -> Tensor:
        """Return the squared discrepancy, a float64 scalar.

        Raises:
            MetricError: With fewer than two real or generated examples, or if at least half of the pairs of real
                examples are equal.
        """
        real, fake = self.rows("real_features"), self.rows("fake_features")
        require_examples("real", len(real), 2)
        require_examples("generated", len(fake), 2)
        bandwidth, centre = self._squared_bandwidth(real), centre_of(real)
        n, m = len(real), len(fake)
        # An example's kernel with itself is 1.
        among_real = (_kernel_sum(real, real, bandwidth, centre) - n) / (n * (n - 1))
        among_fake = (_kernel_sum(fake, fake, bandwidth, centre) - m) / (m * (m - 1))
        return among_real + among_fake - 2 * _kernel_sum(real, fake, bandwidth, centre) / (n * m)

    def _squared_bandwidth(self, real: Tensor) -> Tensor:
        chosen = subset(canonical_order(real), BANDWIDTH_EXAMPLES, Generator().manual_seed(self.seed))
        median = torch.pdist(chosen.double()).median().square()
        if median <= 0:
            raise MetricError("At least half of the pairs of real examples are equal, which leaves no bandwidth.")
        return median


def _kernel_sum(first: Tensor, second: Tensor, bandwidth: Tensor, centre: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64, device=first.device)
    for rows, columns, values in squared_distance_blocks(first, second, centre):
        # A set's kernels with itself are symmetric: blocks below the diagonal equal those above.
        if first is second and columns.start < rows.start:
            continue
        weight = 2 if first is second and columns.start > rows.start else 1
        kernel = values.div_(-8 * bandwidth).exp_()
        total += weight * kernel.sum()
        # Half the bandwidth is the square: one exponential serves s = 4, 2, 1, 1/2 and 1/4.
        for _ in range(4):
            total += weight * kernel.square_().sum()
    return total / 5
