"""Samples as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from genlab.spec import DataSpec

__all__ = ["image_grid", "save_samples"]

GRID_PIXELS = 480
"""Width that an image grid comes close to: small images are enlarged by whole factors, without smoothing."""


def image_grid(images: Tensor, levels: int, columns: int | None = None) -> np.ndarray:
    """Arrange ``images [N, C, H, W]`` with values in ``[0, levels)`` as one ``[H', W', C]`` uint8 array.

    Images stand one pixel apart on a gray ground, row by row.
    """
    count, channels, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    values = (images.cpu().double() * (255 / (levels - 1))).round().byte().numpy()
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 96, np.uint8)
    for index, image in enumerate(values):
        top, left = 1 + (index // columns) * (height + 1), 1 + (index % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    factor = max(1, round(GRID_PIXELS / grid.shape[1]))
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)


def save_samples(samples: Tensor, spec: DataSpec, path: Path, title: str) -> bool:
    """Save a picture of samples as PNG and say whether this kind of data has one.

    Images become a grid, vectors a scatter plot of their first two dimensions.

    Args:
        samples: ``[N, *spec.shape]`` in the data's own values.
        spec: What one example is.
        path: File to write; its folder is made.
        title: Says which run; kept in the PNG's metadata and, on plots, drawn above.
    """
    draw = _PICTURES.get(spec.modality)
    if draw is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(samples, spec, path, title)
    return True


def _save_images(samples: Tensor, spec: DataSpec, path: Path, title: str) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    levels = spec.levels or 256
    grid = image_grid(samples, levels)
    about = PngInfo()
    about.add_text("Title", title)
    Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(path, pnginfo=about)


def _save_scatter(samples: Tensor, spec: DataSpec, path: Path, title: str) -> None:
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    points = samples.flatten(1).cpu().numpy()
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(points[:, 0], points[:, min(1, points.shape[1] - 1)], s=4, alpha=0.5, linewidths=0)
    axes.set(xlabel="dimension 1", ylabel="dimension 2", aspect="equal")
    axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Title": title})


_PICTURES: dict[str, Callable[[Tensor, DataSpec, Path, str], None]] = {
    "image": _save_images,
    "vector": _save_scatter,
}
