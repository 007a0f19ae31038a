"""Vectors: points in a space of a few dimensions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from genlab.core.spec import DataSpec, Field
from genlab.modalities.base import Modality, Places
from genlab.modalities.registry import register
from genlab.modalities.value_pictures import draw_rows
from genlab.runs.atomic import atomic_file

__all__ = ["Vector"]


class Vector(Modality):
    """Points ``[D]``: float32, or int64 where they are levels. A preview plots their first two dimensions."""

    name = "vector"
    axes = ("D",)
    layouts = ("flat", "sequence")
    features = "values"
    sample_figure = "sliced_wasserstein"
    validation_samples_per_image = 10
    preview_samples_per_image = 16

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        # The object interface: pyplot would look for a display and keep the figure alive.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        layers = [(real, "0.8", "real"), (samples, "tab:blue", "samples")]
        for points, color, label in layers:
            if points is not None:
                x, y = _plane(points)
                axes.scatter(x, y, s=5, color=color, linewidths=0, label=f"{label} ({len(x):,})")
        axes.set(xlabel="dimension 1", ylabel="dimension 2")
        axes.set_aspect("equal", adjustable="datalim")
        axes.legend(loc="upper right", fontsize=8, markerscale=2)
        axes.set_title(textwrap.fill(title, 72), fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Title": title})
        return True

    def blank(self, spec: DataSpec) -> float:
        return super().blank(spec) if spec.is_discrete else math.nan

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        fields = [Field(f"dimension {number}") for number in range(1, spec.num_dims + 1)]
        draw_rows({name: x.flatten(1) for name, x in rows.items()}, fields, path, title, places)
        return True


def _plane(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The first two dimensions; one-dimensional data stands on the diagonal."""
    flat = points.flatten(1).cpu().numpy()
    return flat[:, 0], flat[:, min(1, flat.shape[1] - 1)]


register(Vector())
