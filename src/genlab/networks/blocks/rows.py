"""Rows of a mixed table as vectors that a model of continuous data can learn, and back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from genlab.core.codec import one_hot
from genlab.core.noise import uniform
from genlab.core.spec import DataSpec

__all__ = ["MOST_ROWS", "Rows", "encodes_rows"]

MOST_ROWS = 1_000_000
"""Training rows, or all where there are fewer, whose quantiles are taken."""
_EVEN, _IN_TAILS = 768, 256
"""Quantiles of a column at even steps of probability, and at even steps of the normal variable, dense in the tails."""


def encodes_rows(spec: DataSpec) -> bool:
    """Say whether examples are rows whose columns differ in kind, or have numbers that come again and again."""
    return bool(spec.needs & {"fields", "cells"})


class Rows(nn.Module):
    """Vectors of rows: numbers become standard normal, column by column, and of a category there is 1 among -1.

    A number passes the distribution function of its column and the normal quantile function, as in TabDDPM, Kotelnikov
    et al. (2023): heavy tails and spikes are gone, and what a model has to learn is how columns depend on
    each other. A value that comes again and again, where the distribution function jumps, gets a random place within
    the jump, each time another one: Rueschendorf (2009), "On the distributional transform", proposition 2.1. All places
    of a jump lead back to its value. Numbers outside of those that it was fitted to count as the nearest of them, so
    that none is drawn there either.

    A category is a vector of -1 with 1 at its number, analog bits as of Chen et al. (2023), but one for each category;
    the largest says which. So the mean square of each input is 1 for numbers and categories.

    Args:
        spec: What one row is; its fields are the columns.

    Attributes:
        dims: Length of a vector: its numbers, and then the categories of each column that has some.
        spec: What such a vector is to a network: a row of as many numbers, without columns of a name.
        levels: Number of categories of the columns that have some.
    """

    values: Tensor
    probabilities: Tensor
    numbers: Tensor
    categories: Tensor
    offsets: Tensor
    is_rounded: Tensor
    per_unit: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        numbers = [place for place, field in enumerate(spec.fields) if field.levels is None]
        categories = [place for place, field in enumerate(spec.fields) if field.levels is not None]
        self._categories = categories
        self.levels = [field.levels for field in spec.fields if field.levels is not None]
        self.num_numbers, self.symbols = len(numbers), sum(self.levels)
        self.dims = self.num_numbers + self.symbols
        self.spec = replace(spec, shape=(self.dims,), fields=(), predicted=None)
        knots = torch.linspace(0, 1, _EVEN + _IN_TAILS)
        self.register_buffer("probabilities", knots)
        self.register_buffer("values", knots.repeat(len(numbers), 1))
        rounded = [spec.fields[place] for place in numbers]
        fixed = {
            "numbers": torch.tensor(numbers, dtype=torch.int64),
            "categories": torch.tensor(categories, dtype=torch.int64),
            "offsets": torch.tensor([sum(self.levels[:i]) for i in range(len(self.levels))], dtype=torch.int64),
            "is_rounded": torch.tensor([field.rounded for field in rounded], dtype=torch.bool),
            "per_unit": torch.tensor([10.0 ** (field.decimals or 0) if field.rounded else 1.0 for field in rounded]),
        }
        for name, buffer in fixed.items():
            self.register_buffer(name, buffer, persistent=False)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the quantiles of the columns of numbers of ``x [N, D]``."""
        rows = len(x)
        even = (torch.arange(_EVEN, dtype=torch.float64) + 0.5) / _EVEN
        end = torch.special.ndtri(torch.tensor(0.5 / rows, dtype=torch.float64))
        in_tails = torch.special.ndtr(torch.linspace(float(end), -float(end), _IN_TAILS, dtype=torch.float64))
        probabilities = torch.cat([even, in_tails]).sort().values.clamp(0.5 / rows, 1 - 0.5 / rows).to(x.device)
        # The i-th value of N, counted from 0, stands at the probability (i + 1/2) / N.
        places = (rows * probabilities - 0.5).clamp(0, rows - 1)
        columns = x[:, self.numbers].double().sort(0).values.T
        below, above = (columns[:, place.long()] for place in (places.floor(), places.ceil()))
        self.values.copy_(torch.lerp(below, above, places - places.floor()))
        self.probabilities.copy_(probabilities)

    def encode(self, x: Tensor, within: float | None = None) -> Tensor:
        """Map rows ``[N, D]`` to vectors ``[N, dims]``.

        Args:
            x: In the table's own values.
            within: Where in its jump a value stands that comes again and again, in [0, 1]; None: at random, each anew.
        """
        symbols = x[:, self.categories].long() + self.offsets
        of_categories = torch.full((len(x), self.symbols), -1.0, dtype=self.values.dtype, device=x.device)
        return torch.cat(
            [self._normal_scores(x[:, self.numbers], within), of_categories.scatter_(1, symbols, 1)], dim=1
        )

    def decode(self, z: Tensor) -> Tensor:
        """Map vectors ``[N, dims]`` to rows ``[N, D]``, in the table's own values."""
        x = z.new_empty(z.shape[0], len(self.numbers) + len(self.categories))
        x[:, self.numbers] = self._quantiles(self.of_numbers(z))
        for place, logits in zip(self._categories, self.by_column(self.of_categories(z)), strict=True):
            x[:, place] = logits.argmax(1).to(x.dtype)
        return x

    def of_numbers(self, vectors: Tensor) -> Tensor:
        """Return the part of vectors ``[N, dims]`` that is of numbers, ``[N, num_numbers]``."""
        return vectors[:, : self.num_numbers]

    def of_categories(self, vectors: Tensor) -> Tensor:
        """Return the part of vectors ``[N, dims]`` that is of categories, ``[N, symbols]``."""
        return vectors[:, self.num_numbers :]

    def of_columns(self, marks: Tensor) -> Tensor:
        """Return the values of vectors that are of marked columns, ``[N, D]`` to ``[N, dims]``, both bool."""
        columns = zip(self._categories, self.levels, strict=True)
        of_categories = [marks[:, place, None].expand(-1, levels) for place, levels in columns]
        return torch.cat([marks[:, self.numbers], *of_categories], dim=1)

    def log_posterior(self, noisy: Tensor, log_prior: Tensor, sigma: Tensor) -> Tensor:
        """Return the log-probabilities of categories whose vectors came with normal noise, by Bayes' rule.

        A vector of -1 with 1 at k has, but for a constant, the log-density ``2 noisy_k / sigma^2`` at a noisy one.

        Args:
            noisy: Vectors of categories with noise, ``[N, symbols]``.
            log_prior: Log-probabilities of the categories by all else that is known, up to a constant of each column,
                ``[N, symbols]``.
            sigma: Standard deviation of the noise, broadcastable to these.
        """
        scores = self.by_column(log_prior + 2 * noisy / sigma.square())
        return torch.cat([each.log_softmax(1) for each in scores], dim=1) if scores else log_prior

    def by_column(self, symbols: Tensor) -> tuple[Tensor, ...]:
        """Split what belongs to categories, ``[..., symbols]``, into the columns that have some."""
        return symbols.split(self.levels, dim=-1) if self.levels else ()

    def frequencies(self, x: Tensor) -> Tensor:
        """Return how frequent each category is in its column, of rows ``[N, D]``: ``[symbols]``."""
        columns = zip(x[:, self.categories].T, self.levels, strict=True)
        found = [one_hot(column, levels).mean(0) for column, levels in columns]
        return torch.cat(found) if found else x.new_zeros(0)

    def _normal_scores(self, x: Tensor, within: float | None) -> Tensor:
        columns = x.to(self.values.dtype).T.contiguous()
        columns = columns.clamp(self.values[:, :1], self.values[:, -1:])
        first = torch.searchsorted(self.values, columns)
        after = torch.searchsorted(self.values, columns, right=True)
        jumps = after > first  # the value is a quantile, or many
        low, high = torch.where(jumps, first, first - 1), torch.where(jumps, after - 1, first)
        start, end = self.values.gather(1, low), self.values.gather(1, high)
        places = uniform(x.shape, None, x.device).T if within is None else torch.full_like(columns, within)
        share = torch.where(jumps, places, (columns - start) / (end - start))
        return torch.special.ndtri(torch.lerp(self.probabilities[low], self.probabilities[high], share)).T

    def _quantiles(self, z: Tensor) -> Tensor:
        p = torch.special.ndtr(z.to(self.values.dtype).T.contiguous())
        p = p.clamp(self.probabilities[0], self.probabilities[-1])
        above = torch.searchsorted(self.probabilities, p, right=True).clamp(max=len(self.probabilities) - 1)
        start, end = self.probabilities[above - 1], self.probabilities[above]
        share = (p - start) / (end - start).clamp_min(torch.finfo(p.dtype).tiny)
        x = torch.lerp(self.values.gather(1, above - 1), self.values.gather(1, above), share).T
        return torch.where(self.is_rounded, (x * self.per_unit).round() / self.per_unit, x)
