"""Series: short windows of columns over time."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.core.stylized_facts import WindowFacts, resampled
from genlab.modalities.base import Modality, Places
from genlab.modalities.csv_rows import read_rows
from genlab.modalities.registry import register
from genlab.modalities.value_pictures import seen
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["NUMBERED", "Series", "column_names"]

NUMBERED = ("window", "step")
"""Columns of a file of samples, before those of the series."""

WINDOWS_DRAWN = 6
"""Windows whose course a picture shows; the facts in it are of all."""
WAYS_DRAWN = 8
"""Panels of a picture of windows that belong together."""
_SIDES = (("real", "0.45"), ("samples", "tab:blue"))
_RESAMPLES = 100
"""Of the windows, for the errors of their facts."""
_MOST_POINTS = 20_000
"""Points of a curve of the tails, at most."""


class Series(Modality):
    """Windows ``[C, T]`` of C columns over T steps, float32.

    A preview shows some windows and the stylized facts of all of them, real ones beside the samples, with a band of two
    sampling errors of the real ones; a CSV file holds all samples. Quality is measured on the values themselves, and by
    the stylized facts.
    """

    name = "series"
    axes = ("C", "T")
    layouts = ("series",)
    has_heavy_tails = True
    features = "values"
    judged_as = frozenset({"time series"})
    sample_figure = "sliced_wasserstein"
    validation_samples_per_image = 10
    preview_samples_per_image = 16
    endings_of_many = (".csv",)

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        # The object interface: pyplot would look for a display and keep the figure alive.
        from matplotlib.figure import Figure

        column = _shown(column_names(spec)[0])
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        panels = figure.subplots(2, 3)
        sides = [(x[:, :1].cpu(), name, colour) for x, (name, colour) in zip((real, samples), _SIDES, strict=True)
                 if x is not None]  # fmt: skip
        room = 6 * max(1e-12, *(float(x.double().std()) for x, *_ in sides))
        for x, name, colour in sides:
            _draw_windows(panels[0, 0], x, name, colour, room)
            _draw_tail(panels[0, 1], x, name, colour)
            _draw_facts(panels.flat[2:], x, name, colour)
        for axes in panels.flat[2:]:
            axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        panels[0, 0].set_xlabel("step", fontsize=8)
        panels[0, 0].set_title("some windows, one above the other", fontsize=9)
        panels[0, 1].set_title("share of values farther from the mean", fontsize=9)
        panels[0, 1].set(xscale="log", yscale="log")
        panels[0, 1].set_xlabel("distance in standard deviations", fontsize=8)
        panels[0, 1].legend(fontsize=8)
        for axes in panels.flat:
            axes.tick_params(labelsize=7)
        figure.suptitle(textwrap.fill(f"{column}: {title}", 140), fontsize=8, parse_math=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Title": title})
        return True

    def blank(self, spec: DataSpec) -> float:
        return math.nan  # a gap in the line

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        """Save a panel for each place with the windows of all rows; or, where rows are ways, one for each way."""
        first = {name: x[:, 0].cpu().double().numpy() for name, x in rows.items()}
        if places is None:
            shown = min(WAYS_DRAWN, len(next(iter(first.values()))))
            panels = [(f"window {place + 1}", {name: x[place] for name, x in first.items()}) for place in range(shown)]
        else:
            ways = list(first.items())[:WAYS_DRAWN]
            panels = [(name, dict(zip(places.names, way, strict=True))) for name, way in ways]
        _draw_panels(panels, column_names(spec), path, title, places)
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path, labels: Tensor | None = None) -> list[Path]:
        content = io.StringIO()
        rows = csv.writer(content, lineterminator="\n")
        rows.writerow([*NUMBERED, *column_names(spec)])
        for number, window in enumerate(samples.cpu().transpose(1, 2).tolist(), 1):
            rows.writerows([number, step, *values] for step, values in enumerate(window, 1))
        path = stem.with_name(f"{stem.name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue().encode())
        return [path]

    def read_many(self, path: Path, spec: DataSpec) -> Tensor:
        """Read the columns of the data, T lines for each window, one window after the other."""
        rows = read_rows(path)
        names, steps = column_names(spec), spec.shape[1]
        if lacking := [name for name in names if name not in (rows[0] if rows else ())]:
            raise GenlabError(f"{shown(path)} has no column '{shown(lacking[0])}', which {spec.name} has.")
        windows = [row.get("window") for row in rows]
        if len(rows) % steps or any(windows[k] != windows[k - k % steps] for k in range(len(rows))):
            raise GenlabError(
                f"{shown(path)} has {len(rows):,} lines, expected {steps} of each window of {spec.name}, one window "
                "after the other."
            )
        try:
            values = [[float(row[name]) for name in names] for row in rows]
        except ValueError as error:
            raise GenlabError(f"{shown(path)} holds what is no number: {error}.") from error
        x = torch.tensor(values, dtype=torch.float32).view(-1, steps, len(names))
        return x.transpose(1, 2).contiguous()


_TITLES = {
    "autocorrelation": "autocorrelation of r",
    "autocorrelation_abs": "autocorrelation of |r|",
    "autocorrelation_squared": "autocorrelation of r²",
    "leverage": "correlation of r with a later r²",
}
"""What the panels of the facts with lags say above them; r is the distance from the mean."""


def column_names(spec: DataSpec) -> list[str]:
    """Return the names of the columns of a series; numbers where they have none."""
    return list(spec.columns) or [f"column_{number}" for number in range(1, spec.shape[0] + 1)]


def _shown(name: str) -> str:
    """Return a name from a file as it can stand in a picture."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _draw_panels(
    panels: Sequence[tuple[str, Mapping[str, np.ndarray]]],
    columns: Sequence[str],
    path: Path,
    title: str,
    places: Places | None,
) -> None:
    """Draw windows ``[T]`` that belong together over each other; those of a way from dark to bright."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(max(6.4, 3.2 * across), 2.2 * down + 0.9), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, windows) in zip(grid.flat, panels, strict=False):
        shades = iter(colormaps["viridis"](np.linspace(0, 0.9, len(windows))))
        for number, (label, window) in enumerate(windows.items()):
            colour = next(shades) if places else "0.45" if label == "example" else None
            # The first on top: what is given is part of each completion.
            steps = np.arange(1, len(window) + 1)
            axes.plot(steps, window, linewidth=0.9, label=label, color=colour, zorder=2 - number / 100)
        axes.set_title(name, fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
    for axes in grid[-1]:
        axes.set_xlabel("time step", fontsize=7)
    for axes in grid[:, 0]:
        axes.set_ylabel(seen(columns[0], 36), fontsize=7, parse_math=False)
    # Beside the panels, since lines are everywhere in them.
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(), loc="outside right upper", fontsize=6,
        title=textwrap.fill(places.label, 18) if places else None, title_fontsize=6,
    )  # fmt: skip
    more = f"; the first of {len(columns)} columns" if len(columns) > 1 else ""
    figure.suptitle(textwrap.fill(f"{title}{more}", 45 * max(2, across)), fontsize=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _draw_windows(axes: Any, x: Tensor, name: str, colour: str, room: float) -> None:
    """Draw some windows of one column ``[N, 1, T]``, real ones on the left and samples on the right, ``room`` apart."""
    values = x[:WINDOWS_DRAWN, 0].double().numpy()
    steps = np.arange(1, values.shape[1] + 1) + (0 if name == _SIDES[0][0] else 1.1 * values.shape[1])
    for place, window in enumerate(values):
        axes.plot(steps, window - place * room, color=colour, linewidth=0.8)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.margins(y=0.12)
    axes.text(steps[0], 0.98, name, color=colour, fontsize=8, va="top", transform=axes.get_xaxis_transform())


def _draw_facts(panels: Any, x: Tensor, name: str, colour: str) -> None:
    """Draw the facts of one column ``[N, 1, T]`` by lag and, of real windows, a band of two sampling errors."""
    windows, is_real = WindowFacts(x), name == _SIDES[0][0]
    facts, errors = windows.compute(), {}
    if is_real:
        count, source = windows.count, torch.Generator().manual_seed(0)
        again = windows.compute(resampled(count, count, _RESAMPLES, source))  # those shown are in no order
        errors = {key: found.std(0) for key, found in again.items()}
    for axes, key in zip(panels, _TITLES, strict=True):
        fact = facts[key][0, 0].numpy()
        lags = np.arange(1, len(fact) + 1)
        axes.plot(lags, fact, ".-", color=colour, label=name)
        if is_real:
            band = 2 * errors[key][0].numpy()
            axes.fill_between(lags, fact - band, fact + band, color="0.9", linewidth=0, zorder=0)
        axes.set_title(_TITLES[key], fontsize=9)
        axes.set_xlabel("lag (steps)", fontsize=8)


def _draw_tail(axes: Any, x: Tensor, name: str, colour: str) -> None:
    values = x.double().flatten()
    sizes = ((values - values.mean()).abs() / values.std().clamp_min(1e-12)).sort(descending=True).values
    shares = torch.arange(1, len(sizes) + 1) / len(sizes)
    # All of the far ones, where each is seen, and of the many near ones some.
    kept = torch.unique(torch.logspace(0, np.log10(len(sizes)), min(len(sizes), _MOST_POINTS)).long().clamp(1)) - 1
    axes.plot(sizes[kept].clamp_min(0.05).numpy(), shares[kept].numpy(), ".", markersize=3, color=colour, label=name)


register(Series())
