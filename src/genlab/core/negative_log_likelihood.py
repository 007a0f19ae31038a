"""Mean negative log-likelihood over a data set."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["NegativeLogLikelihood"]


class NegativeLogLikelihood(Metric):
    """Mean negative log-likelihood in nats per example, with its standard error.

    Sums are kept in float64 and added over processes, so the figure depends on neither batch size nor order.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "total_squares", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, log_prob: Tensor) -> None:
        """Add the log-probabilities ``[N]``, nats, of N examples."""
        nats = -log_prob.detach().double()
        self.total += nats.sum()
        self.total_squares += nats.square().sum()
        self.count += nats.numel()

    def compute(self) -> Tensor:
        """Return the mean, nats per example."""
        return self.total / self.count

    def standard_error(self) -> float:
        """Standard error of the mean over the examples seen by this process, nats; nan below two examples."""
        count = float(self.count)
        if count < 2:
            return math.nan
        variance = (float(self.total_squares) - float(self.total) ** 2 / count) / (count - 1)
        return math.sqrt(max(variance, 0.0) / count)
