"""Samples as PNG files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from genlab.core.spec import DataSpec

__all__ = ["image_grid", "pairs_grid", "samples_in_a_picture", "save_pairs", "save_samples"]

GRID_PIXELS = 480
"""Width that an image grid comes close to: small images are enlarged by whole factors, without smoothing."""

PAIRS_IN_A_ROW = 8

GROUND = 96
"""Gray between images, and in empty places."""

POINTS_PER_IMAGE = 16
"""A plot of points needs more samples than a grid of images to show their distribution."""


def image_grid(images: Tensor, levels: int, columns: int | None = None) -> np.ndarray:
    """Arrange ``images [N, C, H, W]`` with values in ``[0, levels)`` as one ``[H', W', C]`` uint8 array.

    Images stand one pixel apart on a gray ground, row by row.
    """
    return _enlarged(_tiles(images, levels, columns or int(np.ceil(np.sqrt(len(images))))))


def pairs_grid(upper: Tensor, lower: Tensor, levels: int) -> np.ndarray:
    """Arrange pairs of images, one above the other, in bands of eight; a ``[H', W', C]`` uint8 array.

    Args:
        upper: ``[N, C, H, W]`` with values in ``[0, levels)``, N at least 1.
        lower: ``[N, C, H, W]``, the other image of each pair.
        levels: Number of values per dimension.
    """
    columns = min(PAIRS_IN_A_ROW, len(upper))
    rows = []
    for first in range(0, len(upper), columns):
        # The lower row's upper border is left out: one pixel joins a pair, and the width of five parts two bands.
        above, below = (_tiles(images[first : first + columns], levels, columns) for images in (upper, lower))
        gap = np.full((3 if first else 0, *above.shape[1:]), GROUND, np.uint8)
        rows += [gap, above, below[1:]]
    return _enlarged(np.concatenate(rows))


def _tiles(images: Tensor, levels: int, columns: int) -> np.ndarray:
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    values = (images.cpu().double() * (255 / (levels - 1))).round().byte().numpy()
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), GROUND, np.uint8)
    for index, image in enumerate(values):
        top, left = 1 + (index // columns) * (height + 1), 1 + (index % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return grid


def _enlarged(grid: np.ndarray) -> np.ndarray:
    factor = max(1, round(GRID_PIXELS / grid.shape[1]))
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)


def samples_in_a_picture(spec: DataSpec, images: int) -> int:
    """Return how many samples a picture of this kind of data shows where a grid would show so many images."""
    return images if spec.modality == "image" else images * POINTS_PER_IMAGE


def save_samples(samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
    """Save a picture of samples as PNG and say whether this kind of data has one.

    Images become a grid, vectors a scatter plot of their first two dimensions over that of real data.

    Args:
        samples: ``[N, *spec.shape]`` in the data's own values.
        spec: What one example is.
        path: File to write; its folder is made.
        title: Says which run; kept in the PNG's metadata and, on plots, drawn above.
        real: Real data ``[M, *spec.shape]`` to show behind a scatter plot.
    """
    draw = _PICTURES.get(spec.modality)
    if draw is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(samples, spec, path, title, real)
    return True


def save_pairs(samples: Tensor, nearest: Tensor, spec: DataSpec, path: Path, title: str) -> bool:
    """Save samples above the training examples nearest to them as PNG and say whether this kind of data has a picture.

    Args:
        samples: ``[N, *spec.shape]`` in the data's own values.
        nearest: ``[N, *spec.shape]``, the training example of each.
        spec: What one example is; images have such a picture.
        path: File to write; its folder is made.
        title: Says which run; kept in the PNG's metadata.
    """
    if spec.modality != "image":
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    _save_grid(pairs_grid(samples, nearest, spec.levels or 256), path, title)
    return True


def _save_images(samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None) -> None:
    _save_grid(image_grid(samples, spec.levels or 256), path, title)


def _save_grid(grid: np.ndarray, path: Path, title: str) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("Title", title)
    Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(path, pnginfo=about)


def _save_scatter(samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None) -> None:
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    layers = [(real, "0.8", "real"), (samples, "tab:blue", "samples")]
    for points, color, label in layers:
        if points is not None:
            x, y = _plane(points)
            axes.scatter(x, y, s=5, color=color, linewidths=0, label=f"{label} ({len(x):,})")
    axes.set(xlabel="dimension 1", ylabel="dimension 2")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="upper right", fontsize=8, markerscale=2)
    axes.set_title(textwrap.fill(title, 72), fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Title": title})


def _plane(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The first two dimensions; one-dimensional data stands on the diagonal."""
    flat = points.flatten(1).cpu().numpy()
    return flat[:, 0], flat[:, min(1, flat.shape[1] - 1)]


_PICTURES: dict[str, Callable[[Tensor, DataSpec, Path, str, Tensor | None], None]] = {
    "image": _save_images,
    "vector": _save_scatter,
}
