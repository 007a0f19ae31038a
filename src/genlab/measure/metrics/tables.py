"""How far apart the columns of generated and of real rows of a table are, one by one and in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genlab.core.spec import Field
from genlab.measure.metrics.rows import MetricError, RowsMetric, require_examples

__all__ = ["QUARTILES", "TableDistances"]

QUARTILES = 4
"""Parts, equally full of real rows, that a column of numbers is cut into beside a column of categories."""
_BLOCKS = 20
"""Parts of the samples that the jackknife leaves out in turn."""


class TableDistances(RowsMetric):
    """Distances between the columns of generated and of real rows, and between their pairs.

    - Of each column: the Kolmogorov-Smirnov distance of numbers, the largest difference of their distribution
      functions; the total variation of categories, half the sum of the differences of their frequencies.
    - Of each pair of columns of numbers: the difference of their rank correlations (Spearman, 1904, "The proof and
      measurement of association between two things"), which tails do not rule and no unit changes.
    - Of each other pair: the total variation of their contingency tables, numbers cut at the quartiles of real rows.

    Finite sets of rows of one source differ too, so that a figure stands beside that of as many real rows.

    Args:
        fields: The columns.
    """

    higher_is_better = False

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        self.fields = tuple(fields)
        for name in ("real_table", "fake_table"):
            self.add_rows(name, torch.empty(0, len(self.fields)))

    def update(self, rows: Tensor, real: bool) -> None:
        """Add real or generated rows ``[N, D]`` in the table's own values.

        Raises:
            ValueError: If the shape is another one.
            MetricError: If a value is nan or infinite.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.fields):
            raise ValueError(f"Rows must have the shape [N, {len(self.fields)}], not {list(rows.shape)}.")
        broken = int((~torch.isfinite(rows)).any(1).sum())
        if broken:
            raise MetricError(f"{broken} of {len(rows)} rows have values that are nan or infinite.")
        self.keep("real_table" if real else "fake_table", rows.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """Return each mean and its standard error, float64: ``column``, ``correlation`` and ``contingency``, each also
        with ``_se``; and ``by_column`` ``[D]``. Those of pairs are left out where there is none.

        The standard errors are of the samples alone, by a jackknife over 20 parts of them.

        Raises:
            MetricError: Without two real rows, or with fewer than 20 generated ones.
        """
        real, fake = self.rows("real_table"), self.rows("fake_table")
        require_examples("real", len(real), 2)
        require_examples("generated", len(fake), _BLOCKS)
        block = torch.arange(len(fake), device=fake.device) * _BLOCKS // len(fake)
        columns = [self._column(place, real, fake, block) for place in range(len(self.fields))]
        found = {**_mean("column", columns), "by_column": torch.stack([values[0] for values in columns])}
        numbers = [place for place, field in enumerate(self.fields) if field.levels is None]
        if len(numbers) > 1:
            found |= _mean("correlation", [_correlations(real[:, numbers], fake[:, numbers], block)])
        codes = [self._codes(place, real, fake) for place in range(len(self.fields))]
        pairs = [
            _distances(first * (int(second.max()) + 1) + second, len(real), block, _total_variation)
            for (i, first), (j, second) in itertools.combinations(enumerate(codes), 2)
            if self.fields[i].levels is not None or self.fields[j].levels is not None
        ]
        return found | (_mean("contingency", pairs) if pairs else {})

    def _column(self, place: int, real: Tensor, fake: Tensor, block: Tensor) -> Tensor:
        _, ids = torch.cat([real[:, place], fake[:, place]]).unique(return_inverse=True)
        apart = _kolmogorov_smirnov if self.fields[place].levels is None else _total_variation
        return _distances(ids, len(real), block, apart)

    def _codes(self, place: int, real: Tensor, fake: Tensor) -> Tensor:
        """Categories of real rows and then of generated ones, of numbers their quarters: ``[R + F]``, int64."""
        both = torch.cat([real[:, place], fake[:, place]])
        if self.fields[place].levels is not None:
            return both.long()
        cuts = torch.arange(1, QUARTILES, device=both.device) / QUARTILES
        return torch.bucketize(both, real[:, place].sort().values[(cuts * len(real)).long()])


def _mean(name: str, distances: Sequence[Tensor]) -> dict[str, Tensor]:
    """The mean over columns or pairs, and its jackknifed error; each distance is ``[1 + 20]``, first that of all."""
    means = torch.stack(list(distances)).mean(0)
    left_out = means[1:]
    error = ((left_out - left_out.mean()).square().sum() * (_BLOCKS - 1) / _BLOCKS).sqrt()
    return {name: means[0], f"{name}_se": error}


def _distances(ids: Tensor, real: int, block: Tensor, apart: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Distances ``[1 + 20]`` of the frequencies of numbers ``ids``: of all samples, and without each part of them."""
    size = int(ids.max()) + 1
    of_real = torch.bincount(ids[:real], minlength=size).double()
    by_block = torch.bincount(block * size + ids[real:], minlength=_BLOCKS * size).view(_BLOCKS, size).double()
    total = by_block.sum(0)
    counts = torch.cat([total[None], total - by_block])
    return apart(of_real / of_real.sum(), counts / counts.sum(1, keepdim=True))


def _kolmogorov_smirnov(real: Tensor, fake: Tensor) -> Tensor:
    return (fake.cumsum(1) - real.cumsum(0)).abs().amax(1).clamp(max=1)  # rounding may leave a little more


def _total_variation(real: Tensor, fake: Tensor) -> Tensor:
    return ((fake - real).abs().sum(1) / 2).clamp(max=1)


def _correlations(real: Tensor, fake: Tensor, block: Tensor) -> Tensor:
    """Mean differences ``[1 + 20]`` of the rank correlations of all pairs of columns."""
    expected = _rank_correlation(real)
    above = torch.ones_like(expected, dtype=torch.bool).triu(1)
    kept = [fake, *(fake[block != part] for part in range(_BLOCKS))]
    return torch.stack([(_rank_correlation(rows) - expected).abs()[above].mean() for rows in kept])


def _rank_correlation(x: Tensor) -> Tensor:
    """Spearman's correlation ``[M, M]`` of columns ``[N, M]``, equal values sharing a rank; 0 for a constant column."""
    ranks = torch.stack([_ranks(column) for column in x.T], dim=1)
    centred = ranks - ranks.mean(0)
    norms = centred.square().sum(0).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    return (centred / norms).T @ (centred / norms)


def _ranks(x: Tensor) -> Tensor:
    _, ids, counts = x.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2.0).double()[ids]
