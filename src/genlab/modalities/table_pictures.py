"""Panels of pictures of tables: how a column of samples is distributed, or a pair of columns, real rows behind."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from genlab.core.spec import Field
from genlab.modalities.value_pictures import seen

__all__ = ["draw_column", "draw_pair", "related_pairs"]

MOST_CATEGORIES = 20
"""Of a column in a picture: those that are most frequent in the real data."""
BINS = 30
MOST_IN_PAIRS = 12
"""Categories of a column beside another."""
MOST_OF_ONE = 2
"""Pairs that a column is shown in: the sizes of one thing would leave no room for others."""
QUARTERS = (0.25, 0.5, 0.75)
_GRAY, _BLUE = "0.8", "tab:blue"


def draw_column(axes: Any, field: Field, samples: np.ndarray, real: np.ndarray | None) -> None:
    """Draw how the values of a column are distributed, as shares: bars of categories, a histogram of numbers."""
    if field.levels is None:
        edges = _edges(*_limits(samples if real is None else real), field.step)
        for values, look in _layers(real, samples):
            counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
            axes.stairs(counts / max(1, len(values)), edges, **look)
        axes.locator_params(axis="x", nbins=4)
    else:
        counts = [np.bincount(v.astype(int), minlength=field.levels) for v, _ in _layers(real, samples)]
        shown = _frequent(samples if real is None else real, field, MOST_CATEGORIES)
        for (values, look), count in zip(_layers(real, samples), counts, strict=True):
            width = 0.8 if look["fill"] else 0.5
            axes.bar(np.arange(len(shown)), count[shown] / max(1, len(values)), width, color=look["color"])
        axes.set_xticks(np.arange(len(shown)), _names(field, shown), rotation=90, parse_math=False)
    axes.set_title(seen(field.name, 28), fontsize=8, loc="left", parse_math=False)
    axes.set_ylabel("share", fontsize=7)
    axes.tick_params(labelsize=6)


def _layers(real: np.ndarray | None, samples: np.ndarray) -> list[tuple[np.ndarray, dict[str, Any]]]:
    behind = [] if real is None else [(real, {"color": _GRAY, "fill": True})]
    return [*behind, (samples, {"color": _BLUE, "fill": False})]


def _edges(low: float, high: float, step: float | None) -> np.ndarray:
    """Bins of one width; of rounded numbers each holds as many cells, or some would stand out by that alone."""
    if step is None or high - low > BINS * step * 20:
        return np.linspace(low, high, BINS + 1)
    cells = max(1, round((high - low) / step / BINS))
    first = (np.floor(low / step) - 0.5) * step
    return first + cells * step * np.arange(np.ceil((high - first) / (cells * step)) + 1)


def related_pairs(x: np.ndarray, fields: Sequence[Field], most: int) -> list[tuple[int, int]]:
    """Return the places of the pairs of columns that depend most on each other, no column in more than two.

    No pair closes a circle, as in the tree of Chow and Liu (1968): what depends on one column by another is not shown
    again. Dependence is Cramér's V, numbers cut at their quartiles, less what chance gives: Bergsma (2013), "A
    bias-correction for Cramér's V and Tschuprow's T".

    Args:
        x: ``[N, D]``.
        fields: The columns.
        most: How many pairs.
    """
    # What says that another column is missing depends on that by its making.
    places = [place for place, field in enumerate(fields) if field.marks is None]
    codes = {place: _codes(x[:, place], fields[place]) for place in places}
    strength = {pair: _association(codes[pair[0]], codes[pair[1]]) for pair in itertools.combinations(places, 2)}
    shown: list[tuple[int, int]] = []
    times: Counter[int] = Counter()
    tree = {place: place for place in places}
    for first, second in sorted(strength, key=lambda pair: -strength[pair]):
        if len(shown) < most and max(times[first], times[second]) < MOST_OF_ONE and tree[first] != tree[second]:
            shown.append((first, second))
            times.update((first, second))
            joined, other = tree[first], tree[second]
            tree = {place: joined if of == other else of for place, of in tree.items()}
    return shown


def _codes(values: np.ndarray, field: Field) -> np.ndarray:
    if field.levels is None:
        return np.searchsorted(np.unique(np.quantile(values, QUARTERS)), values)
    shown = _frequent(values, field, MOST_CATEGORIES)
    return np.where(np.isin(values, shown), values, -1)


def _association(first: np.ndarray, second: np.ndarray) -> float:
    rows, columns = (np.unique(codes, return_inverse=True)[1].reshape(-1) for codes in (first, second))
    r, k, n = int(rows.max()) + 1, int(columns.max()) + 1, len(rows)
    table = np.bincount(rows * k + columns, minlength=r * k).reshape(r, k) / n
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    phi = max(0.0, ((table - expected) ** 2 / expected).sum() - (r - 1) * (k - 1) / max(1, n - 1))
    least = min(size - (size - 1) ** 2 / max(1, n - 1) for size in (r, k)) - 1
    return float(np.sqrt(phi / least)) if least > 0 else 0.0


Columns = tuple[np.ndarray, np.ndarray]


def draw_pair(axes: Any, fields: tuple[Field, Field], samples: Columns, real: Columns | None) -> None:
    """Draw two columns against each other, real rows in gray behind: points of numbers, boxes of numbers by category,
    squares of categories as large as the share of rows that have both."""
    kinds = [field.levels is not None for field in fields]
    if kinds == [False, True]:
        fields, samples, real = fields[::-1], samples[::-1], None if real is None else real[::-1]
    draw = (_draw_points, _draw_boxes, _draw_squares)[sum(kinds)]
    known = samples if real is None else real
    draw(axes, fields, samples, real, known)
    for name, field in zip(("x", "y"), fields, strict=True):
        set_label = axes.set_xlabel if name == "x" else axes.set_ylabel
        set_label(seen(field.name, 28), fontsize=7, parse_math=False)
        if field.levels is None:
            axes.locator_params(axis=name, nbins=5)
    axes.tick_params(labelsize=6)


def _draw_points(
    axes: Any, fields: tuple[Field, Field], samples: Columns, real: Columns | None, known: Columns
) -> None:
    limits = [_limits(values) for values in known]
    for (x, y), colour, size in (*([] if real is None else [(real, _GRAY, 14)]), (samples, _BLUE, 3)):
        # As in the histograms, what lies far out is at the ends.
        axes.scatter(x.clip(*limits[0]), y.clip(*limits[1]), s=size, color=colour, linewidths=0)
    axes.set(xlim=limits[0], ylim=limits[1])


def _draw_boxes(axes: Any, fields: tuple[Field, Field], samples: Columns, real: Columns | None, known: Columns) -> None:
    """Draw the middle half and the median of a number for each category, and lines over the middle nine tenths."""
    shown = _frequent(known[0], fields[0], MOST_IN_PAIRS)
    for columns, width, look in (
        (real, 0.8, {"color": _GRAY}),
        (samples, 0.5, {"edgecolor": _BLUE, "facecolor": "none"}),
    ):
        for place, category in enumerate(shown):
            values = np.empty(0) if columns is None else columns[1][columns[0] == category]
            values = values[np.isfinite(values)]
            if len(values) == 0:
                continue
            low, lower, middle, upper, high = np.quantile(values, (0.05, *QUARTERS, 0.95))
            colour = look.get("color", _BLUE)
            axes.bar(place, upper - lower, width, bottom=lower, **look)
            axes.vlines([place, place], [low, upper], [lower, high], color=colour, linewidth=1)
            axes.hlines(middle, place - width / 2, place + width / 2, color="0.55" if colour == _GRAY else _BLUE)
    axes.set_xticks(np.arange(len(shown)), _names(fields[0], shown), rotation=90, parse_math=False)
    axes.set_ylim(*_limits(known[1]))


def _draw_squares(
    axes: Any, fields: tuple[Field, Field], samples: Columns, real: Columns | None, known: Columns
) -> None:
    from matplotlib.patches import Rectangle

    shown = [_frequent(values, field, MOST_IN_PAIRS) for values, field in zip(known, fields, strict=True)]
    shares = [_shares(columns, shown) for columns in (real, samples) if columns is not None]
    largest = max(1e-12, *(share.max() for share in shares))
    looks = ({"color": _GRAY}, {"edgecolor": _BLUE, "facecolor": "none"})[-len(shares) :]
    for share, look in zip(shares, looks, strict=True):
        sides = 0.9 * np.sqrt(share / largest)
        for i, j in np.argwhere(share > 0):
            side = sides[i, j]
            axes.add_patch(Rectangle((i - side / 2, j - side / 2), side, side, **look))
    axes.set(xlim=(-0.6, len(shown[0]) - 0.4), ylim=(-0.6, len(shown[1]) - 0.4))
    axes.set_xticks(np.arange(len(shown[0])), _names(fields[0], shown[0]), rotation=90, parse_math=False)
    axes.set_yticks(np.arange(len(shown[1])), _names(fields[1], shown[1]), parse_math=False)


def _shares(columns: Columns, shown: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the rows that have each pair of the shown categories: ``[A, B]``."""
    first, second = (values[:, None] == some for values, some in zip(columns, shown, strict=True))
    return first.T.astype(float) @ second.astype(float) / max(1, len(columns[0]))


def _frequent(values: np.ndarray, field: Field, most: int) -> np.ndarray:
    """Return the most frequent categories, the most frequent one first."""
    counts = np.bincount(values.astype(int), minlength=field.levels or 0)
    return np.argsort(-counts, kind="stable")[:most]


def _names(field: Field, shown: np.ndarray) -> list[str]:
    return [seen(field.categories[i] if field.categories else str(i), 10) for i in shown]


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return where an axis ends: a tail would leave no room for the rest."""
    low, high = np.quantile(values[np.isfinite(values)], [0.005, 0.995]) if np.isfinite(values).any() else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
