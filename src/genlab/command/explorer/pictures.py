"""Examples as a page shows them: what commands write as files, as ``data:`` URIs and texts."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genlab.command.explorer.tables import DRAWING
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.modalities.base import Places

__all__ = ["each_alone", "of_rows", "of_samples"]

_TYPES = {".png": "image/png", ".wav": "audio/wav"}
MOST_TEXT = 4000
"""Letters of a text that are shown."""
MOST_FILES = 12
"""Sounds and texts that are shown."""
WIDE_PIXELS = 1000
"""As in the report: from this width on a picture is a drawing that is to be seen large."""


def of_samples(x: Tensor, spec: DataSpec, title: str, real: Tensor | None = None) -> dict[str, Any]:
    """Return the picture of examples ``[N, *spec.shape]``, and what there is to hear or read of them.

    Args:
        x: In the data's own values.
        spec: What one example is.
        title: As for `Modality.preview`.
        real: Real data to show beside them, likewise.
    """
    modality = modality_of(spec)
    return _made(x, spec, lambda path: modality.preview(x, spec, path, title, real))


def of_rows(
    rows: Mapping[str, Tensor], heard: Tensor | None, spec: DataSpec, title: str, places: Places | None = None
) -> dict[str, Any]:
    """Return the picture of rows of examples; see `Modality.preview_rows`.

    Args:
        rows: By name, ``example`` being real.
        heard: Which of them are there to hear or read, too; None: none.
        spec: What one example is.
        title: As for `Modality.preview_rows`.
        places: Likewise.
    """
    modality = modality_of(spec)
    return _made(heard, spec, lambda path: modality.preview_rows(rows, spec, path, title, places))


def _made(x: Tensor | None, spec: DataSpec, draw: Callable[[Path], bool]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="genlab-") as folder, DRAWING:
        path = Path(folder) / "picture.png"
        files = [] if x is None else modality_of(spec).write(x, spec, Path(folder) / "examples")
        is_read = any(file.suffix == ".txt" for file in files)  # of which a picture would be the same again
        picture = _uri(path) if not is_read and draw(path) else None
        return {
            "picture": picture,
            "smooth": modality_of(spec).layouts[0] != "grid",
            "wide": picture is not None and _width(path) >= WIDE_PIXELS,
            "sounds": [_uri(file) for file in files if file.suffix == ".wav"][:MOST_FILES],
            "texts": [_text(file) for file in files if file.suffix in (".txt", ".csv")][:MOST_FILES],
            "wrapped": is_read,
        }


def each_alone(x: Tensor, spec: DataSpec) -> list[str | None]:
    """Return examples ``[N, *spec.shape]`` one by one as pictures of their own, None where this kind has none."""
    with tempfile.TemporaryDirectory(prefix="genlab-") as folder:
        found = []
        for number, example in enumerate(x):
            path = modality_of(spec).write_one(example, spec, Path(folder) / str(number))
            found.append(_uri(path) if path is not None and path.suffix == ".png" else None)
        return found


def _uri(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} ..."


def _width(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(20)[16:], "big")
