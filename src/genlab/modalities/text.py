"""Text: a sequence of symbols."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality, Places
from genlab.modalities.registry import register
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["Text", "as_string", "decoded"]

IN_A_PICTURE = 4
"""Samples in a picture, and as many real ones beside them: what one reads at a glance."""
ACROSS = 4
"""Texts side by side, at most."""
INCHES_OF_LINE = 0.13
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
        _draw(_side_by_side(sides, spec), path, title)
        return True

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        """Save two rows side by side, more of them below each other with fewer examples, and ways downwards."""
        if places is not None:
            ways = list(rows.items())[:ACROSS]
            cells = [[(f"{name}: {place}", decoded(x[step], spec)) for name, x in ways]
                     for step, place in enumerate(places.names)]  # fmt: skip
            more = f"; {len(rows) - ACROSS} more are not shown" if len(rows) > ACROSS else ""
            _draw(cells, path, f"{title}; down: {places.label}{more}")
        elif len(rows) <= 2:
            _draw(_side_by_side(rows, spec), path, title)
        else:
            names = {name: [f"example {number + 1}" if name == "example" else name for number in range(ACROSS)]
                     for name in rows}  # fmt: skip
            _draw([[(name, decoded(text, spec)) for name, text in zip(names[row], x, strict=False)]
                   for row, x in rows.items()], path, title)  # fmt: skip
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path, labels: Tensor | None = None) -> list[Path]:
        parts = [f"--- {number}\n{decoded(x, spec)}\n" for number, x in enumerate(samples, 1)]
        path = stem.with_name(f"{stem.name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(parts).encode())
        return [path]

    def write_one(self, example: Tensor, spec: DataSpec, stem: Path) -> Path:
        path = stem.with_name(f"{stem.name}.txt")
        # Bytes as they are: a window may cut a character in two, and a sample need be no UTF-8.
        is_bytes = spec.alphabet is None and (spec.levels or 0) <= 256
        content = bytes(example.tolist()) if is_bytes else as_string(example.cpu(), spec).encode(errors="replace")
        write_atomic(path, content)
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
    # As in a text of one's own, whose alphabet has neither.
    text = text if "\ufeff" in spec.alphabet else text.removeprefix("\ufeff")
    text = text if "\r" in spec.alphabet else text.replace("\r\n", "\n").replace("\r", "\n")
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


Cells = Sequence[Sequence[tuple[str, str]]]
"""What stands above a text, and the text, line by line of a picture."""


def _side_by_side(sides: Mapping[str, Tensor], spec: DataSpec) -> Cells:
    shown = min(IN_A_PICTURE, max(map(len, sides.values())))
    return [[(f"{name} {row + 1}", decoded(texts[row], spec)) if row < len(texts) else ("", "")
             for name, texts in sides.items()] for row in range(shown)]  # fmt: skip


def _draw(cells: Cells, path: Path, title: str) -> None:
    """Draw texts in lines and columns, each line as high as its longest text."""
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    texts = [[_wrapped(text) for _, text in line] for line in cells]
    heights = [INCHES_OF_LINE * (2.5 + max(text.count("\n") + 1 for text in line)) for line in texts]
    across = len(cells[0])
    figure = Figure(figsize=(max(5.2, 4.6 * across), sum(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(cells), across, squeeze=False, height_ratios=heights)
    for axes, (name, _), text in zip(panels.flat, itertools.chain(*cells), itertools.chain(*texts), strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(name, fontsize=8, loc="left", parse_math=False)
        # A dollar sign is one, and no formula.
        written = axes.text(
            0.01, 0.98, text, va="top", fontsize=7, family="monospace", parse_math=False, transform=axes.transAxes
        )
        written.set_in_layout(False)  # a long line would make its panel narrower
    figure.suptitle(textwrap.fill(title, 65 * max(1, across)), fontsize=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _wrapped(text: str) -> str:
    lines = [part for line in text.expandtabs(4).split("\n") for part in (textwrap.wrap(line, COLUMNS) or [""])]
    return "\n".join(lines[:LINES])


register(Text())
