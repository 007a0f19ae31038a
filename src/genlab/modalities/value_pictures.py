"""Pictures of what belongs together place by place, for data that is looked at value by value: a panel for each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genlab.core.spec import Field
from genlab.runs.atomic import atomic_file

__all__ = ["draw_rows", "seen"]

IN_A_ROW, MOST_PANELS = 4, 24
MOST_NAMES = 12
"""Categories whose names stand beside an axis."""


def draw_rows(
    rows: Mapping[str, Tensor], fields: Sequence[Field], path: Path, title: str, columns: int | None = None
) -> None:
    """Save a picture with a panel for each value of an example.

    Values of other rows against those of the row ``example``, whose diagonal is where they are the same; or, where
    the number of columns is said, as of ways and of rankings, along the row. Values that are not finite are not shown.

    Args:
        rows: For each name ``[N, D]``, as many in each.
        fields: Name and kind of each of the D values; of more than 24 the first are shown.
        path: File to write; its folder is made.
        title: Says which run.
        columns: As of :meth:`genlab.modalities.base.Modality.preview_rows`.
    """
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    values = {name: x.cpu().double().numpy() for name, x in rows.items()}
    count = min(len(fields), MOST_PANELS)
    across = min(IN_A_ROW, count)
    figure = Figure(figsize=(3.2 * across, 2.6 * -(-count // across) + 0.9), layout="constrained")
    panels = figure.subplots(-(-count // across), across, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for place, (axes, field) in enumerate(zip(panels.flat[:count], fields, strict=False)):
        if columns is None:
            _draw_against(axes, {name: x[:, place] for name, x in values.items()})
        else:
            _draw_along(axes, {name: x[:, place] for name, x in values.items()})
        axes.set_title(seen(field.name, 28), fontsize=8, loc="left", parse_math=False)
        axes.tick_params(labelsize=6)
        for axis in ("x", "y") if columns is None else ("y",):
            _name_categories(axes, field, axis)
    panels.flat[0].legend(fontsize=6)
    more = f"; {len(fields) - count} more columns" if count < len(fields) else ""
    figure.suptitle(f"{textwrap.fill(title, 38 * max(2, across))}{more}", fontsize=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _draw_against(axes: Any, values: Mapping[str, Any]) -> None:
    example = values["example"]
    axes.axline((float(example[0]), float(example[0])), slope=1, color="0.8", linewidth=0.8, zorder=0)
    for name, others in values.items():
        if name != "example":
            axes.scatter(example, others, s=8, linewidths=0, alpha=0.7, label=name)
    there = np.concatenate(list(values.values()))
    low, high = there[np.isfinite(there)].min(), there[np.isfinite(there)].max()
    margin = 0.05 * (high - low) or 0.5
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))  # one scale: a mean is seen as one
    axes.set_xlabel("example", fontsize=7)


def _draw_along(axes: Any, values: Mapping[str, Any]) -> None:
    for name, way in values.items():
        (line,) = axes.plot(range(1, len(way) + 1), way, linewidth=0.6, alpha=0.4)
        axes.plot(range(1, len(way) + 1), way, ".", markersize=4, color=line.get_color(), label=name)
    axes.set_xlabel("place in the row", fontsize=7)


def _name_categories(axes: Any, field: Field, axis: str) -> None:
    if field.levels is not None and field.levels <= MOST_NAMES:
        names = [seen(name, 10) for name in field.categories] or [str(number) for number in range(field.levels)]
        set_ticks, turned = (axes.set_xticks, 90) if axis == "x" else (axes.set_yticks, 0)
        set_ticks(range(field.levels), names, rotation=turned, parse_math=False)


def seen(text: str, most: int) -> str:
    """Text of data as it can stand in a picture: on one line, without what cannot be seen, cut off where it is long."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= most else f"{clean[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
