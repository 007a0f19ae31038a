"""What one example is: the description from which every model is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["DataSpec", "Modality"]

Modality = Literal["image", "vector", "waveform", "text"]


@dataclass(frozen=True)
class DataSpec:
    """Shape and alphabet of one example, without the batch axis.

    Args:
        name: Name of the data set as it stands in results, e.g. ``"mnist"``.
        modality: ``"image"``, ``"vector"``, ``"waveform"`` or ``"text"``.
        shape: ``(C, H, W)`` for images, ``(D,)`` for vectors, ``(C, T)`` for waveforms, ``(T,)`` for text.
        levels: Number of values per dimension of discrete data (256, 17, 2, vocabulary size);
            None for continuous data.
        num_classes: Number of labels, or None for data without labels.

    Raises:
        ValueError: If the modality is unknown, an axis is not positive, or there are fewer than 2 levels.
    """

    name: str
    modality: Modality
    shape: tuple[int, ...]
    levels: int | None = None
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if self.modality not in get_args(Modality):
            raise ValueError(f"modality is {self.modality!r}, expected one of {', '.join(get_args(Modality))}.")
        if not self.shape or any(axis < 1 for axis in self.shape):
            raise ValueError(f"shape is {self.shape}, expected positive axes.")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels is {self.levels}, expected at least 2, or None for continuous data.")

    @property
    def num_dims(self) -> int:
        """Number of dimensions of one example: the product of its axes."""
        return math.prod(self.shape)

    @property
    def is_discrete(self) -> bool:
        """Whether the values are integers in ``[0, levels)``."""
        return self.levels is not None
