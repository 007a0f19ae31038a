"""Samples of all models of a comparison in one picture, and real data beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from making.measured import likelihood, quality

SIDE = 300
MARGIN = 14
TEXT = 78
ACROSS = 4


@dataclass(frozen=True)
class Tile:
    """Samples of a model, and what stands below them.

    Args:
        model: Its name.
        lines: What was measured, a line each.
        rank: Tiles stand by rising rank.
        file: The picture of its samples.
    """

    model: str
    lines: tuple[str, ...]
    rank: float
    file: Path

    @classmethod
    def of(cls, model: str, result: dict[str, Any], file: Path) -> Tile:
        """Return the tile of a result, ranked by its FID: the floor is the first, and without one it is the last."""
        fid = (result["quality"] or {}).get("fid")
        if model == "floor":
            return cls("real training data", (f"{quality(result)}, the floor",), float("-inf"), file)
        lines = tuple(line for line in (quality(result), likelihood(result)) if line)
        return cls(model, lines, float("inf") if fid is None else fid, file)


def side_by_side(tiles: Sequence[Tile]) -> Image.Image:
    """Draw tiles in rows of four by rising rank."""
    columns, rows = min(ACROSS, len(tiles)), -(-len(tiles) // ACROSS)
    page = Image.new("RGB", (MARGIN + columns * (SIDE + MARGIN), MARGIN + rows * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(page)
    name, small = ImageFont.load_default(20), ImageFont.load_default(14)
    for place, tile in enumerate(sorted(tiles, key=lambda tile: (tile.rank, tile.model))):
        left, top = MARGIN + place % ACROSS * (SIDE + MARGIN), MARGIN + place // ACROSS * (SIDE + TEXT)
        with Image.open(tile.file) as samples:
            page.paste(samples.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
        draw.text((left, top + SIDE + 4), tile.model, "black", font=name)
        for number, line in enumerate(tile.lines):
            draw.text((left, top + SIDE + 28 + 18 * number), line, "#444444", font=small)
    return page
