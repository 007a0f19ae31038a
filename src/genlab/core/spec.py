"""What one example is: the description from which every model is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["DataSpec", "Field"]


MOST_DECIMALS = 10
"""Of a grid: the highest power of ten that float32 holds exactly."""


@dataclass(frozen=True)
class Field:
    """A column of a table.

    Numbers that are written with few decimals, whole ones among them, are values of a grid and come again and again: a
    density of them has no upper bound, as a narrow enough peak on each value shows. What a model says of such a number
    is the probability of its cell, half a step to either side, so that a row's likelihood is bounded and the same
    whatever the unit of the column.

    Args:
        name: What it is called.
        levels: Number of its categories; None for a column of numbers.
        categories: What they are called, in the order of their numbers; empty where they have no names.
        decimals: How many decimals its numbers are written with; None: as many as they have.
        rounded: Whether its numbers are those of the grid of so many decimals, whose cells have probabilities; False:
            its numbers have a density.
        marks: Name of the column of which this one says what is missing, by its second category; None: of none.

    Raises:
        ValueError: If what belongs to categories is said of numbers or the other way round, or does not fit together.
    """

    name: str
    levels: int | None = None
    categories: tuple[str, ...] = ()
    decimals: int | None = None
    rounded: bool = False
    marks: str | None = None

    def __post_init__(self) -> None:
        if self.levels is None:
            if self.categories or self.marks is not None:
                raise ValueError(f"field {self.name!r} has categories or marks, but no levels.")
            if self.rounded and (self.decimals is None or not 0 <= self.decimals <= MOST_DECIMALS):
                raise ValueError(f"field {self.name!r} is rounded, expected decimals from 0 to {MOST_DECIMALS}.")
            return
        if self.levels < 2 or len(self.categories) not in (0, self.levels):
            raise ValueError(f"field {self.name!r} has {self.levels} levels and {len(self.categories)} categories.")
        if self.decimals is not None or self.rounded:
            raise ValueError(f"field {self.name!r} has levels: it is not of numbers with decimals.")

    @property
    def step(self) -> float | None:
        """Width of the cells of a column of rounded numbers, in its own unit; None for any other column."""
        return 10.0**-self.decimals if self.rounded and self.decimals is not None else None


@dataclass(frozen=True)
class DataSpec:
    """Shape and alphabet of one example, without the batch axis.

    Args:
        name: Name of the data set as it stands in results, e.g. ``"mnist"``.
        modality: Kind of data, the name of an object of :mod:`genlab.modalities`: ``"image"``, ``"vector"`` ...
        shape: ``(C, H, W)`` for images, ``(D,)`` for vectors, ``(C, T)`` for waveforms and series, ``(T,)`` for
            text.
        levels: Number of values per dimension of discrete data (256, 17, 2, vocabulary size);
            None for continuous data.
        num_classes: Number of labels, or None for data without labels.
        fields: The columns of a table, one for each dimension; empty for other data.
        alphabet: The symbols of a text by their numbers; None for other data.
        sampling_rate_hz: Values per second of sound; None for other data.
        has_mask: Whether batches say by a mask what is there, since examples differ in length.
        context_shape: Shape of one example's covariates; None for data without.
        columns: Names of the columns of a series; empty for other data, and where they have none.
        extractor: Name of the feature extractor that was trained on these classes; None where there is none.
        predicted: Name of the field that models trained on samples of a table are to predict from the others; None:
            the label, where there is one.
        label: What the labels are called, and their classes; None where these have no names. It tells no two
            descriptions apart: exports from before it was kept have none.

    Raises:
        ValueError: If an axis is not positive, there are fewer than 2 levels, or not as many fields as dimensions,
            or names of columns, or no field is called what is to be predicted.
    """

    name: str
    modality: str
    shape: tuple[int, ...]
    levels: int | None = None
    num_classes: int | None = None
    fields: tuple[Field, ...] = ()
    alphabet: str | None = None
    sampling_rate_hz: int | None = None
    has_mask: bool = False
    context_shape: tuple[int, ...] | None = None
    extractor: str | None = None
    columns: tuple[str, ...] = ()
    predicted: str | None = None
    label: Field | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.shape or any(axis < 1 for axis in self.shape):
            raise ValueError(f"shape is {self.shape}, expected positive axes.")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels is {self.levels}, expected at least 2, or None for continuous data.")
        if self.fields and len(self.fields) != self.num_dims:
            raise ValueError(f"{len(self.fields)} fields were given for {self.num_dims} dimensions.")
        if self.columns and len(self.columns) != self.shape[0]:
            raise ValueError(f"{len(self.columns)} names were given for {self.shape[0]} columns.")
        if self.predicted is not None and self.predicted not in (field.name for field in self.fields):
            raise ValueError(f"predicted is {self.predicted!r}, which is no field.")

    @property
    def needs(self) -> frozenset[str]:
        """What a model must be able to use beside values and labels, of ``mask``, ``context``, ``fields`` and
        ``cells``."""
        asked = {
            "mask": self.has_mask,
            "context": self.context_shape is not None,
            # Columns that are all continuous are a vector's dimensions with names.
            "fields": any(field.levels is not None for field in self.fields),
            "cells": any(field.rounded for field in self.fields),
        }
        return frozenset(name for name, needed in asked.items() if needed)

    @property
    def num_dims(self) -> int:
        """Number of dimensions of one example: the product of its axes."""
        return math.prod(self.shape)

    @property
    def is_discrete(self) -> bool:
        """Whether the values are integers in ``[0, levels)``."""
        return self.levels is not None
