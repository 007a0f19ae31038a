"""Samples as PNG files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from genlab.spec import DataSpec

__all__ = ["image_grid", "samples_in_a_picture", "save_samples"]

GRID_PIXELS = 480
"""Width that an image grid comes close to: small images are enlarged by whole factors, without smoothing."""


POINTS_PER_IMAGE = 16
"""A plot of points needs more samples than a grid of images to show their distribution."""


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


def _save_images(samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    levels = spec.levels or 256
    grid = image_grid(samples, levels)
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
