"""What a page shows that is on the disk already: the runs, the comparison of their results, their curves. No torch."""

from __future__ import annotations

import csv
import math
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from genlab.command.explorer.asked import CurvesOf, Nothing
from genlab.command.explorer.commands import command
from genlab.command.explorer.logs import MOST_BYTES, Logs
from genlab.comparison import cells
from genlab.comparison.columns import LIKELIHOOD, leading_columns
from genlab.comparison.ranking import Group, Row, compare
from genlab.comparison.reading import RunResult, Skipped, find_result_files, read_results
from genlab.comparison.visible import visible
from genlab.core.errors import GenlabError
from genlab.measure.figures import validated
from genlab.runs.folder import RunDir, read_config
from genlab.runs.metrics_csv import MetricsCsv

__all__ = ["DRAWING", "curves", "list_runs", "table"]

DRAWING = threading.Lock()
"""Held while matplotlib draws, whose settings are those of the whole process."""

MOST_FIRST = 3
"""Runs that are chosen at the start."""
NO_WEIGHTS = "no weights yet"
MOST_POINTS = 2000
"""Of a curve; more are not seen."""
MOST_DRAWN = 1e100
"""Values from here on have no place on an axis."""


def list_runs(logs: Logs, asked: Nothing) -> dict[str, Any]:
    """Return all runs, those of the same data together, the newest first, and which are chosen at the start."""
    names = logs.names()
    results, _ = read_results(path for name in names for path in logs.results(logs.run(name)))
    newest = {logs.name_of(result): result for result in sorted(results, key=lambda result: result.created)}
    found = [_described(logs, name, newest.get(name)) for name in names]
    found.sort(key=lambda run: (run["changed"], run["name"]), reverse=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in found:
        groups.setdefault(run["data"], []).append(run)
    shown = [run for runs in groups.values() for run in runs]
    return {
        "logs": visible(str(logs.root)),
        "groups": [{"data": data, "runs": runs} for data, runs in groups.items()],
        "first": _first(shown),
    }


def _first(shown: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the runs that are chosen at the start: the newest of one data set, finished ones if any."""
    ready = [run for run in shown if run["state"] != NO_WEIGHTS]
    newest = next((run for run in ready if run["state"] == ""), ready[0] if ready else None)
    if newest is None:
        return []
    alike = (run["name"] for run in ready if (run["data"], run["state"]) == (newest["data"], newest["state"]))
    return list(islice(alike, MOST_FIRST))


def _described(logs: Logs, name: str, result: RunResult | None) -> dict[str, Any]:
    data, model, ident = map(visible, name.split("/"))
    run = logs.run(name)
    told = {"name": name, "id": ident, "changed": _changed(run)}
    if result is None:
        return (
            told
            | {"data": data, "model": model, "family": _family(run), "variant": "", "figures": []}
            | {"state": "not finished" if _has_weights(run) else NO_WEIGHTS}
        )
    shown = [column for column in (LIKELIHOOD, *leading_columns()[:1]) if column.key in result.figures]
    figures = [
        {
            "label": f"{column.heading} ({result.data.unit})" if column is LIKELIHOOD else column.heading,
            "value": column.write(result.figures[column.key]),
            "kind": (result.kind or "") if column is LIKELIHOOD else "",
        }
        for column in shown
    ]
    return told | {
        "data": result.data.name, "model": result.model, "family": result.family, "variant": result.variant,
        "figures": figures, "state": "",
    }  # fmt: skip


def _has_weights(run: RunDir) -> bool:
    return run.best_checkpoint.is_file() or run.last_checkpoint.is_file()


def _family(run: RunDir) -> str:
    try:
        return visible(str(read_config(run).get("model", {}).get("name", "")))
    except (GenlabError, OSError, AttributeError):
        return ""


def _changed(run: RunDir) -> float:
    try:
        return run.config.stat().st_mtime
    except OSError:
        return 0.0


def table(logs: Logs, asked: Nothing) -> dict[str, Any]:
    """Return the comparison of all results, as `compare` has it: a table for each data set and protocol."""
    closed: list[Skipped] = []
    files = [path for path in find_result_files([logs.root], closed) if logs.holds(Path(path), MOST_BYTES)]
    comparison = compare(*read_results(files))
    return {
        "groups": [_group(logs, group) for group in comparison.groups],
        "legend": cells.LEGEND,
        "skipped": cells.skipped_line(comparison),
        "command": command("compare", None, **{"paths.logs": logs.root}),
    }


def _group(logs: Logs, group: Group) -> dict[str, Any]:
    leading = leading_columns()
    first = [column for column in (*reversed(leading), *group.columns) if column in group.columns]
    shown = list(dict.fromkeys(first))
    return {
        "title": cells.title(group),
        "subtitle": cells.subtitle(group),
        "columns": [{"heading": cells.heading(group, column), "arrow": cells.arrow(column)} for column in shown],
        "rows": [_row(logs, row, [cells.cell(row, column) for column in shown]) for row in group.rows],
        "notes": [cells.ordered_by(group), *cells.notes(group)],
        "command": command("compare", None, data=group.data.name, **{"paths.logs": logs.root}),
    }


def _row(logs: Logs, row: Row, found: Sequence[cells.Cell]) -> dict[str, Any]:
    note = ", ".join(filter(None, (row.reference if row.reference != row.model else "", row.first.variant, row.note)))
    return {
        "model": row.model,
        "note": note,
        "reference": bool(row.reference),
        "runs": [name for run in row.runs if (name := logs.name_of(run))],
        "cells": [{"text": cell.text, "remark": cell.remark, "best": cell.best} for cell in found],
    }


def curves(logs: Logs, asked: CurvesOf) -> dict[str, Any]:
    """Return a figure against examples seen, as a drawing with a curve for each run, and the figures that there are.

    Raises:
        GenlabError: If no run has it.
    """
    runs = [logs.run(name) for name in asked.runs]
    rows = [_rows(logs, run) for run in runs]
    known = list(dict.fromkeys(key for each in rows for row in each for key in row if key != MetricsCsv.POSITION))
    if not known:
        raise GenlabError("None of these runs has a metrics.csv with figures yet.")
    # What most of these runs have is shown first, of that the main figures of validation.
    main = [f"val/{figure.key}" for figure in validated(headlines_only=True)]
    having = {key: sum(any(row.get(key) for row in each) for each in rows) for key in known}
    known.sort(key=lambda key: (-having[key], key not in main, not key.startswith("val/"), key))
    figure = asked.figure if asked.figure is not None else known[0]
    if figure not in known:
        raise GenlabError(f"No run has the figure '{visible(figure)}'.")
    values = [_values(each, figure) for each in rows]
    drawn = [[(x, y) for x, y in each if math.isfinite(y) and abs(y) < MOST_DRAWN] for each in values]
    with DRAWING:
        from genlab.comparison.plots import STYLES, Series, line_plot

        series = [
            Series(visible(run.id), place % STYLES, _thinned(points))
            for place, (run, points) in enumerate(zip(runs, drawn, strict=True))
            if points
        ]
        title = f"{visible(figure)} against examples seen"
        svg = line_plot(series, "examples seen", visible(figure), title, "curves") if series else ""
    # Of all values, drawn or not: a curve that ends in nan does not end where its drawing does.
    last = [{"run": name, "last": f"{each[-1][1]:.5g}" if each else "", "points": len(points)}
            for name, each, points in zip(asked.runs, values, drawn, strict=True)]  # fmt: skip
    report = {"formats": ["html"], "out": "report", "paths.logs": logs.root}
    return {
        "svg": svg,
        "figure": figure,
        "figures": known,
        "runs": last,
        "files": [str(run.metrics) for run in runs],
        "command": command("compare", None, **report),
    }


def _rows(logs: Logs, run: RunDir) -> list[dict[str, str]]:
    if not logs.holds(run.metrics, MOST_BYTES):
        return []
    try:
        return MetricsCsv(Path(run.metrics)).rows()
    except (OSError, ValueError, csv.Error):
        return []


def _values(rows: Sequence[dict[str, str]], figure: str) -> list[tuple[float, float]]:
    """Return a figure against examples seen, nan and infinities too."""
    values = []
    for row in rows:
        try:
            values.append((float(row[MetricsCsv.POSITION]), float(row.get(figure) or "none")))
        except ValueError:  # this row has none
            continue
    return values


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return so many points that all are seen, evenly spaced, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    return [points[place * (len(points) - 1) // (MOST_POINTS - 1)] for place in range(MOST_POINTS)]
