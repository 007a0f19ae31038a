"""Stylized facts of series, as numbers: how values depend on earlier ones, and how heavy their tails are.

They are what the fluctuations of prices have in common, and of much else: Cont (2001), "Empirical properties of asset
returns: stylized facts and statistical issues". All are taken over windows of a series, none across two windows.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["DEPENDENCES", "FACTS", "TAIL_SHARE", "WindowFacts", "block_of", "gaps", "lags_of", "resampled"]

MOST_LAGS = 20
"""Steps, at most, between the values whose dependence is looked at."""
TAIL_SHARE = 0.05
"""Share of the values, those farthest from the mean, of which the tail index is."""
_TAIL_MARGIN = 4
"""How many times as many of the farthest values are kept, since a resample may leave some of them out."""

DEPENDENCES = {
    "autocorrelation": ("value", "value"),
    "autocorrelation_abs": ("size", "size"),
    "autocorrelation_squared": ("square", "square"),
    "leverage": ("value", "square"),
}
"""The facts that have lags: what is correlated with what comes later."""
FACTS = (*DEPENDENCES, "kurtosis", "tail_index")
"""All facts by their names."""


def lags_of(length: int) -> int:
    """Return up to which lag windows of a length are looked at: half of it, but 20 at most."""
    return max(1, min(MOST_LAGS, length // 2))


class WindowFacts:
    """The stylized facts of windows, and of any resample of these.

    With r the deviation of a value from its column's mean:

    - ``autocorrelation``, ``autocorrelation_abs``, ``autocorrelation_squared`` of r, \\|r\\| and r^2 at lags 1 to K;
    - ``leverage``: the correlation of r with the r^2 that comes k steps later, below zero where falls are followed by
      larger moves than rises are; Cont (2001), section 2, fact 9;
    - ``kurtosis``: E r^4 / (E r^2)^2, 3 for a normal distribution;
    - ``tail_index``: Hill's estimator, of the twentieth of all values with the largest \\|r\\|: the lower, the heavier
      the tails; Hill (1975), "A simple general approach to inference about the tail of a distribution".

    Means and variances are over all windows, and products over all pairs of values in one window, so that short
    windows do not bias them as their own means would. A resample keeps the columns' means: theirs differ from these
    by so little that it is felt to second order alone.

    Args:
        x: Windows ``[N, C, T]``, T at least 2.
    """

    def __init__(self, x: Tensor) -> None:
        values = x.double()
        values = values - values.mean((0, 2), keepdim=True)
        self.count, self.columns, self.length = values.shape
        self.lags = lags_of(self.length)
        signals = {"value": values, "size": values.abs(), "square": values.square()}
        signals = {name: signal - signal.mean((0, 2), keepdim=True) for name, signal in signals.items()}
        self._variances = {name: signal.square().mean(2) for name, signal in signals.items()}
        self._products = {
            name: torch.stack([_product(signals[first], signals[later], k + 1) for k in range(self.lags)], dim=2)
            for name, (first, later) in DEPENDENCES.items()
        }
        self._squares, self._fourths = values.square().mean(2), values.pow(4).mean(2)
        self._tails = [_Tail(values[:, column].abs()) for column in range(self.columns)]

    def compute(self, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Return the facts by their names.

        Args:
            weights: ``[B, N]``, how often each window is in each of B resamples, all of one size; None: all windows
                once.

        Returns:
            ``[B, C, K]`` of what has lags, ``[B, C]`` of the others, float64; nan for a column that never changes.
        """
        if weights is None:
            weights = torch.ones(1, self.count, dtype=torch.float64)
        shares = weights / weights.sum(1, keepdim=True)

        def mean(of: Tensor) -> Tensor:
            return (shares @ of.flatten(1)).view(len(shares), *of.shape[1:])

        deviations = {name: mean(variance).sqrt() for name, variance in self._variances.items()}
        facts = {
            name: mean(self._products[name]) / (deviations[first] * deviations[later])[..., None]
            for name, (first, later) in DEPENDENCES.items()
        }
        facts["kurtosis"] = mean(self._fourths) / mean(self._squares).square()
        facts["tail_index"] = torch.stack([tail.index(weights) for tail in self._tails], dim=1)
        return facts


def _product(first: Tensor, later: Tensor, lag: int) -> Tensor:
    """Mean ``[N, C]`` over each window of a value times another that comes so many steps later."""
    return (first[..., :-lag] * later[..., lag:]).mean(2)


class _Tail:
    """The largest sizes ``[N, T]`` of one column, and of which windows they are."""

    def __init__(self, sizes: Tensor) -> None:
        self.length = sizes.shape[1]
        order = sizes.flatten().argsort(descending=True, stable=True)
        order = order[: _TAIL_MARGIN * _tail_count(sizes.numel()) + 1]
        self.windows = order // self.length
        self.logs = sizes.flatten()[order].log()

    def index(self, weights: Tensor) -> Tensor:
        """Return Hill's estimates ``[B]`` of resamples, by how often ``[B, N]`` each window is in them."""
        return torch.stack([self._index(row[self.windows], row.sum()) for row in weights])

    def _index(self, copies: Tensor, windows: Tensor) -> Tensor:
        count = _tail_count(float(windows) * self.length)
        reached = copies.cumsum(0)
        # The value after the count largest ones: the threshold that these lie above.
        place = int((reached <= count).sum().clamp_max(len(copies) - 1))
        excess = (copies[:place] * (self.logs[:place] - self.logs[place])).sum()
        return count / excess


def _tail_count(values: float) -> int:
    return max(2, math.ceil(TAIL_SHARE * values))


def resampled(windows: int, size: int, resamples: int, generator: Generator, block: int = 1) -> Tensor:
    """Draw windows with replacement, a bootstrap; return how often each is drawn ``[resamples, windows]``, float64.

    Windows of one series that follow each other depend on each other: they are drawn in blocks of neighbours, the
    first one being that of the last, as in the circular block bootstrap of Politis and Romano (1992).

    Args:
        windows: How many windows there are.
        size: How many are drawn in each resample.
        resamples: Number of resamples.
        generator: On the CPU.
        block: Windows of a block; 1 for windows that are independent.
    """
    starts = torch.randint(windows, (resamples, -(-size // block)), generator=generator)
    drawn = ((starts[..., None] + torch.arange(block)) % windows).flatten(1)[:, :size]
    counts = torch.zeros(resamples, windows, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def block_of(windows: int) -> int:
    """Return the length of a block of so many windows: the cube root, with which the error of variances falls fastest;
    Hall, Horowitz and Jing (1995), "On blocking rules for the bootstrap with dependent data".
    """
    return max(1, round(windows ** (1 / 3)))


def gaps(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return how far facts are apart, ``[B]`` each: the mean absolute difference over columns and lags."""
    return {name: (first[name] - second[name]).abs().flatten(1).mean(1) for name in FACTS}
