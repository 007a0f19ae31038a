"""What lies beside a result: pictures, samples to read or to listen to, and the curve of its training."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

from genlab.comparison.reading import MOST, RunResult
from genlab.comparison.visible import visible
from genlab.core.errors import GenlabError
from genlab.runs.metrics_csv import MetricsCsv

__all__ = [
    "neighbours_picture",
    "picture_uri",
    "picture_width",
    "reconstructions_caption",
    "reconstructions_picture",
    "samples_picture",
    "samples_text",
    "sound_uris",
    "validation_curve",
    "was_validated",
]

MOST_BYTES = 4_000_000
"""Larger pictures are left out of a report: it is one file that a browser has to open."""

MOST_CHARACTERS = 8_000
"""Of the samples of a text in a report; what is longer is cut off."""
MOST_SOUNDS = 4
MOST_SOUND_BYTES = 400_000
"""Larger sounds are left out: about 12 seconds at 16 kHz."""

_PNG = b"\x89PNG\r\n\x1a\n"


def samples_picture(run: RunResult) -> Path | None:
    """Return the picture of a run's samples: that of the result's own name, or ``samples.png`` beside a kept result."""
    return _first_file(run, f"samples/{_name(run)}.png", "samples.png")


def neighbours_picture(run: RunResult) -> Path | None:
    """Return the picture of a run's samples beside their nearest training examples, if it has one."""
    return _first_file(run, f"samples/{_name(run)}_neighbours.png", "neighbours.png")


def reconstructions_picture(run: RunResult) -> Path | None:
    """Return the picture of examples beside what a run's model makes of their codes, if it has one."""
    return _first_file(run, f"samples/{_name(run)}_reconstructions.png", "reconstructions.png")


def reconstructions_caption(run: RunResult) -> str:
    """Return how far off reconstructions are and by what codes, in words; empty where no file says it."""
    path = _first_file(run, f"samples/{_name(run)}_reconstructions.json", "reconstructions.json")
    if path is None:
        return ""
    try:
        said = json.loads(_content(path, MOST_CHARACTERS) or "{}")
        means = ", ".join(f"{name.replace('_', ' ')} {float(mean):.4g}" for name, mean in said["mean_error"].items())
        rows = [str(name) for name in said.get("rows", [])]
        from_above = f"; rows from above: {', '.join(rows)}" if len(rows) > 2 else ""
        return visible(f"{means}, means in {said['unit']}; codes: {said['codes']}{from_above}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # another program's file, or damaged
        return ""


def samples_text(run: RunResult) -> str:
    """Return a run's samples as text, the first of them; empty where there are none.

    Control characters of a file of anybody's are shown as what they are called, and do nothing.
    """
    path = _first_file(run, f"samples/{_name(run)}.txt", "samples.txt")
    try:
        with path.open("rb") if path is not None else io.BytesIO() as file:
            text = file.read(4 * MOST_CHARACTERS + 1).decode("utf-8", "replace")
    except OSError:
        return ""
    cut = text[:MOST_CHARACTERS] + ("\n..." if len(text) > MOST_CHARACTERS else "")
    return "\n".join(map(visible, cut.split("\n")))


def sound_uris(run: RunResult) -> list[str]:
    """Return the first of a run's samples of sound as ``data:`` URIs, but what is no WAV file or larger than 400 kB."""
    numbers = range(1, MOST_SOUNDS + 1)
    paths = (_first_file(run, f"samples/{_name(run)}_{number}.wav", f"samples_{number}.wav") for number in numbers)
    return [uri for path in paths if path is not None and (uri := _sound_uri(path)) is not None]


def _sound_uri(path: Path) -> str | None:
    content = _content(path, MOST_SOUND_BYTES)
    is_wav = content.startswith(b"RIFF") and content[8:12] == b"WAVE"
    return f"data:audio/wav;base64,{base64.b64encode(content).decode()}" if is_wav else None


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
    content = _content(path, MOST_BYTES)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(_PNG) else None


def picture_width(path: Path) -> int:
    """Return how many pixels a PNG file is wide; 0 if it cannot be read."""
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(20)[16:], "big")
    except OSError:
        return 0


def _content(path: Path, most: int) -> bytes:
    """Return what a file holds; nothing of one that cannot be read or is larger."""
    try:
        return path.read_bytes() if path.stat().st_size <= most else b""
    except OSError:
        return b""


def validation_curve(run: RunResult, name: str) -> list[tuple[float, float]]:
    """Return examples seen and a figure of validation, such as ``val/fid``; empty where there is no curve."""
    points = []
    try:
        for row in _metrics(run):
            if (text := row.get(name)) and abs(value := float(text)) < MOST:
                points.append((float(row[MetricsCsv.POSITION]), value))
    except ValueError:  # a damaged file
        return []
    return points


def was_validated(run: RunResult) -> bool:
    """Return whether a run's curves have any figure of validation."""
    return any(text and name.startswith("val/") for row in _metrics(run) for name, text in row.items())


def _metrics(run: RunResult) -> list[dict[str, str]]:
    path = _first_file(run, "metrics.csv", "metrics.csv")
    try:
        return [] if path is None else MetricsCsv(path).rows()
    except (GenlabError, OSError, ValueError, csv.Error):  # another program's file, or a damaged one
        return []
