"""Text: a sequence of symbols."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality
from genlab.modalities.registry import register
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["Text", "as_string", "decoded"]

IN_A_PICTURE = 4
"""Samples in a picture, and as many real ones beside them: what one reads at a glance."""
COLUMNS, LINES = 64, 13
"""Of a sample in a picture; what is longer is cut off."""


class Text(Modality):
    """Symbols ``[T]``, int64, numbers in an alphabet that has no order; bytes where there is no alphabet.

    A preview shows some samples as they read, real ones beside them; a file holds all of them.
    """

    name = "text"
    axes = ("T",)
    layouts = ("sequence", "symbols")
    has_order = False
    is_stationary = True
    judged_as = frozenset({"text"})
    sample_figure = "ngram_divergence"
    most_shown = 32
    endings_of_one = endings_of_many = (".txt",)

    def bits_unit(self, spec: DataSpec) -> str:
        return "bits/byte" if spec.alphabet is None else "bits/char"

    def blank(self, spec: DataSpec) -> float:
        if spec.alphabet is None:
            return ord("_") if (spec.levels or 0) > ord("_") else 0
        return max(0, spec.alphabet.find("_"), spec.alphabet.find(" "))

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        sides = {"sample": samples} if real is None else {"sample": samples, "real": real}
        _draw(sides, IN_A_PICTURE, spec, path, title)
        return True

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, columns: int | None = None
    ) -> bool:
        _draw(rows, columns or IN_A_PICTURE, spec, path, title)
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path) -> list[Path]:
        parts = [f"--- {number}\n{decoded(x, spec)}\n" for number, x in enumerate(samples, 1)]
        path = stem.with_name(f"{stem.name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(parts).encode())
        return [path]

    def write_one(self, example: Tensor, spec: DataSpec, stem: Path) -> Path:
        path = stem.with_name(f"{stem.name}.txt")
        write_atomic(path, as_string(example.cpu(), spec).encode(errors="replace"))
        return path

    def read_one(self, path: Path, spec: DataSpec) -> Tensor:
        symbols = _symbols(path, spec)
        if len(symbols) != spec.num_dims:
            raise GenlabError(
                f"{shown(path)} has {len(symbols):,} symbols, expected {spec.num_dims:,}, a window of {spec.name}."
            )
        return symbols

    def read_many(self, path: Path, spec: DataSpec) -> Tensor:
        """Cut one long text into windows; what is left at its end is left out."""
        symbols = _symbols(path, spec)
        windows = len(symbols) // spec.num_dims
        return symbols[: windows * spec.num_dims].view(windows, spec.num_dims)


def _symbols(path: Path, spec: DataSpec) -> Tensor:
    """Return a file of text as numbers in the alphabet, or its bytes where there is none."""
    content = path.read_bytes()
    if spec.alphabet is None:
        return torch.from_numpy(np.frombuffer(content, dtype=np.uint8).astype(np.int64))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise GenlabError(f"{shown(path)} is no text in UTF-8: {error.reason} at byte {error.start:,}.") from error
    numbers = {symbol: number for number, symbol in enumerate(spec.alphabet)}
    unknown = sorted(set(text) - set(numbers))
    if unknown:
        some = " ".join(ascii(symbol) for symbol in unknown[:5])
        raise GenlabError(f"{shown(path)} has symbols that are not in the alphabet of {spec.name}: {some}.")
    return torch.tensor([numbers[symbol] for symbol in text], dtype=torch.int64)


def as_string(x: Tensor, spec: DataSpec) -> str:
    """Return symbols ``[T]`` as the string that they are; bytes are read as UTF-8 as far as they are that."""
    if spec.alphabet is not None:
        codes = np.frombuffer(spec.alphabet.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        return codes[x.numpy()].tobytes().decode("utf-32-le", "surrogatepass")
    if (spec.levels or 0) <= 256:
        return x.numpy().astype(np.uint8).tobytes().decode("utf-8", errors="replace")
    return " ".join(map(str, x.tolist()))


def decoded(x: Tensor, spec: DataSpec) -> str:
    """Return symbols ``[T]`` as text to look at, in which a control character is seen and does nothing.

    Bytes are read as UTF-8; what is none is shown as the replacement character.
    """
    text = as_string(x.cpu(), spec)
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _draw(sides: Mapping[str, Tensor], most: int, spec: DataSpec, path: Path, title: str) -> None:
    """Draw texts below each other, of several sides beside each other."""
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    rows = min(most, len(next(iter(sides.values()))))
    figure = Figure(figsize=(5.2 * len(sides), 2.0 * rows), layout="constrained")
    panels = figure.subplots(rows, len(sides), squeeze=False)
    for column, (name, texts) in enumerate(sides.items()):
        for row in range(rows):
            axes = panels[row, column]
            axes.set_xticks([])
            axes.set_yticks([])
            if row < len(texts):
                axes.set_title(f"{name} {row + 1}", fontsize=8, loc="left")
                text = _wrapped(decoded(texts[row], spec))
                # A dollar sign is one, and no formula.
                axes.text(
                    0.01, 0.98, text, va="top", fontsize=7, family="monospace", parse_math=False,
                    transform=axes.transAxes,
                )  # fmt: skip
    figure.suptitle(textwrap.fill(title, 100 if len(sides) > 1 else 60), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _wrapped(text: str) -> str:
    lines = [part for line in text.expandtabs(4).split("\n") for part in (textwrap.wrap(line, COLUMNS) or [""])]
    return "\n".join(lines[:LINES])


register(Text())
