"""Forests that give the distribution of one column of a table by the columns before it."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genlab.core.codec import one_hot
from genlab.networks.causal.grown_trees import GrownTrees
from genlab.networks.mixture.binned_normal import log_cell_mass

__all__ = ["CategoryForest", "ColumnForest", "NumberForest", "Smoothing"]

MIN_ROWS = (3, 10, 30, 100)
"""Fewest rows of a leaf that ``auto`` tries, and leaves that are all of the tree."""
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)
"""Bandwidths of kernels that ``auto`` tries."""
COMPARED = 1000
"""Most training rows on which they are compared."""
MOST_KERNELS = 256
"""Of a leaf; of more rows so many quantiles are kept."""
LEAST_SCALE = 1e-3
BACKGROUND_SCALE = 3.0
"""Deviations of the narrowest kernel, and of the normal that is mixed in, in units of standardized data."""
_ELEMENTS = 2**21
"""Kernels that are held at a time."""
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Smoothing:
    """How leaves become distributions.

    Args:
        min_rows: Fewest rows of a leaf, or ``auto``.
        bandwidth: Deviation of kernels, in units of Silverman's rule, or ``auto``.
        prior: Pseudo-rows, spread like the whole column and wider, that each leaf sees.
    """

    min_rows: int | str
    bandwidth: float | str
    prior: float


class ColumnForest(nn.Module, ABC):
    """Trees of which each sends a row, by the columns before this one, to a leaf that has a distribution of it.

    The distribution is the mean of those of all trees: Meinshausen (2006), "Quantile regression forests".
    All of it is tensors, whose sizes are those of what was learned.
    """

    feature: Tensor
    threshold: Tensor
    branches: Tensor
    roots: Tensor
    is_category: ClassVar[bool]

    def __init__(self, smoothing: Smoothing) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("feature", torch.full((1,), -1))
        self.register_buffer("threshold", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("branches", torch.zeros(1, 2, dtype=torch.int64))
        self.register_buffer("roots", torch.zeros(1, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_adopt_sizes)

    def leaves(self, x: Tensor, trees: Tensor | None = None) -> Tensor:
        """Return the leaves to which rows ``[N, C]`` of earlier columns are sent.

        Args:
            x: As it is; a row goes to the second child where its value of a node's column is above the threshold.
            trees: ``[N]``, the one tree that each row is sent down; None: all.

        Returns:
            ``[N, T]``, or ``[N, 1]`` with ``trees``.
        """
        node = self.roots.expand(len(x), -1) if trees is None else self.roots[trees][:, None]
        while True:
            feature = self.feature[node]
            is_inner = feature >= 0
            if not is_inner.any():
                return node
            above = x.gather(1, feature.clamp_min(0)) > self.threshold[node]
            node = torch.where(is_inner, self.branches[node, above.long()], node)

    def log_prob(self, values: Tensor, x: Tensor) -> Tensor:
        """Log-probability ``[N]``, nats, of a column's ``values [N]`` given the earlier columns ``x [N, C]``.

        Numbers are in units of standardized data, and their density too.
        """
        found = []
        for some, rows in zip(values.split(self._rows_at_a_time()), x.split(self._rows_at_a_time()), strict=True):
            leaves = self.leaves(rows)
            number = torch.arange(len(rows), device=x.device)[:, None].expand_as(leaves)
            weight = torch.full(leaves.shape, 1 / leaves.shape[1], dtype=values.dtype, device=x.device)
            found.append(self._log_mean(some, number.flatten(), leaves.flatten(), weight.flatten()))
        return torch.cat(found)

    def transform(self, x: Tensor, u: Tensor, normal: Tensor) -> Tensor:
        """Turn uniform noise ``[N, 2]`` and normal noise ``[N]`` into values ``[N]`` given the earlier columns."""
        trees = (u[:, 0] * len(self.roots)).long().clamp_max(len(self.roots) - 1)
        return self._draw(self.leaves(x, trees)[:, 0], u[:, 1], normal)

    @torch.no_grad()
    def fit(self, values: Tensor, x: Tensor, trees: int, features: float, seed: int) -> None:
        """Grow trees for ``values [N]`` by the earlier columns ``x [N, C]``, each from two thirds of the rows.

        ``auto`` compares settings on the rest: each row's probability by those trees that have not seen it, as
        Breiman (1996), "Out-of-bag estimation".

        Args:
            values: Numbers standardized, or categories.
            x: Earlier columns as they are.
            trees: How many, T.
            features: Share of the columns that are looked at for each split.
            seed: Of what is left to chance.
        """
        fewest = self._fewest(x)
        grown = GrownTrees.grow(
            x.cpu().numpy(), values.cpu().numpy(), self.is_category, trees, fewest[0], features, seed
        )
        best, *others = itertools.product(fewest, self._scales())
        if others:
            best = max([best, *others], key=lambda setting: self._score(grown, values, x, *setting))
        self._take(grown, values, x, *best)

    def _fewest(self, x: Tensor) -> tuple[int, ...]:
        """Fewest rows of a leaf to try, in rising order; where no column comes before, a tree is a leaf."""
        if not x.shape[1]:
            return (len(x),)
        return (*MIN_ROWS, len(x)) if self.smoothing.min_rows == "auto" else (int(self.smoothing.min_rows),)

    def _score(self, grown: GrownTrees, values: Tensor, x: Tensor, min_rows: int, scale: float) -> float:
        """Mean log-probability of rows by the trees that have not seen them."""
        self._take(grown, values, x, min_rows, scale)
        unseen = torch.from_numpy(grown.unseen()).to(x.device)
        rows = unseen.any(1).nonzero()[:, 0]
        if not len(rows):
            return 0.0
        rows = rows[:: -(-len(rows) // COMPARED)]
        number, tree = unseen[rows].nonzero(as_tuple=True)
        leaves = self.leaves(x[rows])[number, tree]
        weight = (1 / unseen[rows].sum(1))[number].to(self._dtype)
        return float(self._log_mean(values[rows].to(self._dtype), number, leaves, weight).mean())

    def _take(self, grown: GrownTrees, values: Tensor, x: Tensor, min_rows: int, scale: float) -> None:
        """Keep the splits that leave so many rows on both sides, and the distributions of the leaves."""
        device = self.feature.device
        kept = grown.pruned(min_rows)
        for name in ("feature", "threshold", "branches", "roots"):
            setattr(self, name, torch.from_numpy(getattr(kept, name)).to(device))
        row, tree = (torch.from_numpy(part).to(device) for part in grown.seen())
        parts = zip(row.split(_ELEMENTS), tree.split(_ELEMENTS), strict=True)
        leaf = torch.cat([self.leaves(x[some], trees)[:, 0] for some, trees in parts])
        self._fill(leaf, values[row], values, scale)

    def _rows_at_a_time(self) -> int:
        return max(1, _ELEMENTS // (len(self.roots) * MOST_KERNELS))

    @property
    @abstractmethod
    def _dtype(self) -> torch.dtype:
        """That of log-probabilities."""

    @abstractmethod
    def _scales(self) -> tuple[float, ...]:
        """Bandwidths to try."""

    @abstractmethod
    def _fill(self, leaf: Tensor, seen: Tensor, values: Tensor, scale: float) -> None:
        """Make the leaves' distributions of the values that they have seen, each with its leaf, and of the column."""

    @abstractmethod
    def _log_mean(self, values: Tensor, number: Tensor, leaf: Tensor, weight: Tensor) -> Tensor:
        """Log of the sum over pairs of a row's number and a leaf of weight times probability, ``[N]``."""

    @abstractmethod
    def _draw(self, leaf: Tensor, u: Tensor, normal: Tensor) -> Tensor:
        """Turn noise into values of leaves ``[N]``."""


class CategoryForest(ColumnForest):
    """Leaves that have counted categories, with the whole column's shares for pseudo-rows.

    Args:
        levels: Categories of the column, K.
        smoothing: How counts become probabilities.
    """

    is_category = True
    probability: Tensor

    def __init__(self, levels: int, smoothing: Smoothing) -> None:
        super().__init__(smoothing)
        self.levels = levels
        self.register_buffer("probability", torch.full((1, levels), 1 / levels))

    @property
    def _dtype(self) -> torch.dtype:
        return self.probability.dtype

    def _scales(self) -> tuple[float, ...]:
        return (1.0,)

    def _fill(self, leaf: Tensor, seen: Tensor, values: Tensor, scale: float) -> None:
        dtype = self._dtype
        # As if each category had been seen once more: none is impossible.
        share = one_hot(values, self.levels, dtype).sum(0) + 1
        prior = self.smoothing.prior * share / share.sum()
        counts = torch.zeros(len(self.feature), self.levels, dtype=dtype, device=leaf.device)
        counts = counts.index_put((leaf, seen.long()), torch.ones((), dtype=dtype, device=leaf.device), accumulate=True)
        self.probability = (counts + prior) / (counts.sum(1, keepdim=True) + self.smoothing.prior)

    def _log_mean(self, values: Tensor, number: Tensor, leaf: Tensor, weight: Tensor) -> Tensor:
        each = weight * self.probability[leaf, values.long()[number]]
        return torch.zeros(len(values), dtype=each.dtype, device=each.device).index_add(0, number, each).log()

    def _draw(self, leaf: Tensor, u: Tensor, normal: Tensor) -> Tensor:
        # By inversion. Without the last sum, which rounding may leave below 1, no category can exceed the last.
        return (self.probability[leaf].cumsum(1)[:, :-1] <= u[:, None]).sum(1)


class NumberForest(ColumnForest):
    """Leaves with a normal kernel on each number that they have seen, and a wide normal for pseudo-rows.

    A kernel's deviation is Silverman's, that of the leaf's numbers times the fifth root of one over how many they are,
    times the bandwidth: Silverman (1986), "Density estimation", equation 3.28, without its factor 1.06. The leaf's
    deviation is taken together with that within all leaves, as of one row more.

    Args:
        smoothing: How leaves become distributions.
        is_rounded: Whether numbers are rounded, and have the mass of a cell of the width that :attr:`width` is set to,
            in units of standardized data; else they have densities.
    """

    is_category = False
    values: Tensor
    first: Tensor
    kernels: Tensor
    count: Tensor
    scale: Tensor
    width: Tensor

    def __init__(self, smoothing: Smoothing, *, is_rounded: bool) -> None:
        super().__init__(smoothing)
        self.is_rounded = is_rounded
        whole = {"first": torch.zeros(1, dtype=torch.int64), "kernels": torch.ones(1, dtype=torch.int64)}
        real = {"values": torch.zeros(1), "count": torch.ones(1), "scale": torch.ones(1), "width": torch.ones(())}
        for name, start in (whole | real).items():
            self.register_buffer(name, start)

    @property
    def _dtype(self) -> torch.dtype:
        return self.values.dtype

    def _scales(self) -> tuple[float, ...]:
        return BANDWIDTHS if self.smoothing.bandwidth == "auto" else (float(self.smoothing.bandwidth),)

    def _fill(self, leaf: Tensor, seen: Tensor, values: Tensor, scale: float) -> None:
        nodes, seen = len(self.feature), seen.to(self._dtype)
        by_value = seen.argsort(stable=True)
        order = by_value[leaf[by_value].argsort(stable=True)]
        seen, leaf = seen[order], leaf[order]
        count = torch.bincount(leaf, minlength=nodes)
        first = count.cumsum(0) - count
        self.count = count.to(self._dtype)
        self.kernels = count.clamp_max(MOST_KERNELS)
        self.first = self.kernels.cumsum(0) - self.kernels
        owner, place = _ragged(self.kernels)
        step = self.count[owner] / self.kernels[owner]
        self.values = seen[first[owner] + ((place + 0.5) * step).long()]
        self.scale = scale * self._spread(leaf, seen) * self.kernels.clamp_min(1).to(self._dtype) ** -0.2
        self.scale = self.scale.clamp_min(LEAST_SCALE)

    def _spread(self, leaf: Tensor, seen: Tensor) -> Tensor:
        """Standard deviation of each leaf's values, ``[M]``."""
        zeros = torch.zeros_like(self.count)
        mean = zeros.index_add(0, leaf, seen) / self.count.clamp_min(1)
        squares = zeros.index_add(0, leaf, (seen - mean[leaf]).square())
        return ((squares + squares.sum() / len(seen)) / (self.count + 1)).sqrt()

    def _log_mean(self, values: Tensor, number: Tensor, leaf: Tensor, weight: Tensor) -> Tensor:
        count, prior = self.count[leaf], self.smoothing.prior
        owner, place = _ragged(self.kernels[leaf])
        log_weight = (weight * count / (count + prior) / self.kernels[leaf]).log()
        scale, row = self.scale[leaf][owner], number[owner]
        each = log_weight[owner] + self._log_normal(values[row] - self.values[self.first[leaf][owner] + place], scale)
        of_prior = torch.zeros_like(values).index_add(0, number, weight * prior / (count + prior)).log()
        of_prior = of_prior + self._log_normal(values, torch.full_like(values, BACKGROUND_SCALE))
        highest = of_prior.scatter_reduce(0, row, each, "amax")
        total = (of_prior - highest).exp().index_add(0, row, (each - highest[row]).exp())
        return highest + total.log()

    def _log_normal(self, deviation: Tensor, scale: Tensor) -> Tensor:
        """Log-mass of the cell around a point, or log-density, of normals; in units of standardized data."""
        if self.is_rounded:
            return log_cell_mass(deviation / scale, self.width / scale)
        return -0.5 * ((deviation / scale).square() + _LOG_2PI) - scale.log()

    def _draw(self, leaf: Tensor, u: Tensor, normal: Tensor) -> Tensor:
        count, kernels = self.count[leaf], self.kernels[leaf]
        place = u * (count + self.smoothing.prior)
        chosen = (place / count * kernels).long().clamp_max(kernels - 1)
        z = self.values[self.first[leaf] + chosen] + self.scale[leaf] * normal
        return torch.where(place < count, z, BACKGROUND_SCALE * normal)


def _ragged(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return for lists of so many elements each, one after the other: the list of every element, its place in it."""
    owner = torch.repeat_interleave(counts)
    return owner, torch.arange(len(owner), device=counts.device) - (counts.cumsum(0) - counts)[owner]


def _adopt_sizes(module: ColumnForest, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a state is loaded, make buffers of its sizes."""
    for name, buffer in list(module.named_buffers(recurse=False)):
        if (tensor := state.get(prefix + name)) is not None:
            setattr(module, name, torch.empty_like(tensor, device=buffer.device))
