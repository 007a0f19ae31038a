"""Tables: rows of numbers and categories."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec, Field
from genlab.modalities.base import Modality
from genlab.modalities.registry import register
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["Table", "as_text"]

IN_A_ROW, MOST_COLUMNS = 4, 24
"""Panels side by side in a picture, and columns that it shows."""
MOST_CATEGORIES = 20
"""Of a column in a picture: those that are most frequent in the real data."""
BINS = 30
DIGITS = 7
"""Significant digits that every float32 keeps, of numbers that are written with as many decimals as they have."""


class Table(Modality):
    """Rows ``[D]``, float32: numbers in the table's own units, categories as whole numbers among them.

    A preview shows how each column is distributed, real rows behind; a file has the rows as they would stand in the
    table that they were learned from.
    """

    name = "table"
    axes = ("D",)
    layouts = ("flat",)
    judged_as = frozenset({"table"})
    sample_figure = "column_distance"
    validation_samples_per_image = 10
    preview_samples_per_image = 16
    endings_of_many = (".csv",)

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        # The object interface: pyplot would look for a display and keep the figure alive.
        from matplotlib.figure import Figure

        fields = spec.fields[:MOST_COLUMNS]
        rows = -(-len(fields) // IN_A_ROW)
        across = min(IN_A_ROW, len(fields))
        figure = Figure(figsize=(3.2 * across, 2.4 * rows + 0.7), layout="constrained")
        panels = figure.subplots(rows, across, squeeze=False).flatten()
        for column, (axes, field) in enumerate(zip(panels, fields, strict=False)):
            behind = None if real is None else real[:, column].cpu().numpy()
            _draw_column(axes, field, samples[:, column].cpu().numpy(), behind)
        for axes in panels[len(fields) :]:
            axes.set_axis_off()
        more = f"; {len(spec.fields) - len(fields)} more columns" if len(fields) < len(spec.fields) else ""
        counts = f"blue: {len(samples):,} samples" + ("" if real is None else f"; gray: {len(real):,} real rows")
        figure.suptitle(f"{textwrap.fill(title, 38 * across)}\n{counts}{more}", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Title": title})
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path) -> list[Path]:
        path = stem.with_name(f"{stem.name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, as_text(samples, spec).encode())
        return [path]

    def read_many(self, path: Path, spec: DataSpec) -> Tensor:
        if any(field.marks is not None for field in spec.fields):
            raise GenlabError(
                f"{spec.name} has columns that say what is missing, which a CSV file has not. Give an npy."
            )
        rows = read_rows(path)
        names = list(rows[0]) if rows else []
        if lacking := [field.name for field in spec.fields if field.name not in names]:
            raise GenlabError(f"{shown(path)} has no column '{shown(lacking[0])}', which {spec.name} has.")
        columns = [[_number(row[field.name], field, path) for row in rows] for field in spec.fields]
        return torch.tensor(columns, dtype=torch.float32).T.contiguous()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a line of names, by these names.

    Raises:
        GenlabError: If it is none.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig")), strict=True)
        rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise GenlabError(f"{shown(path)} cannot be read as CSV: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise GenlabError(f"{shown(path)} has in line {number:,} more or fewer values than names in the first.")
    return rows


def _number(text: str, field: Field, path: Path) -> float:
    if field.categories:
        if text in field.categories:
            return float(field.categories.index(text))
        raise GenlabError(
            f"{shown(path)} has '{shown(text)[:40]}' in column '{shown(field.name)}', expected one of "
            f"{', '.join(map(shown, field.categories[:8]))}."
        )
    try:
        return float(text)
    except ValueError:
        raise GenlabError(
            f"{shown(path)} has '{shown(text)[:40]}' in column '{shown(field.name)}', expected a number."
        ) from None


def as_text(x: Tensor, spec: DataSpec) -> str:
    """Return rows ``[N, D]`` as a CSV file: a line of names, then categories by name and numbers with their decimals.

    What a column says to be missing is empty, and that column is no part of the file.
    """
    places = {field.name: place for place, field in enumerate(spec.fields)}
    missing = {places[field.marks]: x[:, places[field.name]] > 0 for field in spec.fields if field.marks is not None}
    columns = []
    for place, field in enumerate(spec.fields):
        if field.marks is not None:
            continue
        written = [_written(value, field) for value in x[:, place].tolist()]
        if place in missing:
            written = ["" if gone else text for text, gone in zip(written, missing[place].tolist(), strict=True)]
        columns.append([field.name, *written])
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(zip(*columns, strict=True))
    return content.getvalue()


def _written(value: float, field: Field) -> str:
    if field.levels is not None:
        return field.categories[int(value)] if field.categories else str(int(value))
    if field.decimals is None:
        return f"{value:.{DIGITS}g}"
    text = f"{value:.{field.decimals}f}"
    return text if any(digit in "123456789" for digit in text) else text.removeprefix("-")


def _draw_column(axes: Any, field: Field, samples: np.ndarray, real: np.ndarray | None) -> None:
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


register(Table())
