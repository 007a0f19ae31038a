"""What one example is: the description from which every model is built."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["DataSpec", "Field"]


@dataclass(frozen=True)
class Field:
    """A column of a table.

    Args:
        name: What it is called.
        levels: Number of its categories; None for a continuous column.
    """

    name: str
    levels: int | None = None


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

    Raises:
        ValueError: If an axis is not positive, there are fewer than 2 levels, or not as many fields as dimensions,
            or names of columns.
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

    def __post_init__(self) -> None:
        if not self.shape or any(axis < 1 for axis in self.shape):
            raise ValueError(f"shape is {self.shape}, expected positive axes.")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels is {self.levels}, expected at least 2, or None for continuous data.")
        if self.fields and len(self.fields) != self.num_dims:
            raise ValueError(f"{len(self.fields)} fields were given for {self.num_dims} dimensions.")
        if self.columns and len(self.columns) != self.shape[0]:
            raise ValueError(f"{len(self.columns)} names were given for {self.shape[0]} columns.")

    @property
    def needs(self) -> frozenset[str]:
        """What a model must be able to use beside values and labels, of ``mask``, ``context`` and ``fields``."""
        asked = {
            "mask": self.has_mask,
            "context": self.context_shape is not None,
            # Columns that are all continuous are a vector's dimensions with names.
            "fields": any(field.levels is not None for field in self.fields),
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
