"""Tables: rows of numbers and categories."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec, Field
from genlab.modalities.base import Modality, Places
from genlab.modalities.csv_rows import read_rows
from genlab.modalities.registry import register
from genlab.modalities.table_pictures import draw_column, draw_pair, related_pairs
from genlab.modalities.value_pictures import draw_rows
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["Table", "as_text"]

IN_A_ROW, MOST_COLUMNS, MOST_PAIRS = 4, 24, 8
"""Panels side by side in a picture, and the columns and pairs of columns that it shows."""
DIGITS = 7
"""Significant digits that every float32 keeps, of numbers that are written with as many decimals as they have."""


class Table(Modality):
    """Rows ``[D]``, float32: numbers in the table's own units, categories as whole numbers among them.

    A preview shows how each column is distributed, and below the pairs of columns that depend most on each other, real
    rows behind; a file has the rows as they would stand in the table that they were learned from.
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
        drawn = samples[:, : len(fields)].cpu().numpy()
        behind = None if real is None else real[:, : len(fields)].cpu().numpy()
        pairs = related_pairs(drawn if behind is None else behind, fields, MOST_PAIRS)
        bands = [-(-count // IN_A_ROW) for count in (len(fields), len(pairs))]
        across = max(min(IN_A_ROW, len(fields)), min(IN_A_ROW, len(pairs)))
        figure = Figure(figsize=(3.2 * across, 2.4 * sum(bands) + 0.7), layout="constrained")
        panels = figure.subplots(sum(bands), across, squeeze=False)
        for column, (axes, field) in enumerate(zip(panels[: bands[0]].flat, fields, strict=False)):
            draw_column(axes, field, drawn[:, column], None if behind is None else behind[:, column])
        for axes, (i, j) in zip(panels[bands[0] :].flat, pairs, strict=False):
            of_real = None if behind is None else (behind[:, i], behind[:, j])
            draw_pair(axes, (fields[i], fields[j]), (drawn[:, i], drawn[:, j]), of_real)
        for axes in panels.flat:
            if not axes.has_data():
                axes.set_axis_off()
        more = f"; {len(spec.fields) - len(fields)} more columns" if len(fields) < len(spec.fields) else ""
        counts = f"blue: {len(samples):,} samples" + ("" if real is None else f"; gray: {len(real):,} real rows")
        figure.suptitle(f"{textwrap.fill(title, 38 * across)}\n{counts}{more}", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Title": title})
        return True

    def blank(self, spec: DataSpec) -> float:
        return math.nan

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        draw_rows(rows, spec.fields, path, title, places)
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path, labels: Tensor | None = None) -> list[Path]:
        path = stem.with_name(f"{stem.name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, as_text(samples, spec, labels).encode())
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


def as_text(x: Tensor, spec: DataSpec, labels: Tensor | None = None) -> str:
    """Return rows ``[N, D]`` as a CSV file: a line of names, then categories by name and numbers with their decimals.

    What a column says to be missing is empty, and that column is no part of the file. Labels ``[N]`` whose classes have
    names are its last column.
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
    if labels is not None and (label := spec.label) is not None:
        columns.append([label.name, *(_written(value, label) for value in labels.tolist())])
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


register(Table())
