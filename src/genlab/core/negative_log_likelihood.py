"""Mean negative log-likelihood over a data set."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["NegativeLogLikelihood"]


class NegativeLogLikelihood(Metric):
    """Mean negative log-likelihood in nats per example and bits per dimension, with their standard errors.

    Sums are kept in float64 and added over processes, so the figure depends on neither batch size nor order. Where
    examples differ in length each value counts as much: bits per dimension are those of all examples over the values
    of all examples, and their standard error is that of such a ratio.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "total_squares", "count", "dims", "dims_squares", "products"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, log_prob: Tensor, dims: Tensor | int = 1) -> None:
        """Add N examples.

        Args:
            log_prob: ``[N]``, nats.
            dims: How many values each has: ``[N]``, or one number for all.
        """
        nats = -log_prob.detach().double()
        dims = torch.as_tensor(dims, dtype=torch.float64, device=nats.device).expand_as(nats)
        self.total += nats.sum()
        self.total_squares += nats.square().sum()
        self.count += nats.numel()
        self.dims += dims.sum()
        self.dims_squares += dims.square().sum()
        self.products += (nats * dims).sum()

    def compute(self) -> Tensor:
        """Return the mean, nats per example."""
        return self.total / self.count

    def bits_per_dim(self) -> Tensor:
        """Return bits per dimension over all values, of what this process has seen or, in a sync context, all."""
        return self.total / (self.dims * math.log(2))

    def standard_error(self) -> float:
        """Standard error of the mean over the examples seen by this process, nats; nan below two examples."""
        return self._error(float(self.total) / float(self.count), 0.0) if float(self.count) else math.nan

    def bits_per_dim_standard_error(self) -> float:
        """Standard error of :meth:`bits_per_dim` over the examples seen by this process; nan below two examples.

        Cochran (1977), "Sampling Techniques", equation 6.4: a ratio of totals varies as the residuals from it do.
        """
        if not float(self.dims):
            return math.nan
        nats_per_dim = float(self.total) / float(self.dims)
        return self._error(0.0, nats_per_dim) / (float(self.dims) / float(self.count) * math.log(2))

    def _error(self, mean: float, slope: float) -> float:
        """Standard error of the mean of what is left of each example's nats: minus a mean, and a slope per value."""
        count = float(self.count)
        if count < 2:
            return math.nan
        total, dims = float(self.total), float(self.dims)
        squares = float(self.total_squares) - 2 * slope * float(self.products) + slope**2 * float(self.dims_squares)
        squares += count * mean**2 - 2 * mean * (total - slope * dims)
        return math.sqrt(max(squares / (count - 1), 0.0) / count)
