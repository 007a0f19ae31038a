"""Columns of a table as networks see them: numbers standardized, categories one-hot."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import one_hot
from genlab.core.spec import DataSpec

__all__ = ["Columns", "encoded_dims"]


class Columns(nn.Module):
    """What standardizes the numbers of a table, column by column, and what tells its kinds of columns apart.

    With D columns and S inputs of each: as many as the largest number of categories, or one. A number is the first of
    its inputs, and the others are zero.

    Args:
        spec: What one row is; its fields are the columns.

    Attributes:
        location: Mean of each column of numbers, ``[D]``; 0 for categories.
        unit: Standard deviation of each column of numbers, ``[D]``; 1 for categories.
        is_category: Which columns are of categories, ``[D]``, bool.
        is_rounded: Which columns are of rounded numbers, ``[D]``, bool.
        levels: Categories of each column, ``[D]``; 1 for numbers.
        inputs: S.
    """

    location: Tensor
    unit: Tensor
    is_category: Tensor
    is_rounded: Tensor
    levels: Tensor
    step: Tensor
    per_unit: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        fields = spec.fields
        self.register_buffer("location", torch.zeros(len(fields)))
        self.register_buffer("unit", torch.ones(len(fields)))
        fixed = {
            "is_category": torch.tensor([field.levels is not None for field in fields]),
            "is_rounded": torch.tensor([field.rounded for field in fields]),
            "levels": torch.tensor([field.levels or 1 for field in fields]),
            "step": torch.tensor([field.step or 1.0 for field in fields]),
            "per_unit": torch.tensor([10.0 ** (field.decimals or 0) if field.rounded else 1.0 for field in fields]),
        }
        for name, values in fixed.items():
            self.register_buffer(name, values, persistent=False)
        self.inputs = max(field.levels or 1 for field in fields)

    @property
    def width(self) -> Tensor:
        """Width of the cells of rounded numbers in units of standardized data, ``[D]``; of other columns any number."""
        return self.step / self.unit

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Standardize the numbers of ``x [N, D]``; a column that is constant there keeps its unit, or its step."""
        variance, mean = torch.var_mean(x.double(), 0, correction=0)
        deviation = variance.sqrt().to(self.unit.dtype)
        self.location.copy_(torch.where(self.is_category, 0, mean.to(self.location.dtype)))
        self.unit.copy_(torch.where(self.is_category | (deviation == 0), self.step, deviation))

    def standardize(self, x: Tensor, columns: Tensor | slice = slice(None)) -> Tensor:
        """Map numbers ``[N, D]`` to mean 0 and deviation 1; categories stay what they are."""
        return (x.to(self.unit.dtype) - self.location[columns]) / self.unit[columns]

    def restore(self, z: Tensor, columns: Tensor | slice = slice(None)) -> Tensor:
        """Undo :meth:`standardize`, and round what is rounded to its grid: ``[N, D]`` in the table's own units."""
        x = self.location[columns] + self.unit[columns] * z
        per_unit = self.per_unit[columns]
        return torch.where(self.is_rounded[columns], (x * per_unit).round() / per_unit, x)

    def encode(self, x: Tensor, columns: Tensor | slice = slice(None)) -> Tensor:
        """Map rows ``[N, D]``, or some columns of them, to inputs ``[N, D, S]``."""
        is_category = self.is_category[columns]
        numbers = F.pad(self.standardize(x, columns)[..., None], (0, self.inputs - 1))
        symbols = one_hot(x.where(is_category, 0), self.inputs, numbers.dtype)
        return torch.where(is_category[:, None], symbols, numbers)


def encoded_dims(spec: DataSpec) -> int:
    """Return how many inputs an example becomes: D times S for a table, its dimensions for other data."""
    return spec.num_dims * max((field.levels or 1 for field in spec.fields), default=1)
