"""Panels of pictures of tables: how a column of samples is distributed, real rows behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from genlab.core.spec import Field

__all__ = ["draw_column"]

MOST_CATEGORIES = 20
"""Of a column in a picture: those that are most frequent in the real data."""
BINS = 30


def draw_column(axes: Any, field: Field, samples: np.ndarray, real: np.ndarray | None) -> None:
    """Draw how the values of a column are distributed, as shares: bars of categories, a histogram of numbers."""
    if field.levels is None:
        low, high = np.quantile(samples if real is None else real, [0.005, 0.995])
        # A tail would leave the rest in a single bin: what lies far out is counted at the ends.
        margin = 0.05 * (high - low) or 0.5
        edges = _edges(low - margin, high + margin, field.step)
        for values, look in _layers(real, samples):
            counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
            axes.stairs(counts / max(1, len(values)), edges, **look)
        axes.locator_params(axis="x", nbins=4)
    else:
        counts = [np.bincount(v.astype(int), minlength=field.levels) for v, _ in _layers(real, samples)]
        shown = np.argsort(-counts[0], kind="stable")[:MOST_CATEGORIES]
        for (values, look), count in zip(_layers(real, samples), counts, strict=True):
            width = 0.8 if look["fill"] else 0.5
            axes.bar(np.arange(len(shown)), count[shown] / max(1, len(values)), width, color=look["color"])
        names = [_seen(field.categories[i] if field.categories else str(i), 10) for i in shown]
        axes.set_xticks(np.arange(len(shown)), names, rotation=90, parse_math=False)
    axes.set_title(_seen(field.name, 28), fontsize=8, loc="left", parse_math=False)
    axes.set_ylabel("share", fontsize=7)
    axes.tick_params(labelsize=6)


def _layers(real: np.ndarray | None, samples: np.ndarray) -> list[tuple[np.ndarray, dict[str, Any]]]:
    behind = [] if real is None else [(real, {"color": "0.8", "fill": True})]
    return [*behind, (samples, {"color": "tab:blue", "fill": False})]


def _edges(low: float, high: float, step: float | None) -> np.ndarray:
    """Bins of one width; of rounded numbers each holds as many cells, or some would stand out by that alone."""
    if step is None or high - low > BINS * step * 20:
        return np.linspace(low, high, BINS + 1)
    cells = max(1, round((high - low) / step / BINS))
    first = (np.floor(low / step) - 0.5) * step
    return first + cells * step * np.arange(np.ceil((high - first) / (cells * step)) + 1)


def _seen(text: str, most: int) -> str:
    """Text of data as it can stand in a picture: on one line, without what cannot be seen, cut off where it is long."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= most else f"{clean[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
