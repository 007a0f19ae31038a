"""How far apart the frequencies of short strings are in generated and in real text."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.measure.metrics.rows import RowsMetric, require_examples

__all__ = ["ORDERS", "NgramDivergence"]

ORDERS = 4
"""Symbols of the longest strings that are counted."""
_BLOCKS = 20
"""Parts of the samples that the jackknife leaves out in turn."""


class NgramDivergence(RowsMetric):
    """Jensen-Shannon divergence between the frequencies of n symbols in a row, for n of 1 to 4 and their mean.

    In bits, from 0 for equal frequencies to 1 for no string in common (Lin, 1991, "Divergence measures based on the
    Shannon entropy", equation 4.1). Finite texts of one source differ too, the shorter they are and the longer the
    strings, so a figure stands beside that of real text of the same size. No string goes over the end of an example.

    Args:
        length: Symbols of an example.
    """

    higher_is_better = False

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        for name in ("real_symbols", "fake_symbols"):
            self.add_rows(name, torch.empty(0, length, dtype=torch.int64))

    def update(self, symbols: Tensor, real: bool) -> None:
        """Add real or generated examples ``[N, length]``, whole numbers from 0 on.

        Raises:
            ValueError: If the shape or type is another one.
        """
        if symbols.ndim != 2 or symbols.shape[1] != self.length or symbols.is_floating_point():
            raise ValueError(f"Symbols must be whole numbers [N, {self.length}], not {list(symbols.shape)}.")
        self.keep("real_symbols" if real else "fake_symbols", symbols.long())

    def compute(self) -> dict[str, Tensor]:
        """Return ``divergence``, the mean, ``standard_error``, and ``by_order`` ``[4]``, float64.

        The standard error is of the samples alone, by a jackknife over 20 parts of them. Strings longer than an example
        are left out.

        Raises:
            MetricError: Without a real example, or with fewer than 20 generated ones.
        """
        real, fake = self.rows("real_symbols"), self.rows("fake_symbols")
        require_examples("real", len(real), 1)
        require_examples("generated", len(fake), _BLOCKS)
        blocks = torch.arange(len(fake), device=fake.device) * _BLOCKS // len(fake)
        both = torch.cat([real, fake])
        levels, whole, left_out = int(both.max()) + 1, [], []
        ids = torch.zeros_like(both)
        for order in range(1, min(ORDERS, self.length) + 1):
            # Numbered anew for each order, so that they stay small whatever the alphabet.
            longer = ids[:, : both.shape[1] - order + 1] * levels + both[:, order - 1 :]
            found, ids = longer.unique(return_inverse=True)
            counts = _counts(ids[: len(real)], len(found))
            keys = blocks[:, None] * len(found) + ids[len(real) :]
            by_block = _counts(keys, _BLOCKS * len(found)).view(_BLOCKS, -1)
            total = by_block.sum(0)
            whole.append(_divergence(counts, total))
            left_out.append(torch.stack([_divergence(counts, total - block) for block in by_block]))
        means = torch.stack(left_out).mean(0)
        error = ((means - means.mean()).square().sum() * (_BLOCKS - 1) / _BLOCKS).sqrt()
        by_order = torch.stack(whole)
        return {"divergence": by_order.mean(), "standard_error": error, "by_order": by_order}


def _counts(ids: Tensor, size: int) -> Tensor:
    return torch.bincount(ids.flatten(), minlength=size).double()


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    p, q = first / first.sum(), second / second.sum()
    # Of equal frequencies rounding may leave less than nothing.
    return (_bits((p + q) / 2) - (_bits(p) + _bits(q)) / 2).clamp(0, 1)


def _bits(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum() / math.log(2)
