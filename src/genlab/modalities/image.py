"""Images: grids of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.codec import levels_to_unit
from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality, Places
from genlab.modalities.registry import register
from genlab.runs.atomic import atomic_file

__all__ = ["Image", "image_grid", "pairs_grid", "rows_grid", "save_grid"]

GRID_PIXELS = 480
"""Width that an image grid comes close to: small images are enlarged by whole factors, without smoothing."""

PAIRS_IN_A_ROW = 8

GROUND = 96
"""Gray between images, and in empty places."""


class Image(Modality):
    """Pictures ``[C, H, W]`` in gray or colour: uint8, int32 with more than 256 levels, or float32.

    A preview is a grid of pictures. Continuous values are shown over the range that they have.
    """

    name = "image"
    axes = ("C", "H", "W")
    layouts = ("grid", "sequence", "flat")
    is_large = True
    features = "network"
    sample_figure = "fid"
    most_shown = 1024
    endings_of_one = (".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")  # what keeps every pixel as it is

    def dtype(self, spec: DataSpec) -> torch.dtype:
        if spec.levels is None:
            return torch.float32
        return torch.uint8 if spec.levels <= 256 else torch.int32

    def blank(self, spec: DataSpec) -> float:
        return 0.0 if spec.levels is None else spec.levels // 2

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        if not _has_colours(spec):
            return False
        save_grid(image_grid(samples, spec.levels), path, title)
        return True

    def preview_pairs(self, upper: Tensor, lower: Tensor, spec: DataSpec, path: Path, title: str) -> bool:
        if not _has_colours(spec):
            return False
        save_grid(pairs_grid(upper, lower, spec.levels), path, title)
        return True

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        if not _has_colours(spec):
            return False
        columns = PAIRS_IN_A_ROW if places is None else len(places.names)
        save_grid(rows_grid(list(rows.values()), spec.levels, columns), path, title)
        return True

    def has_files(self, spec: DataSpec) -> bool:
        return spec.levels is not None and spec.levels <= 256 and _has_colours(spec)  # a PNG of 8 bits would lose some

    def write_one(self, example: Tensor, spec: DataSpec, stem: Path) -> Path | None:
        if not self.has_files(spec) or spec.levels is None:
            return None
        path = stem.with_name(f"{stem.name}.png")
        values = (_brightness(example, spec.levels) * 255).round().byte().permute(1, 2, 0).numpy()
        save_grid(values, path, spec.name)
        return path

    def read_one(self, path: Path, spec: DataSpec) -> Tensor:
        from PIL.Image import DecompressionBombError
        from PIL.Image import open as open_picture

        channels, height, width = spec.shape
        levels, mode = spec.levels or 0, {1: "L", 3: "RGB"}.get(channels, "")
        if not 2 <= levels <= 256 or not mode:
            raise GenlabError(f"{spec.name} is not made of pictures of 8 bits, gray or in colour. Give an npy file.")
        try:
            with open_picture(path, formats=("PNG", "BMP", "TIFF", "PPM")) as picture:
                if picture.size != (width, height) or picture.mode != mode:
                    raise GenlabError(
                        f"{shown(path)} has {picture.width} x {picture.height} pixels in mode {picture.mode}, "
                        f"expected {width} x {height} in mode {mode}, as those of {spec.name}."
                    )
                values = torch.from_numpy(np.array(picture)).view(height, width, channels).permute(2, 0, 1)
        except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
            raise GenlabError(f"{shown(path)} cannot be read as a picture: {' '.join(str(error).split())}") from error
        found = (values.double() / 255 * (levels - 1)).round().to(torch.uint8)
        if not torch.equal((found.double() / (levels - 1) * 255).round().byte(), values):
            raise GenlabError(
                f"{shown(path)} has gray values between those of the {levels} levels of {spec.name}, which are spread "
                "evenly from 0 to 255. Round them first, or give an npy file of levels."
            )
        return found


def _has_colours(spec: DataSpec) -> bool:
    return spec.shape[0] in (1, 3)


def image_grid(images: Tensor, levels: int | None, columns: int | None = None) -> np.ndarray:
    """Arrange images as one ``[H', W', C]`` uint8 array, one pixel apart on a gray ground, row by row.

    Args:
        images: ``[N, C, H, W]``.
        levels: Number of values per dimension; None for continuous values, shown over the range that they have.
        columns: Images in a row; None for about as many as there are rows.
    """
    return _enlarged(_tiles(_brightness(images, levels), columns or int(np.ceil(np.sqrt(len(images))))))


def pairs_grid(upper: Tensor, lower: Tensor, levels: int | None) -> np.ndarray:
    """Arrange pairs of images, one above the other, in bands of eight; a ``[H', W', C]`` uint8 array.

    Args:
        upper: ``[N, C, H, W]``, N at least 1.
        lower: ``[N, C, H, W]``, the other image of each pair.
        levels: Number of values per dimension; None for continuous values, shown over the range that they have.
    """
    return rows_grid([upper, lower], levels, PAIRS_IN_A_ROW)


def rows_grid(rows: Sequence[Tensor], levels: int | None, columns: int) -> np.ndarray:
    """Arrange rows of images, one below the other, in bands of so many columns; a ``[H', W', C]`` uint8 array.

    Args:
        rows: Each ``[N, C, H, W]``, N at least 1.
        levels: Number of values per dimension; None for continuous values, shown over the range that they have.
        columns: Images of a row in one band.
    """
    columns = min(columns, len(rows[0]))
    bright = _brightness(torch.cat(list(rows)), levels).chunk(len(rows))
    bands = []
    for first in range(0, len(rows[0]), columns):
        # Upper borders below the first row are left out: one pixel joins a band, and the width of five parts two.
        above, *below = (_tiles(images[first : first + columns], columns) for images in bright)
        gap = np.full((3 if first else 0, *above.shape[1:]), GROUND, np.uint8)
        bands += [gap, above, *(tiles[1:] for tiles in below)]
    return _enlarged(np.concatenate(bands))


def _brightness(images: Tensor, levels: int | None) -> Tensor:
    """Return values in ``[0, 1]``."""
    if levels is not None:
        return levels_to_unit(images.cpu(), levels, torch.float64)
    values = images.cpu().double()
    return (values - values.min()) / (values.max() - values.min()).clamp_min(1e-12)


def _tiles(images: Tensor, columns: int) -> np.ndarray:
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    values = (images * 255).round().byte().numpy()
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), GROUND, np.uint8)
    for index, image in enumerate(values):
        top, left = 1 + (index // columns) * (height + 1), 1 + (index % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return grid


def _enlarged(grid: np.ndarray) -> np.ndarray:
    factor = max(1, round(GRID_PIXELS / grid.shape[1]))
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)


def save_grid(grid: np.ndarray, path: Path, title: str) -> None:
    """Save a ``[H, W, C]`` uint8 array as PNG with a title in its metadata; the folder is made."""
    from PIL.Image import fromarray
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("Title", title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(file, format="PNG", pnginfo=about)


register(Image())
