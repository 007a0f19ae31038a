"""Forests of decision trees, one for each column of a table: the baseline of mixed tables, fitted without steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Unpack

import torch
from annotated_types import Gt, Le
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.noise import normal, uniform
from genlab.core.spec import DataSpec, Field
from genlab.modalities import Layout, Modality
from genlab.models.base import GenerativeModel
from genlab.models.options import CommonOptions, Depth, Width
from genlab.networks.blocks.columns import Columns
from genlab.networks.causal.forest import CategoryForest, ColumnForest, NumberForest, Smoothing

__all__ = ["Forest"]


class Forest(GenerativeModel):
    """Each column given those before it by a forest of scikit-learn's decision trees, in the order in which they stand.

    Trees are grown as CART, Breiman et al. (1984), from two thirds of the training rows each; columns are drawn one
    after the other as by synthpop: Nowok et al. (2016), "synthpop: Bespoke creation of synthetic data in R", section
    2.2. The distribution of a column is the mean over the trees of that of the leaf which the row falls into, as
    Meinshausen (2006), "Quantile regression forests", weighs them: of categories the shares in the leaf, of numbers a
    normal on each number in the leaf. So the log-probability is exact, with the normals' mass over the cells of rounded
    numbers and the density of others, both in the table's own units.

    It is fitted once, before the only step, to at most :attr:`initial_examples` training rows, whatever the budget.
    ``auto`` takes for each column what gives the highest likelihood to training rows by the trees that have not seen
    them; it never sees the validation or test split.

    Args:
        spec: Tables, and vectors of continuous values.
        trees: Trees of each column.
        min_rows: Fewest rows of a leaf, or ``auto``: 3, 10, 30, 100 or all, for each column.
        bandwidth: Deviation of the normals in units of Silverman's rule, or ``auto``: 0.25 to 2, for each column.
        features: Share of the columns that are looked at for each split, in (0, 1].
        prior: Pseudo-rows that each leaf sees: of categories spread as in the whole column, of numbers a normal with
            three times its deviation.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.
    """

    family = "forest"
    layouts: ClassVar[Mapping[Layout, str]] = {"flat": "trees"}
    uses = frozenset({"fields", "cells"})
    alternative = "Use model=gmm."
    initial_examples = 50_000
    learns_by_steps = False

    def __init__(
        self,
        spec: DataSpec,
        *,
        trees: Depth,
        min_rows: Width | Literal["auto"],
        bandwidth: Annotated[float, Gt(0)] | Literal["auto"],
        features: Annotated[float, Gt(0), Le(1)],
        prior: Annotated[float, Gt(0)],
        **shared: Unpack[CommonOptions],
    ) -> None:
        super().__init__(spec, **shared, optimizer=torch.optim.SGD, lr=1.0, schedule=lambda _: 1.0, grad_clip=None)
        self.automatic_optimization = False  # there is nothing to optimize
        self._trees, self._features = trees, features
        fields = spec.fields or tuple(Field(f"x{dim}") for dim in range(spec.num_dims))
        self.columns = Columns(replace(spec, fields=fields))
        smoothing = Smoothing(min_rows, bandwidth, prior)
        self.forests = nn.ModuleList(_forest(field, smoothing) for field in fields)

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        reason = super().unsupported(spec)
        if reason is None and spec.is_discrete:
            return f"The {cls.family} family models columns of a table, but {spec.name} has levels. {cls.alternative}"
        return reason

    @classmethod
    def _shared_layouts(cls, modality: Modality) -> list[Layout]:
        # A pixel or a time is no column that means something by itself.
        return super()._shared_layouts(modality) if modality.layouts[0] == "flat" else []

    @property
    def variant(self) -> str:
        return f"{self._trees} trees"

    @property
    def num_parameters(self) -> int:
        """How many numbers were learned: of nodes and of what is in leaves."""
        return sum(buffer.numel() for buffer in self.forests.buffers())

    @property
    def nfe(self) -> int:
        """Trees, one after the other, that a sample falls through: one for each column."""
        return self.spec.num_dims

    @property
    def not_captured(self) -> str | None:
        return "its only step trains nothing"

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "exact"

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": -self._log_prob(batch.x, batch.y).mean()}

    @torch.no_grad()
    def _log_prob(
        self, x: Tensor, y: Tensor | None, *, num_draws: int = 1, generator: Generator | None = None
    ) -> Tensor:
        return self._log_prob_of_columns(x).sum(1)

    @torch.no_grad()
    def log_prob_of_values(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log-probability of each column given those before it; see
        :class:`genlab.core.contract.ScoresValues`."""
        self.check(Batch(x, y))
        return self._log_prob_of_columns(x)

    def _log_prob_of_columns(self, x: Tensor) -> Tensor:
        """Return ``[N, D]``, nats, in the table's own units."""
        z = self.columns.standardize(x)
        each = torch.stack([forest.log_prob(z[:, d], x[:, :d]) for d, forest in enumerate(self.forests)], dim=1)
        is_density = ~(self.columns.is_category | self.columns.is_rounded)
        return each - self.columns.unit.log() * is_density

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        dims, dtype = self.spec.num_dims, self.columns.unit.dtype
        u = uniform((n, dims, 2), generator, self.device, dtype)
        deviation = normal((n, dims), generator, self.device, dtype)
        x = u.new_zeros(n, dims)
        for d, forest in enumerate(self.forests):
            z = forest.transform(x[:, :d], u[:, d], deviation[:, d]).to(dtype)
            x[:, d] = self.columns.restore(z[:, None], slice(d, d + 1))[:, 0]
        return self.codec.as_data(x)

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        self.check(batch)
        x = batch.x.flatten(1)
        self.columns.fit(x)
        z = self.columns.standardize(x)
        seeds = torch.randint(2**31 - 1, (len(self.forests),)).tolist()
        for d, forest in enumerate(self.forests):
            if isinstance(forest, NumberForest):
                forest.width.copy_(self.columns.width[d])
            forest.fit(z[:, d], x[:, :d], self._trees, self._features, seeds[d])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.loss(batch)


def _forest(field: Field, smoothing: Smoothing) -> ColumnForest:
    if field.levels is not None:
        return CategoryForest(field.levels, smoothing)
    return NumberForest(smoothing, is_rounded=field.rounded)
