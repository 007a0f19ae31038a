"""Pictures of what belongs together place by place, for data that is looked at value by value: a panel for each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genlab.core.spec import Field
from genlab.modalities.base import Places
from genlab.runs.atomic import atomic_file

__all__ = ["draw_rows", "seen"]

IN_A_ROW, MOST_PANELS = 4, 24
MOST_NAMES = 12
"""Categories whose names stand beside an axis."""
MOST_PLACES = 7
"""Places of a way whose names stand below an axis."""
MOST_TICKS = 5
GIVEN = "given"


def draw_rows(
    rows: Mapping[str, Tensor], fields: Sequence[Field], path: Path, title: str, places: Places | None = None
) -> None:
    """Save a picture with a panel for each value of an example.

    Values of other rows against those of the row ``example``, whose diagonal is where they are the same; or, where
    it is said what the places are, as of ways and of rankings, along the row. Values that are not finite are not shown,
    nor those that are all given.

    Args:
        rows: For each name ``[N, D]``, as many in each.
        fields: Name and kind of each of the D values; of more than 24 the first are shown.
        path: File to write; its folder is made.
        title: Says which run.
        places: As of :meth:`genlab.modalities.base.Modality.preview_rows`.
    """
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    values = {name: x.cpu().double().numpy() for name, x in rows.items()}
    chosen = _of_interest(values, len(fields))
    shown = chosen[:MOST_PANELS]
    across = min(IN_A_ROW, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(max(6.4, 3.2 * across), 2.6 * down + 0.9), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, column in zip(panels.flat, shown, strict=False):
        field, of_column = fields[column], {name: x[:, column] for name, x in values.items()}
        _draw_against(axes, of_column, field) if places is None else _draw_along(axes, of_column, field, places)
        axes.set_title(seen(field.name, 28), fontsize=8, loc="left", parse_math=False)
        axes.tick_params(labelsize=6)
    if len(values) - ("example" in values) > 1:
        panels.flat[0].legend(fontsize=6)
    counts = [(len(chosen) - len(shown), "more columns"), (len(fields) - len(chosen), "columns all given")]
    more = "".join(f"; {what}: {count}" for count, what in counts if count)
    figure.suptitle(f"{textwrap.fill(title, 38 * max(2, across))}{more}", fontsize=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _of_interest(values: Mapping[str, np.ndarray], count: int) -> list[int]:
    """Return the columns that are not all given; all where there are no others, or nothing is given."""
    if GIVEN not in values:
        return list(range(count))
    return np.flatnonzero(~np.isfinite(values[GIVEN]).all(0)).tolist() or list(range(count))


def _draw_against(axes: Any, values: Mapping[str, np.ndarray], field: Field) -> None:
    example = values["example"]
    axes.axline((float(example[0]), float(example[0])), slope=1, color="0.8", linewidth=0.8, zorder=0)
    others = {name: x for name, x in values.items() if name not in ("example", GIVEN)}
    for name, x in others.items():
        points, counts = np.unique(np.stack([example, x]), axis=1, return_counts=True)  # of categories many are alike
        axes.scatter(*points, s=8 * counts, linewidths=0, alpha=0.7, label=name)
    if GIVEN in values and np.isfinite(values[GIVEN]).any():
        axes.scatter(example, values[GIVEN], s=8, linewidths=0, color="0.45", label=GIVEN, zorder=3)
    limits = _limits(np.concatenate(list(values.values())), field)  # one scale: a mean is seen as one
    axes.set(xlim=limits, ylim=limits)
    for axis in ("x", "y"):
        _set_ticks(axes, field, axis)
    axes.set_xlabel("example", fontsize=7)
    axes.set_ylabel(next(iter(others)) if len(others) == 1 else "completion" if GIVEN in values else "", fontsize=7)


def _draw_along(axes: Any, values: Mapping[str, np.ndarray], field: Field, places: Places) -> None:
    steps = np.arange(len(places.names))
    for name, way in values.items():
        (line,) = axes.plot(steps, way, linewidth=0.6, alpha=0.4)
        axes.plot(steps, way, ".", markersize=4, color=line.get_color(), label=name)
    _set_ticks(axes, field, "y")
    some = steps[:: -(-len(steps) // MOST_PLACES)]
    axes.set_xticks(some, [places.names[step] for step in some], parse_math=False)
    axes.set_xlabel(places.label, fontsize=7)


def _limits(values: np.ndarray, field: Field) -> tuple[float, float]:
    if field.levels is not None and field.levels <= MOST_NAMES:
        return -0.6, field.levels - 0.4
    there = values[np.isfinite(values)]
    low, high = (there.min(), there.max()) if len(there) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _set_ticks(axes: Any, field: Field, axis: str) -> None:
    """Name categories; of numbers a few, whole ones where the column has no others, and none as a difference."""
    from matplotlib.ticker import MaxNLocator

    if field.levels is not None and field.levels <= MOST_NAMES:
        names = [seen(name, 10) for name in field.categories] or [str(number) for number in range(field.levels)]
        set_ticks, turned = (axes.set_xticks, 90) if axis == "x" else (axes.set_yticks, 0)
        set_ticks(range(field.levels), names, rotation=turned, parse_math=False)
        return
    whole = field.levels is not None or (field.step or 0) >= 1
    scale = axes.xaxis if axis == "x" else axes.yaxis
    scale.set_major_locator(MaxNLocator(MOST_TICKS, integer=whole))
    axes.ticklabel_format(axis=axis, style="plain", useOffset=False)


def seen(text: str, most: int) -> str:
    """Text of data as it can stand in a picture: on one line, without what cannot be seen, cut off where it is long."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    clean = clean or "(empty)"
    return clean if len(clean) <= most else f"{clean[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
