"""What lies beside a result: pictures and the curve of its training."""

from __future__ import annotations

import base64
import csv
from pathlib import Path

from genlab.comparison.reading import MOST, RunResult
from genlab.core.errors import GenlabError
from genlab.runs.metrics_csv import MetricsCsv

__all__ = ["neighbours_picture", "picture_uri", "samples_picture", "validation_curve"]

MOST_BYTES = 4_000_000
"""Larger pictures are left out of a report: it is one file that a browser has to open."""

_PNG = b"\x89PNG\r\n\x1a\n"


def samples_picture(run: RunResult) -> Path | None:
    """Return the picture of a run's samples: that of the result's own name, or ``samples.png`` beside a kept result."""
    return _first_file(run, f"samples/{_name(run)}.png", "samples.png")


def neighbours_picture(run: RunResult) -> Path | None:
    """Return the picture of a run's samples beside their nearest training examples, if it has one."""
    return _first_file(run, f"samples/{_name(run)}_neighbours.png", "neighbours.png")


def _name(run: RunResult) -> str:
    """The result's own name, which says the checkpoint too."""
    return Path(run.path).stem if run.path else run.protocol[0]


def _first_file(run: RunResult, in_run: str, beside: str) -> Path | None:
    if run.path is None:
        return None
    folder = Path(run.path).parent
    candidates = ([folder.parent / in_run] if folder.name == "results" else []) + [folder / beside]
    return next((path for path in candidates if path.is_file()), None)


def picture_uri(path: Path) -> str | None:
    """Return a PNG file as a ``data:`` URI; None if it cannot be read, is no PNG or is larger than 4 MB."""
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError:
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(_PNG) else None


def validation_curve(run: RunResult, name: str) -> list[tuple[float, float]]:
    """Return examples seen and a figure of validation, such as ``val/fid``; empty where there is no curve."""
    path = _first_file(run, "metrics.csv", "metrics.csv")
    if path is None:
        return []
    points = []
    try:
        for row in MetricsCsv(path).rows():
            if (text := row.get(name)) and abs(value := float(text)) < MOST:
                points.append((float(row[MetricsCsv.POSITION]), value))
    except (GenlabError, OSError, ValueError, csv.Error):  # another program's file, or a damaged one
        return []
    return points
